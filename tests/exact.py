"""What tests of generated routines share: whole numbers, where every sum is exact, and PyTorch."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

import faltung
from faltung.ops.conv.spec import ConvSpec
from faltung.planning import Algorithm
from forked import run_guarded

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def whole_operands(spec: ConvSpec) -> list[Tensor]:
    """Operands of small whole numbers, in float64."""
    shapes = [*spec.operand_shapes] + ([(spec.out_channels,)] if spec.bias else [])
    # few enough ones that every sum is a number of bfloat16
    most = 1 if spec.item_size == 2 else 4
    return [torch.randint(-most, most + 1, shape).double() for shape in shapes]


def laid(image: Tensor, spec: ConvSpec) -> Tensor:
    """The same numbers in memory as the spec says they lie."""
    if spec.layout != "channels_last":
        return image
    return image.contiguous(memory_format=CHANNELS_LAST[image.dim()])


def by_torch(spec: ConvSpec, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """What PyTorch makes of it in the operands' own dtype, rounded to the spec's."""
    x = F.pad(x, [size for pair in reversed(spec.padding) for size in pair])
    y = CONV[spec.dims](x, w, b, spec.stride, 0, spec.dilation, spec.groups)
    for axis, size in enumerate(spec.output_size, 2):
        y = y.narrow(axis, 0, size)
    return y.to(getattr(torch, spec.dtype))


def laid_out(x: Tensor, spec: ConvSpec, between_nans: Callable[[Tensor], Tensor]) -> Tensor:
    """The image between bands of NaN, in the order of the spec."""
    if spec.layout == "contiguous":
        return between_nans(x)
    last = between_nans(x.permute(0, *range(2, x.dim()), 1).contiguous())
    return last.permute(0, x.dim() - 1, *range(1, x.dim() - 1))


def check(algorithm: Algorithm, text: str, between_nans: Callable[[Tensor], Tensor]) -> None:
    """The algorithm's result is PyTorch's, to the bit, and in its memory order."""
    spec = ConvSpec.parse(text)
    assert algorithm.unsupported(spec) == []
    operands = whole_operands(spec)
    assert_result(algorithm, spec, operands, by_torch(spec, *operands), between_nans)


def assert_result(
    algorithm: Algorithm,
    spec: ConvSpec,
    operands: Sequence[Tensor],
    expected: Tensor,
    between_nans: Callable[[Tensor], Tensor],
) -> None:
    """The algorithm makes this of the operands, to the bit and in the order of the spec."""
    x, *rest = [t.to(getattr(torch, spec.dtype)) for t in operands]
    y = algorithm.build(spec)(laid_out(x, spec, between_nans), *map(between_nans, rest))
    assert torch.equal(y, expected), str(spec)
    last = spec.layout == "channels_last"
    assert y.is_contiguous(
        memory_format=CHANNELS_LAST[y.dim()] if last else torch.contiguous_format
    )


def spelled(words: str, widths: Sequence[int]) -> list[str]:
    """Problems of four rows and every width for which the kernel is not too wide.

    `words` are the channels, the rest and, last, the dtype, which a layout may stand before.
    """
    image, numbers = " ".join(words.split()[:2]), " ".join(words.split()[2:])
    found = []
    for width in widths:
        text = f"forward n1 {image} i4x{width} {numbers} cpu"
        try:
            ConvSpec.parse(text)
        except faltung.ArgumentError:
            continue
        found.append(text)
    assert len(found) >= len(widths) - 4
    return found


def guarded(algorithm: Algorithm, texts: Sequence[str]) -> None:
    """The algorithm stays inside of its memory: it runs flush against pages of none."""
    run_guarded(algorithm.name, texts)


def same_for_any_number_of_threads(algorithm: Algorithm, text: str) -> None:
    """The same bits whatever the number of threads."""
    spec = ConvSpec.parse(text)
    operands = [torch.randn(t.shape) for t in whole_operands(spec)]
    operands[0] = laid(operands[0], spec)
    run, before, results = algorithm.build(spec), torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 5):
            torch.set_num_threads(threads)
            results.append(run(*operands))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(result, results[0]) for result in results)
    assert not results[0].isnan().any()


def activation_comes_last(algorithm: Algorithm, text: str) -> None:
    """The relu of the problem is that of the finished sums, bias included."""
    spec = ConvSpec.parse(text)
    operands = whole_operands(spec)
    x, *rest = (t.float() for t in operands)
    y = algorithm.build(spec)(laid(x, spec), *rest)
    assert torch.equal(y, by_torch(replace(spec, activation=None), *operands).relu())
    assert (y == 0).any() and y.any()


def follows_its_weight(algorithm: Algorithm, text: str) -> None:
    """A weight that was written to is packed anew."""
    spec = ConvSpec.parse(text)
    x, w = whole_operands(spec)
    run, image, weight = algorithm.build(spec), laid(x.float(), spec), w.float()
    assert torch.equal(run(image, weight), by_torch(spec, x, w)) and x.any() and w.any()
    weight.mul_(2)
    assert torch.equal(run(image, weight), by_torch(spec, x, 2 * w))


def written(ops: list) -> int:  # type: ignore[type-arg]
    """How many operations are written down: compiling takes about 0.1 s a thousand."""
    return sum(1 + written(op.body) for op in ops if op.name != "const")


def planned(text: str) -> faltung.Plan:
    """The plan for a call of that problem."""
    spec = ConvSpec.parse(text)
    operands = [
        torch.empty(shape, dtype=getattr(torch, spec.dtype)) for shape in spec.operand_shapes
    ]
    return faltung.plan(
        laid(operands[0], spec), operands[1], stride=spec.stride,
        padding=[low for low, _ in spec.padding], dilation=spec.dilation, groups=spec.groups,
    )  # fmt: skip
