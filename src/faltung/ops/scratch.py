"""Scratch memory for routines: as much as the threads of a call need, had anew at every call.

    routine = with_scratch(compiled(…))     routine(threads, y, x, w) finds memory by itself
    scratch_bytes(4, panel, sums)           how much that is, for `workspace`

An algorithm names its scratch buffers where it records the routine, and nowhere else says where
they lie: that is the routine's affair (`lang/scratch.py`), and how many threads there are the
caller's.
"""

from collections.abc import Callable

import torch

from ..lang import scratch
from ..lang.compile import Compiled
from . import memory


def with_scratch(routine: Compiled) -> Compiled:
    """The routine without its last argument, if that is scratch memory.

    On one thread it takes no more than that one needs. Small pieces are malloc's, and large ones
    those of an earlier call (`memory.py`); two calls at a time have different ones.
    """
    return _WithScratch(routine) if routine.thread_bytes else routine


def scratch_bytes(item_size: int, *counts: int) -> int:
    """Bytes of scratch memory, for the threads there are now, of buffers of so many numbers each.

    >>> torch.set_num_threads(1)
    >>> scratch_bytes(4, 100, 0)
    448
    """
    _, own = scratch.places([count * item_size for count in counts if count])
    return scratch.bytes_for(own, torch.get_num_threads())


def room_of(size: int) -> Callable[[], torch.Tensor]:
    """What makes unwritten memory of so many bytes, for what lives no longer than a call.

    Nothing is allocated before the first call, and what a call had is had again by whoever needs as
    much.

    >>> room_of(100)().nbytes
    100
    """
    with torch.inference_mode(mode=False):
        model = torch.empty_strided((size,), (1,), dtype=torch.uint8, device="cpu")
        model.untyped_storage().resize_(0)
    return memory.keeper(model, memory.ROOM_FROM)


class _WithScratch(Compiled):
    """A routine, and for each number of threads what makes its memory."""

    def __init__(self, routine: Compiled) -> None:
        self.thread_bytes = 0  # that its caller must care about
        self._routine = routine
        self._makes: dict[int, Callable[[], torch.Tensor]] = {}
        self.alone = self._alone

    def __call__(self, wanted: int, *addresses: int) -> None:
        """Run all items on at most `wanted` threads, each with memory of its own."""
        own = (self._makes.get(wanted) or self._for(wanted))()
        self._routine(wanted, *addresses, own.data_ptr())

    def on(self, count: Callable[[], int]) -> Callable[..., None]:
        """What runs it on at most `count()` threads, asked at each call: `launch(*addresses)`."""
        makes, make_for, start = self._makes.get, self._for, self._routine

        def launch(*addresses: int) -> None:
            wanted = count()
            own = (makes(wanted) or make_for(wanted))()
            start(wanted, *addresses, own.data_ptr())

        return launch

    def _alone(self, *addresses: int) -> None:
        own = (self._makes.get(1) or self._for(1))()
        self._routine.alone(*addresses, own.data_ptr())

    def _for(self, threads: int) -> Callable[[], torch.Tensor]:
        size = scratch.bytes_for(self._routine.thread_bytes, threads)
        made = self._makes[threads] = room_of(size)
        return made
