"""Large tensors in huge pages, where the system gives them to those who ask.

    advise(address, size)     the memory is better kept in huge pages
    in_huge_pages(tensor)     the same numbers, in memory that is

Memory comes in pages, of 4 KiB as a rule. The system clears each when it is first touched, which a
fresh result of many MiB pays for page by page at every call; and the processor looks each up before
it reads there, which a weight of some MiB pays for that is read once a call. Huge pages, of 2 MiB
mostly, cost a five-hundredth of that. Linux has them for all memory, for none, or for what is asked
about (`/sys/kernel/mm/transparent_hugepage/enabled`); asking does something in the third case only,
and nothing that a result depends on in any.

Used for results and packed weights from `LARGE` bytes on. See docs/design/006.
"""

import ctypes
import mmap
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

LARGE = 2 << 20
"""Bytes from which a tensor is worth asking for: a huge page may lie inside it."""

_SWITCH = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_HUGE = 2 << 20  # bytes, with pages of 4 KiB
_HUGEPAGE = 14  # MADV_HUGEPAGE, the same on all processors


@cache
def available() -> bool:
    """Whether asking does something here."""
    return _madvise() is not None


def advise(address: int, size: int) -> None:
    """Ask for huge pages in that memory, if there are any; half a microsecond.

    Only the pages that lie in it wholly are asked about. Whether the system agrees is its affair.
    """
    madvise = _madvise()
    if madvise is not None:
        begin = -(-address // mmap.PAGESIZE) * mmap.PAGESIZE
        end = (address + size) // mmap.PAGESIZE * mmap.PAGESIZE
        if begin < end:
            madvise(begin, end - begin, _HUGEPAGE)


def in_huge_pages(tensor: Tensor) -> Tensor:
    """The tensor, or if that is large and contiguous, a copy of it in huge pages."""
    if tensor.nbytes < LARGE or not tensor.is_contiguous() or not available():
        return tensor
    more = _HUGE // tensor.element_size()
    room = torch.empty(tensor.numel() + more, dtype=tensor.dtype)
    first = -room.data_ptr() % _HUGE // tensor.element_size()
    copy = room[first : first + tensor.numel()]
    advise(copy.data_ptr(), copy.nbytes)
    return copy.copy_(tensor.view(-1)).view(tensor.shape)


@cache
def _madvise() -> Callable[[int, int, int], int] | None:
    """The system's function, if it does something."""
    try:
        if sys.platform != "linux" or "[madvise]" not in _SWITCH.read_text():
            return None
        function = ctypes.CDLL(None).madvise
    except (OSError, AttributeError):
        return None
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return function
