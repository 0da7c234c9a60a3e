"""What is special to two rows at a time: odd heights, rows that are not there, and rounding."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from by_taps import forward
from exact import (
    activation_comes_last,
    check,
    follows_its_weight,
    guarded,
    laid,
    planned,
    same_for_any_number_of_threads,
    spelled,
    written,
)  # fmt: skip
from faltung.lang.target import host_target
from faltung.machine import this_machine
from faltung.ops.conv.algorithms import row_pairs_cpu
from faltung.ops.conv.algorithms.row_pairs_cpu import ALGORITHM
from faltung.ops.conv.spec import ConvSpec
from faltung.tools.budget import Budget, assert_within

WIDTHS = (*range(1, 19), 23, 24, 25, 33, 49)
EDGES = (1, 5, 16, 17, 33)  # of them, for the slower definition
SHAPES = [
    f"{words}{layout} {dtype}"
    for words, dtype in (
        ("c3 o20 k3x3 p1 bias", "float32"), ("c2 o5 k3x4 s1x4 p1x1+3", "float32"),
        ("c6 o40 k2x3 p1x2 d1x2 g2", "float32"), ("c2 o9 k3x7 s1x2 p1x3 bias", "float64"),
        ("c4 o18 k3x3 s1x2 p1x1+0 bias", "bfloat16"), ("c3 o17 k2x3 s1x5 p0x2 bias", "float16"),
    )
    for layout in ("", " channels_last")
]  # fmt: skip
# every kernel height with chains of 1, 2, 3 … taps; heights even and odd; rows missing at both ends
HEIGHTS = [
    f"forward n1 c2 o17 i{height}x9 k{kernel}x3 s{stride}x1 p{low}+{high}x1{layout} float32 cpu"
    for kernel, stride in ((2, 1), (3, 1), (4, 1), (5, 1), (7, 1), (3, 2), (5, 2), (7, 2), (11, 4))
    for height, low, high in ((16, 0, 0), (14, 1, 2), (11, 5, 6))
    for layout in ("", " channels_last")
]
WIDE = [
    f"forward {words}{layout} float32 cpu"
    for words in (
        "n1 c3 o64 i9x230 k7x7 s2 p3", "n2 c3 o33 i20x75 k11x11 s4 p2 bias",
        "n1 c2 o40 i9x130 k5x5 p8x12", "n1 c3 o20 i12x33 k4x4 s2 p1 d2",
        # groups; 3-D, also with whole planes of padding; fewer outputs than there could be
        "n1 c32 o48 i14x14 k3x3 p1 g2", "n2 c10 o50 i7x9 k3x3 p1 g5 bias",
        "n1 c34 o34 i6x6 k3x1 p1x0 g2",
        "n1 c3 o20 i5x12x40 k3x5x5 s1x2x2 p1x2x2", "n1 c2 o16 i4x5x33 k2x3x3 p3+1x1x1 d2x1x1 bias",
        "n1 c3 o20 i12x33 k3x3 y5x25 d1x2",
        # rows that are all padding; a row longer than its kernel's reach; one column
        "n1 c2 o16 i2x5 k3x3 p5x2", "n1 c2 o16 i9x1 k3x3 p1", "n1 c1 o16 i6x200 k3x60 p1x70",
    )
    for layout in ("", " channels_last")
]  # fmt: skip
CHANNELS = [
    f"forward n1 c{c} o{o} i5x20 k3x3 p1{layout} float32 cpu"
    for c, o in ((3, 1), (1, 4), (3, 7), (2, 8), (1, 15), (3, 16), (2, 31), (5, 48), (3, 100))
    for layout in ("", " channels_last")
]


@pytest.mark.parametrize("words", SHAPES)
def test_every_width(words: str, between_nans: Callable[[Tensor], Tensor]) -> None:
    for text in spelled(words, WIDTHS):
        check(ALGORITHM, text, between_nans)


def test_stays_inside_its_memory() -> None:
    texts = [text for words in SHAPES for text in spelled(words, EDGES)]
    guarded(ALGORITHM, [*texts, *HEIGHTS[::5], *WIDE[4:16], *CHANNELS[:6]])


@pytest.mark.parametrize("text", [*HEIGHTS, *WIDE, *CHANNELS])
def test_whole_numbers_to_the_bit(text: str, between_nans: Callable[[Tensor], Tensor]) -> None:
    check(ALGORITHM, text, between_nans)


@pytest.mark.parametrize("numbers", ["k3x3 p1", "k7x7 s2 p3", "k6x6 s2 p2", "k11x11 s4 p2"])
@pytest.mark.parametrize("channels", ["c3 o16", "c64 o64 g4"])
def test_rounds_no_more_than_a_direct_sum(channels: str, numbers: str) -> None:
    text = f"forward n1 {channels} i31x23 {numbers} float32 cpu"
    if "g4" in text:
        text = text.replace("i31x23", "i15x13")
    spec = ConvSpec.parse(text)
    operands = [torch.randn(shape, dtype=torch.float64).float() for shape in spec.operand_shapes]
    budget = Budget.of(lambda x, w: forward(x, w, spec), operands, 1.0)
    assert_within(ALGORITHM.build(spec)(*operands), budget)


@pytest.mark.parametrize(
    "text",
    [
        "forward n1 c3 o20 i70x37 k7x7 s2 p3 float32 cpu",
        "forward n1 c3 o131 i29x37 k7x7 s2 p3 channels_last bias float32 cpu",
        "forward n3 c32 o48 i11x9 k3x3 p1 g2 channels_last float32 cpu",
    ],
)
def test_same_bits_for_any_number_of_threads(text: str) -> None:
    same_for_any_number_of_threads(ALGORITHM, text)


def test_code_stays_short() -> None:
    for text in (*HEIGHTS, *WIDE, *CHANNELS, "forward n1 c8 o64 i64x64 k31x31 p15 float32 cpu"):
        layout = row_pairs_cpu._Layout(ConvSpec.parse(text))
        assert written(row_pairs_cpu._Recording(layout).r.body) < 3000, text


@pytest.mark.skipif(host_target().vector_bits < 512, reason="16 registers are too few for pairs")
@pytest.mark.parametrize(
    "text",
    [
        "forward n1 c3 o64 i224x224 k7x7 s2 p3 float32 cpu",
        "forward n1 c3 o64 i224x224 k11x11 s4 p2 channels_last float32 cpu",
        "forward n1 c512 o512 i14x14 k3x3 p1 g32 channels_last float32 cpu",
    ],
)
def test_the_planner_prefers_it_to_pytorch_for_first_layers_and_groups(text: str) -> None:
    names = [candidate.name for candidate in planned(text).candidates]
    assert names.index(ALGORITHM.name) < names.index("native_torch")


@pytest.mark.parametrize(
    "text",
    [
        "forward n1 c128 o128 i56x56 k3x3 p1 g32 float32 cpu",
        "forward n1 c128 o128 i56x56 k3x3 p1 g32 channels_last float32 cpu",
        "forward n1 c64 o3 i56x56 k3x3 p1 float32 cpu",
    ],
)
def test_the_planner_leaves_other_layers_to_others(text: str) -> None:
    assert planned(text).algorithm != ALGORITHM.name


def test_memory_and_time_are_counted() -> None:
    spec = ConvSpec.parse("forward n1 c3 o64 i224x224 k7x7 s2 p3 float32 cpu")
    numbers = 64 * 3 * 7 * 10  # ten products of a pair of rows
    panel = 10 * 3 * 229
    assert 4 * (numbers + panel) < ALGORITHM.workspace(spec) < 4 * (numbers + 1.1 * panel)
    twice = replace(spec, batch=2)
    first, second = (ALGORITHM.seconds(s, this_machine()) for s in (spec, twice))
    assert 1.9 < second / first < 2.1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("forward n1 c4 o4 i9x9 k3x3 complex64 cpu", "needs one of float32, .*has complex64"),
        ("forward n1 c4 o4 i9x9 k3x3 p1 reflect float32 cpu", "with zeros only, not reflect"),
        ("forward n1 c4 o4 i9x9 k3x3 strided float32 cpu", "contiguous or channels-last .*strided"),
        ("forward n1 c4 o4 i9 k3 float32 cpu", r"needs two rows of outputs, has \(7,\)"),
        ("forward n1 c4 o4 i3x9 k3x3 float32 cpu", r"needs two rows of outputs, has \(1, 7\)"),
        ("forward n1 c4 o4 i9x9 k3x3 s3 float32 cpu", "kernel size 3, stride 3 .*factor 1.00"),
        ("forward n1 c4 o4 i9x9 k3x3 d2 float32 cpu", "dilation 2 in height .*factor 1.00"),
        ("forward n1 c1 o4 i99x9 k50x3 p9x1 float32 cpu", "write down 67 sums .* more than 48"),
    ],
)  # fmt: skip
def test_what_it_refuses(text: str, reason: str) -> None:
    (said,) = ALGORITHM.unsupported(ConvSpec.parse(text))
    assert re.search(reason, said), said


@pytest.mark.parametrize("layout", ["", " channels_last"])
def test_no_input_channels_leave_the_bias(layout: str) -> None:
    spec = ConvSpec.parse(f"forward n1 c0 o3 i5x6 k3x3 p1 bias{layout} float32 cpu")
    bias = torch.tensor([1.0, 2.0, 3.0])
    x = laid(torch.empty(spec.x_shape), spec)
    y = ALGORITHM.build(spec)(x, torch.empty(spec.w_shape), bias)
    assert torch.equal(y, bias.view(1, 3, 1, 1).expand(1, 3, 5, 6))


@pytest.mark.parametrize("layout", ["", " channels_last"])
def test_activation_comes_last(layout: str) -> None:
    text = f"forward n1 c3 o20 i9x10 k3x3 p1 bias relu{layout} float32 cpu"
    activation_comes_last(ALGORITHM, text)


def test_a_weight_that_changes() -> None:
    follows_its_weight(ALGORITHM, "forward n1 c3 o20 i9x10 k3x3 p1 float32 cpu")
