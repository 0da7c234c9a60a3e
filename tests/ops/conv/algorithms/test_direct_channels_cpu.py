"""What is special to direct routines with output channels as lanes: widths, panels, channels."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from exact import (
    activation_comes_last,
    by_torch,
    check,
    follows_its_weight,
    guarded,
    laid,
    planned,
    same_for_any_number_of_threads,
    spelled,
    written,
)  # fmt: skip
from faltung.machine import this_machine
from faltung.ops.conv.algorithms import direct_channels_cpu
from faltung.ops.conv.algorithms.direct_channels_cpu import ALGORITHM
from faltung.ops.conv.spec import ConvSpec

# every width around the widest tiles, and some past one and two of them
WIDTHS = (*range(1, 19), 23, 24, 25, 33, 49)
EDGES = (1, 5, 16, 17, 33)  # of them, for the slower definition
SHAPES = [
    f"{words}{layout} {dtype}"
    for words, dtype in (
        ("c3 o20 k3x3 s2 p1 bias", "float32"), ("c2 o5 k4x4 s1x4 p0x1+3", "float32"),
        ("c6 o40 k3x3 p1x2 d1x2 g2", "float32"), ("c2 o9 k1x7 s1x2 p0x3 bias", "float64"),
        ("c4 o18 k3x3 s1x2 p1x1+0 bias", "bfloat16"), ("c3 o17 k2x3 s1x5 p0x2 bias", "float16"),
    )
    for layout in ("", " channels_last")
]  # fmt: skip
WIDE = [
    f"forward {words}{layout} float32 cpu"
    for words in (
        # tiles inside, and at either end; all that see padding; rows of weights in pieces
        "n1 c3 o64 i9x230 k7x7 s2 p3", "n2 c3 o33 i20x75 k11x11 s4 p2 bias",
        "n1 c2 o40 i9x130 k5x5 p8 d4", "n1 c2 o17 i3x500 k3x17 p1x200+170 d1x17",
        "n1 c1 o20 i4x300 k2x67 s1x6 p0x31", "n1 c3 o96 i40x40 k4x4 s4",
        # groups, with panels of all that is read
        "n1 c32 o48 i14x14 k3x3 p1 g2", "n2 c10 o50 i7x9 k3x3 p1 g5 bias",
        "n1 c34 o34 i6x6 k1x1 g2",
        # 3-D, each axis by itself
        "n1 c3 o20 i5x12x40 k3x5x5 s1x2x2 p1x2x2", "n1 c2 o16 i4x5x33 k2x3x3 p0+1x1x1 d2x1x1 bias",
        # fewer outputs than there could be; strides beyond the kernel; a size of one
        "n1 c3 o20 i12x33 k3x3 y5x25 d2", "n1 c3 o20 i30x60 k2x2 s5x7", "n1 c3 o20 i1x1 k3x3 p1",
    )
    for layout in ("", " channels_last")
]  # fmt: skip
SIGNALS = [
    "forward n2 c1 o40 i600 k10 s5 float32 cpu", "forward n1 c3 o70 i2000 k5 p2 bias float32 cpu",
    "forward n1 c2 o12 i331 k100 s3 p150+151 float32 cpu",
    "forward n1 c2 o33 i5000 k7 p300 d100 bfloat16 cpu",
    # one row, a panel in pieces
    "forward n1 c4 o16 i90000 k3 p1 float16 cpu",
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
    guarded(ALGORITHM, [*texts, *WIDE[4:12], *WIDE[14:20], SIGNALS[0], *CHANNELS[:6]])


@pytest.mark.parametrize("text", [*WIDE, *SIGNALS, *CHANNELS])
def test_whole_numbers_to_the_bit(text: str, between_nans: Callable[[Tensor], Tensor]) -> None:
    check(ALGORITHM, text, between_nans)


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 5, 8, 17])
@pytest.mark.parametrize("layout", ["", " channels_last"])
def test_every_stride(stride: int, layout: str, between_nans: Callable[[Tensor], Tensor]) -> None:
    for kernel, padding, dilation in ((3, 1, 1), (stride, 0, 1), (5, stride + 1, 3)):
        words = f"k2x{kernel} s1x{stride} p0x{padding}+3 d1x{dilation}{layout}"
        check(
            ALGORITHM, f"forward n1 c2 o17 i3x{20 * stride + 7} {words} float32 cpu", between_nans
        )


@pytest.mark.parametrize(
    "text",
    [
        "forward n1 c3 o20 i70x37 k7x7 s2 p3 float32 cpu",
        "forward n1 c3 o131 i30x37 k7x7 s2 p3 channels_last bias float32 cpu",
        "forward n3 c32 o48 i11x9 k3x3 p1 g2 channels_last float32 cpu",
        "forward n1 c2 o131 i300 k5 s3 bias float32 cpu",
    ],
)
def test_same_bits_for_any_number_of_threads(text: str) -> None:
    same_for_any_number_of_threads(ALGORITHM, text)


def test_sixteen_bits_are_rounded_once() -> None:
    # sums of ones up to 2·3·90 = 540 pass 256, from where bfloat16 counts in twos
    spec = ConvSpec.parse("forward n1 c2 o20 i3x100 k3x90 bfloat16 cpu")
    x, w = (torch.ones(shape, dtype=torch.bfloat16) for shape in spec.operand_shapes)
    w[:, 0, 0, 0] = 0
    expected = by_torch(spec, x.double(), w.double())
    assert torch.equal(ALGORITHM.build(spec)(x, w), expected)


def test_code_stays_short() -> None:
    for text in (*WIDE, *SIGNALS, *CHANNELS, "forward n1 c64 o64 i64x64 k31x31 p15 float32 cpu"):
        layout = direct_channels_cpu._Layout(ConvSpec.parse(text))
        assert written(direct_channels_cpu._Recording(layout).r.body) < 3000, text


@pytest.mark.parametrize(
    "text",
    [
        "forward n1 c3 o96 i224x224 k4x4 s4 channels_last float32 cpu",
        "forward n1 c3 o64 i112x112 k2x2 s2 channels_last float32 cpu",
    ],
)
def test_the_planner_prefers_it_to_pytorch_in_first_layers(text: str) -> None:
    names = [candidate.name for candidate in planned(text).candidates]
    assert names.index(ALGORITHM.name) < names.index("native_torch")


@pytest.mark.parametrize(
    "text",
    [
        "forward n1 c256 o256 i14x14 k3x3 p1 float32 cpu",
        "forward n1 c128 o128 i56x56 k3x3 p1 g32 float32 cpu",
        "forward n1 c128 o128 i56x56 k3x3 p1 g32 channels_last float32 cpu",
        "forward n1 c64 o64 i56x56 k3x3 p1 g64 channels_last float32 cpu",
    ],
)
def test_the_planner_leaves_other_layers_to_others(text: str) -> None:
    assert planned(text).algorithm != ALGORITHM.name


def test_memory_and_time_are_counted() -> None:
    spec = ConvSpec.parse("forward n1 c3 o64 i224x224 k7x7 s2 p3 float32 cpu")
    numbers = 64 * 3 * 49
    assert 4 * numbers < ALGORITHM.workspace(spec) < 4 * numbers + 200_000
    twice = replace(spec, batch=2)
    first, second = (ALGORITHM.seconds(s, this_machine()) for s in (spec, twice))
    assert 1.9 < second / first < 2.1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("forward n1 c4 o4 i9x9 k3x3 complex64 cpu", "needs one of float32, .*has complex64"),
        ("forward n1 c4 o4 i9x9 k3x3 p1 reflect float32 cpu", "with zeros only, not reflect"),
        ("forward n1 c4 o4 i9x9 k3x3 strided float32 cpu", "contiguous or channels-last .*strided"),
    ],
)  # fmt: skip
def test_what_it_refuses(text: str, reason: str) -> None:
    (said,) = ALGORITHM.unsupported(ConvSpec.parse(text))
    assert re.search(reason, said)


@pytest.mark.parametrize("layout", ["", " channels_last"])
def test_no_input_channels_leave_the_bias(layout: str) -> None:
    spec = ConvSpec.parse(f"forward n1 c0 o3 i5x6 k3x3 p1 bias{layout} float32 cpu")
    bias = torch.tensor([1.0, 2.0, 3.0])
    x = laid(torch.empty(spec.x_shape), spec)
    y = ALGORITHM.build(spec)(x, torch.empty(spec.w_shape), bias)
    assert torch.equal(y, bias.view(1, 3, 1, 1).expand(1, 3, 5, 6))


@pytest.mark.parametrize("layout", ["", " channels_last"])
def test_activation_comes_last(layout: str) -> None:
    text = f"forward n1 c3 o20 i9x10 k3x3 s2 p1 bias relu{layout} float32 cpu"
    activation_comes_last(ALGORITHM, text)


def test_a_weight_that_changes() -> None:
    follows_its_weight(ALGORITHM, "forward n1 c3 o20 i9x10 k3x3 s2 p1 float32 cpu")
