"""What the tests of transposed algorithms share: operands, and results from PyTorch in float64."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

import faltung
from faltung.ops.conv.spec import ConvSpec
from faltung.planning import Algorithm
from forked import run_guarded

CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def parse(words: str) -> ConvSpec:
    """The spec of a spelling without its first and last word."""
    return ConvSpec.parse(f"grad_input {words} cpu")


def whole_operands(spec: ConvSpec) -> list[Tensor]:
    """Whole numbers so small that every sum of theirs is a number of the spec's dtype."""
    shapes = [*spec.operand_shapes] + ([spec.result_shape[1:2]] if spec.bias else [])
    most = 1 if spec.item_size == 2 else 4
    return [torch.randint(-most, most + 1, shape).double() for shape in shapes]


def by_torch(spec: ConvSpec, gy: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """Everything that gy reaches, then the part of it that the spec asks for."""
    full = CONV_TRANSPOSE[spec.dims](
        gy.double(), w.double(), None, spec.stride, 0, 0, spec.groups, spec.dilation
    )
    ends = zip(spec.padding, spec.input_size, full.shape[2:], strict=True)
    missing = [(0, max(0, low + size - n)) for (low, _), size, n in ends]
    full = F.pad(full, [n for pair in reversed(missing) for n in pair])
    kept = zip(spec.padding, spec.input_size, strict=True)
    gx = full[(..., *(slice(low, low + size) for (low, _), size in kept))]
    if b is not None:
        gx = gx + b.double().view(-1, *(1,) * spec.dims)
    return gx.to(getattr(torch, spec.dtype))


def laid_out(spec: ConvSpec, gy: Tensor) -> Tensor:
    if spec.layout == "channels_last":
        return gy.contiguous(memory_format=CHANNELS_LAST[gy.dim()])
    return gy


def check(
    algorithm: Algorithm, words: str, between_nans: Callable[[Tensor], Tensor] | None = None
) -> None:
    """Raise unless whole numbers come out to the bit."""
    spec = parse(words)
    assert not algorithm.unsupported(spec), (words, algorithm.unsupported(spec))
    operands = whole_operands(spec)
    given = [t.to(getattr(torch, spec.dtype)) for t in operands]
    if between_nans and spec.layout == "contiguous":
        given = [between_nans(t) for t in given]
    gx = algorithm.build(spec)(laid_out(spec, given[0]), *given[1:])
    assert torch.equal(gx, by_torch(spec, *operands)), words
    assert laid_out(spec, gx) is gx or laid_out(spec, gx).data_ptr() == gx.data_ptr()


def spelled(words: str, widths: Sequence[int]) -> list[str]:
    """`words` with every width, `i4x*` having its place marked by a star; impossible ones left."""
    found = []
    for width in widths:
        text = words.replace("*", str(width))
        try:
            parse(text)
        except faltung.ArgumentError:
            continue
        found.append(text)
    assert len(found) >= len(widths) - 6, words
    return found


def guarded(algorithm: Algorithm, words: Sequence[str], level: str = "") -> None:
    """Raise unless the algorithm stays inside its memory, on a processor of that level."""
    texts = [f"grad_input {text} cpu" for text in words]
    run_guarded(algorithm.name, texts, level)


def same_for_any_threads(algorithm: Algorithm, words: str) -> None:
    """Raise unless the bits are the same whatever the number of threads."""
    spec = parse(words)
    operands = [torch.randn(t.shape).to(getattr(torch, spec.dtype)) for t in whole_operands(spec)]
    operands[0] = laid_out(spec, operands[0])
    run, before, results = algorithm.build(spec), torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 5):
            torch.set_num_threads(threads)
            results.append(run(*operands))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(result, results[0]) for result in results)
    assert not results[0].isnan().any()


def planned(words: str) -> faltung.Plan:
    """The plan of the call that the words spell, which must have equal padding."""
    spec = parse(words)
    gy, w = (torch.empty(shape, dtype=getattr(torch, spec.dtype)) for shape in spec.operand_shapes)
    from faltung.planning import plan
    from faltung.settings import current

    assert laid_out(spec, gy).shape == gy.shape and w.dim() == gy.dim()
    return plan(spec, "conv", current())
