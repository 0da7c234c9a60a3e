"""What is special to transposed convolution along the rows: widths, weaving, borders, tiles."""

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import faltung
from faltung import functional as FF
from faltung.ops.conv.algorithms import phases_rows_cpu
from faltung.ops.conv.algorithms.phases_rows_cpu import ALGORITHM
from faltung.parts.phases.rows import row_tile
from transposed import by_torch, check, guarded, parse, planned, same_for_any_threads, spelled

WIDTHS = (*range(1, 10), 15, 16, 17, 23, 31, 33, 64)
EDGES = (1, 4, 9, 16, 33)  # of them, for the slower definition
SHAPES = [
    "n1 c4 o4 i4x* k4x4 s2 p1 g4 float32",
    "n1 c3 o5 i3x* k3x3 p1 bias float32",
    "n1 c2 o4 i4x* k2x3 s1x3 p0x1 float32",
    "n2 c6 o4 i5x* k3x2 s2x4 p1x0 g2 bias float32",
    "n1 c2 o3 i* k5 s2 p5 d3 float32",
    "n1 c2 o2 i3x* k3x4 s2 p1 g2 bias float64",
    "n1 c3 o2 i4x* k4x5 s2 p1x2 bias bfloat16",
    "n1 c4 o4 i2x3x* k3x3x3 p1 g4 float16",
    "n1 c1 o3 i* k16 s8 p7 float32",
]
STRUCTURE = [
    # wider than a tile, so that borders and the loop between them are apart
    "n1 c2 o3 i9x170 k3x9 p1x4 float32",
    "n1 c6 o6 i30x173 k4x4 s2 p1 g6 bias float32",
    "n1 c2 o1 i1601 k16 s8 p4 float32",
    "n2 c4 o6 i5x6x100 k3x3x5 s2x1x3 p1x1x2 g2 bias float64",
    # phases without taps, gaps of a dilated kernel, both at once
    "n1 c3 o3 i9x11 k2x2 s3 float32",
    "n1 c3 o3 i33 k3 s2 d2 p2 bias float32",
    "n1 c3 o3 i40 k4 s6 d4 p2 bias float32",
    "n1 c2 o3 i31x29 k3x2 s5x3 d3x6 p4+0x0+7 bias float32",
    # rows that are shared by all rows of a tile, by some, by none
    "n1 c1 o1 i40x35 k9x5 p4x2 float32",
    "n1 c1 o1 i40x35 k9x5 s2x1 p4x2 float32",
    "n1 c2 o2 i40x35 k3x5 p3x2 d3x1 g2 float32",
    "n1 c1 o1 i40x35 k7x5 s3x1 p4x2 float32",
    # so much padding that tiles at the borders are loops
    "n1 c2 o3 i3x700 k3x33 p1x300 float32",
    "n1 c2 o2 i900 k60 s2 p400+3 g2 float32",
    "n1 c2 o2 i5x6 k3x3 s2 p5 g2 bias float32",
    # channels in tiles that divide them, that overlap, and that are not full
    *[f"n1 c{c} o2 i3x40 k4x4 s2 p1 float32" for c in (1, 2, 3, 5, 7, 8, 9, 11, 23)],
    "n2 c9 o6 i5x9 k3x3 p1 g3 bias float32",
    "n1 c75 o6 i5x9 k3x3 p1 g3 float32",
    "n1 c3 o3 i12x11 y3x4 k3x3 s2 p1 g3 float32",
    "n0 c3 o3 i8x8 k4x4 s2 p1 float32",
    "n3 c4 o4 i1x1 k3x3 p1 g4 float32",
]


@pytest.mark.parametrize("words", SHAPES)
def test_every_width(words: str, between_nans: Callable[[Tensor], Tensor]) -> None:
    for text in spelled(words, WIDTHS):
        check(ALGORITHM, text, between_nans)


@pytest.mark.parametrize("words", STRUCTURE)
def test_whole_numbers_to_the_bit(words: str, between_nans: Callable[[Tensor], Tensor]) -> None:
    check(ALGORITHM, words, between_nans)


@pytest.mark.parametrize("stride", range(1, 9))
def test_every_stride(stride: int, between_nans: Callable[[Tensor], Tensor]) -> None:
    for kernel, padding, dilation in ((3, 1, 1), (stride, 0, 1), (2 * stride, 1, 1), (5, 2, 3)):
        for size in (20 * stride + 7, 3):
            words = f"k{kernel} s{stride} p{padding}+{2 * stride + 9} d{dilation}"
            check(ALGORITHM, f"n1 c2 o3 i{size} {words} float32", between_nans)


@pytest.mark.parametrize("level", ["", "avx2"])
def test_stays_inside_its_memory(level: str) -> None:
    widths = EDGES[2::2] if level else EDGES
    edges = [text for words in SHAPES for text in spelled(words, widths)]
    guarded(ALGORITHM, [*edges, *STRUCTURE[:8], STRUCTURE[12], STRUCTURE[18]], level)


@pytest.mark.parametrize(
    "words",
    [
        "n1 c10 o10 i32x30 k4x4 s2 p1 g10 bias float32",
        "n1 c3 o30 i64x60 k4x4 s2 p1 float32",
        "n1 c2 o3 i3000 k16 s8 p4 float32",
        "n2 c6 o4 i9x10x11 k3x3x3 s2 p1 g2 float32",
    ],
)
def test_same_bits_for_any_number_of_threads(words: str) -> None:
    same_for_any_threads(ALGORITHM, words)


@pytest.mark.parametrize("activation", ["relu", "silu", "gelu", "hardswish"])
def test_activation_comes_last(activation: str, check_algorithm: Callable[..., None]) -> None:
    for dtype in ("float32", "float64", "bfloat16"):
        words = f"n1 c4 o4 i9x10 k4x4 s2 p1 g4 bias {activation} {dtype}"
        check_algorithm(ALGORITHM, parse(words))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_sixteen_bits_are_rounded_once(dtype: str) -> None:
    # sums of ones up to 540 pass 256, from where bfloat16 counts in twos
    spec = parse(f"n1 c2 o270 i30 k4 s2 {dtype}")
    gy, w = (torch.ones(shape, dtype=getattr(torch, dtype)) for shape in spec.operand_shapes)
    w[0, :, 0] = 0
    gx = ALGORITHM.build(spec)(gy, w)
    assert torch.equal(gx, by_torch(spec, gy, w))
    assert gx.max().item() == torch.tensor(540.0).to(gx.dtype).item()


def test_rows_of_padding_are_skipped_not_multiplied() -> None:
    # an infinite weight times a zero of the padding would be NaN
    spec = parse("n1 c2 o2 i6x40 k4x1 s2x1 p1x0 g2 float32")
    gy, w = torch.ones(spec.y_shape), torch.ones(spec.w_shape)
    w[:, :, 0] = float("inf")
    gx = ALGORITHM.build(spec)(gy, w)
    assert not gx.isnan().any()
    reached = torch.tensor([i + 1 in (0, 2, 4) for i in range(6)])  # q·2 − 1 for q below 3
    assert torch.equal(gx.isinf().any(-1)[0, 0], reached)


def test_code_stays_short() -> None:
    # what is written down, not what is run: compiling takes about a tenth of a second a thousand
    for words in (*STRUCTURE, "n1 c64 o64 i56x56 k4x4 s2 p1 g64 float32"):
        spec = parse(words)
        assert row_tile(phases_rows_cpu._problem(spec)).code <= 2400, words
        written = _written(phases_rows_cpu._Recording(spec).r.body)
        assert written < 4000, words


def _written(ops: list) -> int:
    return sum(1 + _written(op.body) for op in ops if op.name != "const")


@pytest.mark.parametrize(
    "words",
    [
        "n1 c64 o64 i56x56 k4x4 s2 p1 g64 float32",
        "n1 c3 o128 i64x64 k4x4 s2 p1 float32",
        "n1 c1 o56 i300x300 k9x9 s3 p4 float32",
        "n1 c3 o64 i224x224 k7x7 s2 p3 float32",
        "n1 c256 o256 i2000 k4 s2 p1 g256 float32",
    ],
)
def test_the_planner_takes_it_for_few_channels(words: str) -> None:
    assert planned(words).algorithm == "phases_rows_cpu"


def test_the_planner_leaves_many_channels_to_others() -> None:
    plan = planned("n1 c128 o256 i32x32 k4x4 s2 p1 float32")
    assert plan.algorithm != "phases_rows_cpu"
    assert "phases_rows_cpu" in [c.name for c in plan.candidates]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("n1 c4 o4 i9x9 k3x3 complex64", "needs one of float32, .*has complex64"),
        ("n1 c4 o4 i9x9 k3x3 channels_last float32", "has channels_last"),
        ("n1 c4 o4 i9x9 k3x3 p1 reflect float32", "with zeros only, not reflect"),
        ("n1 c4 o4 i99x99 k3x3 s9 float32", "strides up to 8 along a row, has 9"),
        ("n1 c0 o4 i9x9 k3x3 p1 float32", r"nothing to compute: the result is \(1, 0, 9, 9\)"),
        ("n1 c1 o1 i9999 k900 float32", r"would unroll \d+ operations, more than 4000"),
    ],
)
def test_what_it_refuses(words: str, reason: str) -> None:
    (said,) = ALGORITHM.unsupported(parse(words))
    assert re.search(reason, said)


def test_operands_that_are_views(whole: Callable[..., Tensor]) -> None:
    x = whole(2, 6, 9, 10, dtype=torch.float32)
    w = whole(4, 4, 1, 6, dtype=torch.float32).permute(3, 2, 0, 1)
    b = whole(12, dtype=torch.float32)[::2]
    with faltung.using(algorithm="phases_rows_cpu"):
        y = FF.conv_transpose2d(x, w, b, stride=2, padding=1, output_padding=1, groups=6)
    expected = torch.nn.functional.conv_transpose2d(x, w, b, 2, 1, 1, 6)
    assert torch.equal(y, expected)
