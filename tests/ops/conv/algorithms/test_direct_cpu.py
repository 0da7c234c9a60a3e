"""What is special to generated direct routines: every width and stride, both ends of memory."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import faltung
from faltung import functional as FF
from faltung.lang.count import count
from faltung.lang.target import host_target
from faltung.ops.conv import row_cut
from faltung.ops.conv.algorithms import direct_cpu
from faltung.ops.conv.algorithms.direct_cpu import ALGORITHM
from faltung.ops.conv.spec import ConvSpec
from forked import run_guarded

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}

# every width modulo the widest vector, and some past one and two of them
WIDTHS = (*range(1, 19), 31, 32, 33, 40)
EDGES = (1, 4, 5, 9, 16, 18, 33)  # of them, for the slower definition
SHAPES = [
    "c4 o6 k3x3 p1 g2 float32", "c3 o5 k3x3 s2 p1 bias float32", "c2 o4 k4x4 s1x3 p0x2 float32",
    "c2 o3 k2x4 s1x4 p0x1+3 float32", "c4 o2 k3x3 p1x2 d1x2 g2 float32",
    "c2 o3 k1x7 p0x3 bias float64", "c4 o4 k3x3 s1x2 p1x1+0 g2 bias bfloat16",
    "c3 o4 k2x3 s1x5 p0x2 bias float16",
]  # fmt: skip
WIDE = [
    # wider than a tile, so that borders and the loop between them are apart
    "forward n1 c2 o3 i3x170 k2x31 p1x15 float32 cpu",
    "forward n1 c4 o26 i4x173 k3x9 s1x2 p1x4 g2 bias float32 cpu",
    "forward n1 c1 o10 i600 k10 s5 float32 cpu",
    "forward n2 c4 o6 i3x3x100 k3x3x5 s2x1x3 p1x1x2 g2 bias float64 cpu",
    "forward n1 c2 o40 i9x130 k5x5 p8 d4 float32 cpu",
    # so many tiles read padding that they are a loop and find out their masks
    "forward n1 c2 o13 i3x500 k3x17 p1x200+170 d1x17 float32 cpu",
    "forward n1 c2 o12 i331 k100 s3 p150+151 bias float32 cpu",
    "forward n1 c2 o12 i331 k33 s7 p131+114 d2 bfloat16 cpu",
    # a long kernel row in pieces, of every length of the last one; with phases that do not divide 8
    "forward n1 c1 o4 i2x700 k1x64 float32 cpu",
    "forward n1 c1 o3 i2x700 k2x67 s1x6 float32 cpu",
    "forward n1 c1 o3 i800 k83 s12 d3 float64 cpu",
    "forward n1 c1 o3 i700 k20 s15 float32 cpu",
]
ALIGNED = [
    # rows that begin at different places of a line, in classes of those that begin alike
    "forward n1 c1 o128 i2003 k10 s5 float32 cpu", "forward n2 c2 o128 i405 k3 bias float32 cpu",
    "forward n1 c3 o128 i516 k4 s2 float32 cpu", "forward n1 c4 o256 i901 k3 d2 g2 float32 cpu",
    "forward n1 c1 o72 i1102 k7 s4 float64 cpu", "forward n1 c2 o64 i2x300 k2x3 float32 cpu",
]  # fmt: skip
CHANNELS = [
    # tiles that divide the output channels, that overlap, and one that is not full
    *[f"forward n1 c2 o{o} i3x20 k3x3 p1 float32 cpu" for o in (1, 2, 7, 11, 12, 13, 23, 25, 50)],
    *[f"forward n1 c2 o{o} i3x40 k3x3 s1x2 p1 float32 cpu" for o in (8, 22, 23, 45)],
    "forward n2 c6 o9 i5x9 k3x3 p1 g3 bias float32 cpu",
    "forward n2 c9 o6 i5x9 k3x3 p1 g3 bias float32 cpu",
    "forward n1 c6 o75 i5x9 k3x3 p1 g3 float32 cpu",
    "forward n1 c32 o32 i5x6 k3x3 p1 g8 float32 cpu",
]


def whole_operands(spec: ConvSpec) -> list[Tensor]:
    shapes = [*spec.operand_shapes] + ([(spec.out_channels,)] if spec.bias else [])
    # few enough ones that every sum is a number of bfloat16
    most = 1 if spec.item_size == 2 else 4
    return [torch.randint(-most, most + 1, shape).double() for shape in shapes]


def by_torch(spec: ConvSpec, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    x = F.pad(x, [size for pair in reversed(spec.padding) for size in pair])
    y = CONV[spec.dims](x, w, b, spec.stride, 0, spec.dilation, spec.groups)
    return y.to(getattr(torch, spec.dtype))


def check(text: str, between_nans: Callable[[Tensor], Tensor]) -> None:
    spec = ConvSpec.parse(text)
    operands = whole_operands(spec)
    given = [between_nans(t.to(getattr(torch, spec.dtype))) for t in operands]
    assert torch.equal(ALGORITHM.build(spec)(*given), by_torch(spec, *operands)), text


def spelled(words: str, widths: Sequence[int]) -> list[str]:
    image, (*numbers, dtype) = " ".join(words.split()[:2]), words.split()[2:]
    found = []
    for width in widths:
        text = f"forward n1 {image} i4x{width} {' '.join(numbers)} {dtype} cpu"
        try:
            ConvSpec.parse(text)
        except faltung.ArgumentError:
            continue  # the kernel is wider than so small an image
        found.append(text)
    assert len(found) >= len(widths) - 4
    return found


@pytest.mark.parametrize("words", SHAPES)
def test_every_width(words: str, between_nans: Callable[[Tensor], Tensor]) -> None:
    for text in spelled(words, WIDTHS):
        check(text, between_nans)


def test_stays_inside_its_memory() -> None:
    texts = [text for words in SHAPES for text in spelled(words, EDGES)]
    some = [*texts, *WIDE[:3], *WIDE[7:8], *CHANNELS[:3], *ALIGNED[1:4]]
    run_guarded(ALGORITHM.name, some)


@pytest.mark.parametrize("text", [*WIDE, *CHANNELS, *ALIGNED])
def test_whole_numbers_to_the_bit(text: str, between_nans: Callable[[Tensor], Tensor]) -> None:
    check(text, between_nans)


@pytest.mark.parametrize("stride", range(1, 17))
def test_every_stride(stride: int, between_nans: Callable[[Tensor], Tensor]) -> None:
    for kernel, padding, dilation in ((3, 1, 1), (stride, 0, 1), (5, stride + 1, 3)):
        words = f"k{kernel} s{stride} p{padding}+3 d{dilation}"
        check(f"forward n1 c2 o5 i{20 * stride + 7} {words} float32 cpu", between_nans)


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
@pytest.mark.parametrize(
    "words",
    ["c8 o8 i9x30 k3x3 p1 g2 bias", "c3 o20 i20x21 k7x7 s2 p3", "c1 o5 i4x5x33 k3x3x3 p1 bias"],
)
def test_dtypes(words: str, dtype: str, between_nans: Callable[[Tensor], Tensor]) -> None:
    check(f"forward n2 {words} {dtype} cpu", between_nans)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_sixteen_bits_are_rounded_once(dtype: str) -> None:
    # sums of ones up to 2·3·90 = 540 pass 256, from where bfloat16 counts in twos
    spec = ConvSpec.parse(f"forward n1 c2 o3 i3x100 k3x90 {dtype} cpu")
    kind = getattr(torch, dtype)
    x, w = (torch.ones(shape, dtype=kind) for shape in spec.operand_shapes)
    w[:, 0, 0, 0] = 0
    expected = by_torch(spec, x.double(), w.double())
    assert expected.unique().item() == torch.tensor(539.0).to(kind).item()
    assert torch.equal(ALGORITHM.build(spec)(x, w), expected)


@pytest.mark.parametrize(
    "text",
    [
        # blocks of rows; of output channels, with tiles that overlap; and whole images
        "forward n1 c3 o20 i70x37 k7x7 s2 p3 float32 cpu",
        "forward n1 c2 o131 i300 k5 s3 bias float32 cpu",
        "forward n1 c1 o128 i2003 k10 s5 float32 cpu",
        "forward n3 c16 o24 i11x9 k3x3 p1 g4 bias float32 cpu",
        "forward n1 c2 o6 i5x6x7 k3x3x3 p1 g2 float32 cpu",
    ],
)
def test_same_bits_for_any_number_of_threads(text: str) -> None:
    spec = ConvSpec.parse(text)
    operands = [torch.randn(t.shape) for t in whole_operands(spec)]
    run, before, results = ALGORITHM.build(spec), torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 5):
            torch.set_num_threads(threads)
            results.append(run(*operands))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(result, results[0]) for result in results)
    assert not results[0].isnan().any()


def test_padding_is_skipped_not_multiplied() -> None:
    # an infinite weight times a zero of the padding would be NaN
    spec = ConvSpec.parse("forward n1 c2 o3 i5x6 k3x3 p1 float32 cpu")
    x, w = torch.ones(spec.x_shape), torch.ones(spec.w_shape)
    w[:, :, 0, 0] = float("inf")
    y = ALGORITHM.build(spec)(x, w)
    assert torch.equal(y[:, :, 0], by_torch(spec, x, torch.ones_like(w))[:, :, 0])
    assert y[0, :, 1:, 1:].isinf().all()


def test_code_stays_short() -> None:
    # what is written down, not what is run: compiling takes about a tenth of a second a thousand
    for text in (*WIDE, *CHANNELS, *ALIGNED, "forward n1 c3 o64 i224x224 k7x7 s2 p3 float32 cpu"):
        routine = direct_cpu._Recording(ConvSpec.parse(text)).r
        assert _written(routine.body) < 5000, text
        assert count(routine).written >= 0


def _written(ops: list) -> int:
    return sum(1 + _written(op.body) for op in ops if op.name != "const")


@pytest.mark.parametrize(
    "text",
    [
        "forward n1 c128 o128 i56x56 k3x3 p1 g32 float32 cpu",
        "forward n1 c3 o3 i256x256 k7x7 p3 float32 cpu",
        "forward n1 c8 o8 i32x32x32 k3x3x3 p1 float32 cpu",
    ],
)
def test_the_planner_prefers_it_to_pytorch_for_few_channels(text: str) -> None:
    names = [candidate.name for candidate in _planned(text).candidates]
    assert names.index("direct_cpu") < names.index("native_torch")


@pytest.mark.parametrize(
    "text",
    [
        "forward n1 c256 o64 i56x56 k1x1 float32 cpu",
        "forward n1 c256 o256 i14x14 k3x3 p1 float32 cpu",
        "forward n1 c240 o240 i28x28 k1x1 g3 float32 cpu",
        "forward n1 c3 o64 i224x224 k7x7 s2 p3 float32 cpu",
        "forward n1 c3 o768 i224x224 k16x16 s16 float32 cpu",
        "forward n1 c64 o64 i56x56 k3x3 p1 bfloat16 cpu",
        "forward n1 c512 o512 i800 k3 s2 float32 cpu",
        "forward n1 c96 o16 i56x56 k1x1 float32 cpu",
    ],
)
def test_the_planner_leaves_other_layers_to_others(text: str) -> None:
    assert _planned(text).algorithm != "direct_cpu"


def _planned(text: str) -> faltung.Plan:
    spec = ConvSpec.parse(text)
    operands = [
        torch.empty(shape, dtype=getattr(torch, spec.dtype)) for shape in spec.operand_shapes
    ]
    return faltung.plan(
        *operands, stride=spec.stride, padding=[low for low, _ in spec.padding],
        dilation=spec.dilation, groups=spec.groups,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("forward n1 c4 o4 i9x9 k3x3 g2 complex64 cpu", "needs one of float32, .*has complex64"),
        ("forward n1 c4 o4 i9x9 k3x3 g2 channels_last float32 cpu", "has channels_last"),
        ("forward n1 c4 o4 i9x9 k3x3 p1 g2 reflect float32 cpu", "with zeros only, not reflect"),
        ("forward n1 c4 o4 i99x99 k3x3 s17 g2 float32 cpu", "strides up to 16 .*, has 17"),
    ],
)  # fmt: skip
def test_what_it_refuses(text: str, reason: str) -> None:
    (said,) = ALGORITHM.unsupported(ConvSpec.parse(text))
    assert re.search(reason, said)


def test_no_input_channels_leave_the_bias() -> None:
    spec = ConvSpec.parse("forward n1 c0 o3 i5x6 k3x3 p1 bias float32 cpu")
    bias = torch.tensor([1.0, 2.0, 3.0])
    y = ALGORITHM.build(spec)(torch.empty(spec.x_shape), torch.empty(spec.w_shape), bias)
    assert torch.equal(y, bias.view(1, 3, 1, 1).expand(1, 3, 5, 6))


@pytest.mark.parametrize("text", ALIGNED)
def test_aligned_rows_store_whole_lines(text: str) -> None:
    if host_target().vector_bits != 512:
        pytest.skip("vectors are no lines here")
    spec = ConvSpec.parse(text)
    classes = row_cut.classes_of(spec)
    lanes = 64 // spec.item_size
    if spec.dims == 1 and spec.output_size[0] % lanes:
        assert classes.period > 1
    for channel in range(classes.outputs - classes.period):
        first, other = (n * spec.output_size[-1] for n in (channel, channel + classes.period))
        assert first % lanes == other % lanes or classes.period == 1


# groups of few weights, which are read where they lie, and of more, which are packed
@pytest.mark.parametrize(
    ("text", "lies"),
    [
        ("forward n1 c4 o4 i9x10 k3x3 p1 g2 float32 cpu", True),
        ("forward n1 c4 o12 i9x40 k3x3 s1x2 p1 g2 float32 cpu", True),
        ("forward n1 c32 o64 i5x20 k7x7 p3 g4 float32 cpu", False),
        ("forward n1 c4 o4 i9x10 k3x3 p1 g2 bfloat16 cpu", True),
        (ALIGNED[0], False),
    ],
)
def test_a_weight_that_changes(text: str, lies: bool) -> None:
    spec = ConvSpec.parse(text)
    assert row_cut.lies(spec) == lies
    assert (ALGORITHM.workspace(spec) == 0) == (lies and spec.item_size == 4)
    x, w = (t.to(getattr(torch, spec.dtype)) for t in whole_operands(spec))
    run = ALGORITHM.build(spec)
    first = run(x, w)
    assert torch.equal(first, by_torch(spec, x.double(), w.double())) and first.any()
    w.mul_(2)
    assert torch.equal(run(x, w), 2 * first)
    turned = w.movedim(0, -1).contiguous().movedim(-1, 0)  # elsewhere, and in another order
    assert torch.equal(run(x, turned), 2 * first)


def test_operands_that_are_views(whole: Callable[..., Tensor]) -> None:
    x = whole(2, 4, 9, 20, dtype=torch.float32)
    w = whole(3, 3, 6, 2, dtype=torch.float32).permute(2, 3, 0, 1)
    b = whole(12, dtype=torch.float32)[::2]
    with faltung.using(algorithm="direct_cpu"):
        y = FF.conv2d(x, w, b, padding=1, groups=2)
    assert torch.equal(y, F.conv2d(x, w, b, padding=1, groups=2))


def test_activation_comes_last(whole: Callable[..., Tensor]) -> None:
    spec = ConvSpec.parse("forward n1 c4 o4 i5x6 k3x3 p1 g2 bias relu float32 cpu")
    operands = whole_operands(spec)
    y = ALGORITHM.build(spec)(*[t.float() for t in operands])
    assert torch.equal(y, by_torch(replace(spec, activation=None), *operands).relu())
    assert (y == 0).any()
