"""Tensors flush against unmapped pages: one read or write too far ends the process.

Run as a script it computes one algorithm on the problems it is given, every operand and the result
flush against a page that may not be touched, once at their ends and once at their beginnings:

    python guard.py depthwise_cpu "forward n1 c3 o3 i9x7 k3x3 p1 g3 float32 cpu" …
"""

import ctypes
import mmap
import sys
from collections.abc import Callable, Sequence
from functools import partial
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


def guarding(made: Callable[..., Tensor], *, at_end: bool) -> Callable[..., Tensor]:
    """A `torch.empty` of guarded tensors; what threads have for themselves is flat."""

    def empty(shape: Sequence[int] | int, *, dtype: torch.dtype, **_: object) -> Tensor:
        flat = isinstance(shape, int)
        size = (shape,) if flat else tuple(shape)
        return (guarded if flat else made)(size, dtype, at_end=at_end)

    return empty


def like(model: Tensor, *, at_end: bool, **_: object) -> Tensor:
    """A `torch.empty_like` of guarded tensors, which lie as the model does."""
    order = None if model.is_contiguous() else channels_last
    return (order or guarded)(tuple(model.shape), model.dtype, at_end=at_end)


def main() -> None:
    from by_taps import forward, grad_input, grad_weight
    from faltung.ops import memory
    from faltung.ops.conv.spec import ConvSpec
    from faltung.planning import algorithms

    name, *texts = sys.argv[1:]
    (algorithm,) = (a for a in algorithms("conv", "cpu") if a.name == name)
    memory.ROOM_FROM = sys.maxsize  # routines' own memory is `torch.empty`'s too, never kept
    memory._strided = None  # and results are `torch.empty_like`'s
    empty, empty_like = torch.empty, torch.empty_like
    for text in texts:
        spec = ConvSpec.parse(text)
        assert not algorithm.unsupported(spec), (text, algorithm.unsupported(spec))
        dtype = getattr(torch, spec.dtype)
        for at_end in (True, False):
            print(text, "at the end" if at_end else "at the beginning", flush=True)
            given = [filled(shape, dtype, at_end=at_end) for shape in spec.operand_shapes]
            if spec.layout == "channels_last":
                images = 2 if spec.task == "grad_weight" else 1
                given[:images] = [
                    channels_last(image.shape, dtype, at_end=at_end).copy_(image)
                    for image in given[:images]
                ]
            made = channels_last if spec.layout == "channels_last" else guarded
            if spec.bias or spec.residual:
                bias = filled(spec.result_shape[1:2], dtype, at_end=at_end)
                given.append(bias if spec.bias else None)
            if spec.residual:
                residual = made(spec.result_shape, dtype, at_end=at_end)
                given.append(residual.copy_(torch.randint(-2, 3, residual.shape)))
            new = guarding(made, at_end=at_end)
            torch.empty_like = partial(like, at_end=at_end)  # what allocators are made of
            try:
                run = algorithm.build(spec)
                torch.empty = new
                y = run(*given)
            finally:
                torch.empty, torch.empty_like = empty, empty_like
            if spec.activation or (spec.task == "grad_weight" and algorithm.error_factor > 1):
                assert torch.equal(y, run(*given)), text
                continue
            wide = [None if t is None else t.double() for t in given]
            definitions = {
                "forward": forward, "grad_input": grad_input, "grad_weight": grad_weight,
            }  # fmt: skip
            by_definition = definitions[spec.task]
            expected = by_definition(wide[0], wide[1], spec)
            if spec.bias:
                expected = expected + wide[2].view(-1, *(1,) * spec.dims)
            if spec.residual:
                expected = expected + wide[3]
            assert torch.equal(y.double(), expected), text
    print("fine")


if __name__ == "__main__":
    main()
