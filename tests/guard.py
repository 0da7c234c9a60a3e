"""Tensors flush against unmapped pages: one read or write too far ends the process.

Run as a script it computes one algorithm on the problems it is given, every operand and the result
flush against a page that may not be touched, once at their ends and once at their beginnings:

    python guard.py depthwise_cpu "forward n1 c3 o3 i9x7 k3x3 p1 g3 float32 cpu" …
"""

import ctypes
import mmap
import sys
from math import prod

import torch
from torch import Tensor

_LIBC = ctypes.CDLL(None, use_errno=True)
_PAGE = mmap.PAGESIZE
_kept = []  # the memory must outlive its tensors


def guarded(shape: tuple[int, ...], dtype: torch.dtype, *, at_end: bool) -> Tensor:
    """An uninitialised tensor whose last byte, or else its first, borders on an unmapped page."""
    size = max(prod(shape), 1) * dtype.itemsize
    pages = -(-size // _PAGE)
    memory = mmap.mmap(-1, (pages + 2) * _PAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for page in (0, pages + 1):
        if _LIBC.mprotect(ctypes.c_void_p(address + page * _PAGE), _PAGE, 0):
            raise OSError(ctypes.get_errno(), "mprotect")
    _kept.append(memory)
    start = _PAGE + (pages * _PAGE - size if at_end else 0)
    whole = torch.frombuffer(memory, dtype=dtype, count=max(prod(shape), 1), offset=start)
    return whole[: prod(shape)].view(shape)


def channels_last(shape: tuple[int, ...], dtype: torch.dtype, *, at_end: bool) -> Tensor:
    """The same for an image [N, C, …] that lies in memory channels last."""
    n, channels, *size = shape
    image = guarded((n, *size, channels), dtype, at_end=at_end)
    return image.permute(0, len(size) + 1, *range(1, len(size) + 1))


def filled(shape: tuple[int, ...], dtype: torch.dtype, *, at_end: bool) -> Tensor:
    """Small whole numbers in guarded memory."""
    tensor = guarded(shape, dtype, at_end=at_end)
    return tensor.copy_(torch.randint(-2, 3, shape))


def main() -> None:
    from faltung.by_hand import forward
    from faltung.ops.conv.spec import ConvSpec
    from faltung.planning import algorithms

    name, *texts = sys.argv[1:]
    (algorithm,) = (a for a in algorithms("conv", "cpu") if a.name == name)
    empty = torch.empty
    for text in texts:
        spec = ConvSpec.parse(text)
        assert not algorithm.unsupported(spec), (text, algorithm.unsupported(spec))
        dtype, run = getattr(torch, spec.dtype), algorithm.build(spec)
        for at_end in (True, False):
            print(text, "at the end" if at_end else "at the beginning", flush=True)
            given = [filled(shape, dtype, at_end=at_end) for shape in spec.operand_shapes]
            if spec.layout == "channels_last":
                given[0] = channels_last(given[0].shape, dtype, at_end=at_end).copy_(given[0])
            if spec.bias:
                given.append(filled((spec.out_channels,), dtype, at_end=at_end))
            made = channels_last if spec.layout == "channels_last" else guarded
            torch.empty = lambda shape, **_: made(tuple(shape), dtype, at_end=at_end)  # noqa: B023
            try:
                y = run(*given)
            finally:
                torch.empty = empty
            wide = [t.double() for t in given]
            expected = forward(wide[0], wide[1], spec)
            if spec.bias:
                expected = expected + wide[2].view(-1, *(1,) * spec.dims)
            assert torch.equal(y.double(), expected), text
    print("fine")


if __name__ == "__main__":
    main()
