"""What is special to small groups in channels-last images: lanes, pairs of rows, ends of rows."""

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
    written,
)  # fmt: skip
from faltung.lang.target import host_target
from faltung.machine import this_machine
from faltung.ops.conv.algorithms.grouped_channels_last_cpu import ALGORITHM
from faltung.ops.conv.group_recording import GroupRecording
from faltung.ops.conv.spec import ConvSpec
from faltung.tools.budget import Budget, assert_within

# groups, inputs and outputs of each: powers of two and not, more of either, vectors full and not
GROUPS = [
    (2, 1, 1), (8, 4, 4), (32, 2, 2), (4, 2, 4), (6, 4, 2), (5, 3, 3), (3, 1, 2), (16, 1, 1),
    (7, 5, 2), (2, 9, 2), (9, 2, 1), (5, 6, 4), (40, 3, 1),
]  # fmt: skip
CHANNELS = [
    f"forward n1 c{g * c} o{g * o} i5x7 k3x3 {rest} g{g}{bias} channels_last float32 cpu"
    for n, (g, c, o) in enumerate(GROUPS)
    for rest, bias in (("p1", ""), ("s2x1 p1", " bias"))
]
OTHERS = [
    f"forward {words} channels_last {dtype} cpu"
    for words in (
        # one row at a time: strides, dilation, long kernel rows in pieces; and pairs of rows
        "n2 c8 o8 i9x40 k3x3 s2 p1 g4", "n1 c8 o8 i9x13 k3x2 s1x3 p2x1 d2x4 g4 bias",
        "n1 c4 o4 i4x90 k1x31 p0x15 g2", "n1 c4 o8 i3x60 k2x37 s1x2 p0x20+7 g2",
        "n1 c8 o8 i9x40 k3x3 p1 g4", "n2 c8 o8 i8x40 k3x3 p0+2x1 g4 bias",
        "n1 c8 o8 i7x9 k5x5 p2 g4",
        "n1 c8 o8 i6x9 k2x3 p1 g4", "n1 c8 o8 i12x9 k7x3 s2x1 p3 g4",
        # rows and columns that are all padding; a window wider than the image; small sizes
        "n1 c8 o8 i2x3 k3x3 p4 g4", "n1 c8 o8 i4x5 k3x9 p1x8 g4", "n1 c8 o8 i1x1 k3x3 p1 g4",
        # 3-D; fewer outputs than there could be
        "n1 c8 o8 i3x4x20 k3x3x3 p1 g4", "n2 c6 o6 i4x5x9 k2x3x3 s2x1x2 p1x0x1 d1x2x1 g3 bias",
        "n1 c8 o8 i12x33 k3x3 y5x25 g4",
        # picks of every eighth number, which LLVM takes wrongly from halves in memory
        "n1 c64 o8 i4x5 k1x3 p0x1 g8",
    )
    for dtype in ("float32", "float64", "bfloat16", "float16")
    # two groups to a vector of eight bytes a lane
]  # fmt: skip
WIDTHS = (*range(1, 20), 33)


def runs(text: str) -> bool:
    """Whether this machine's vectors hold two of the groups."""
    spec = ConvSpec.parse(text)
    size = 8 if spec.dtype == "float64" else 4
    return 2 * spec.out_channels // spec.groups <= host_target().lanes(size)


@pytest.mark.parametrize("words", ["k3x3 p1 g4", "k3x3 s1x2 p1x2 d2x1 g4 bias"])
def test_every_width(words: str, between_nans: Callable[[Tensor], Tensor]) -> None:
    for width in WIDTHS:
        text = f"forward n1 c8 o8 i5x{width} {words} channels_last float32 cpu"
        check(ALGORITHM, text, between_nans)


def test_stays_inside_its_memory() -> None:
    texts = [text for text in (*CHANNELS, *OTHERS[::4], *OTHERS[2:20:4]) if runs(text)]
    guarded(ALGORITHM, texts)


@pytest.mark.parametrize("text", [*CHANNELS, *OTHERS])
def test_whole_numbers_to_the_bit(text: str, between_nans: Callable[[Tensor], Tensor]) -> None:
    if not runs(text):
        pytest.skip("fewer than two groups to a vector")
    check(ALGORITHM, text, between_nans)


@pytest.mark.parametrize("numbers", ["k3x3 p1", "k5x5 p2", "k3x3 s2 p1"])
def test_rounds_no_more_than_a_direct_sum(numbers: str) -> None:
    spec = ConvSpec.parse(f"forward n1 c16 o16 i15x13 {numbers} g4 channels_last float32 cpu")
    operands = [torch.randn(shape, dtype=torch.float64).float() for shape in spec.operand_shapes]
    operands[0] = laid(operands[0], spec)
    budget = Budget.of(lambda x, w: forward(x, w, spec), operands, 1.0)
    assert_within(ALGORITHM.build(spec)(*operands), budget)


@pytest.mark.parametrize(
    "text",
    [
        "forward n1 c32 o32 i29x37 k3x3 p1 g8 channels_last float32 cpu",
        "forward n1 c160 o160 i7x7 k3x3 p1 g40 bias channels_last float32 cpu",
        "forward n3 c32 o32 i29x17 k3x3 s2 p1 g8 channels_last float32 cpu",
    ],
)
def test_same_bits_for_any_number_of_threads(text: str) -> None:
    same_for_any_number_of_threads(ALGORITHM, text)


def test_code_stays_short() -> None:
    for text in (*CHANNELS, *OTHERS):
        if runs(text):
            layout = ALGORITHM.layout(ConvSpec.parse(text))
            recorded = GroupRecording(layout, ALGORITHM.name).r
            assert written(recorded.body) < 9000, text


@pytest.mark.parametrize(
    "text",
    [
        "forward n1 c128 o128 i56x56 k3x3 p1 g32 channels_last float32 cpu",
        "forward n1 c256 o256 i28x28 k3x3 p1 g32 channels_last float32 cpu",
        "forward n1 c64 o128 i28x28 k3x3 p1 g64 channels_last float32 cpu",
    ],
)
def test_the_planner_prefers_it_to_pytorch_for_small_groups(text: str) -> None:
    if not runs(text):
        pytest.skip("fewer than two groups to a vector")
    names = [candidate.name for candidate in planned(text).candidates]
    assert names.index(ALGORITHM.name) < names.index("native_torch")


def test_memory_and_time_are_counted() -> None:
    text = "forward n1 c128 o128 i28x28 k3x3 s2 p1 g32 channels_last float32 cpu"
    spec = ConvSpec.parse(text)
    assert ALGORITHM.workspace(spec) == 4 * 128 * 4 * 9
    twice = replace(spec, batch=2)
    first, second = (ALGORITHM.seconds(s, this_machine()) for s in (spec, twice))
    assert 1.5 < second / first < 4  # less: the call is part of it; more: caches may not hold it


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("c4 o4 i9x9 k3x3 g2 channels_last complex64", "needs one of float32, .*has complex64"),
        ("c4 o4 i9x9 k3x3 g2 float32", "needs a channels-last image, has contiguous"),
        ("c4 o4 i9x9 k3x3 p1 g2 reflect channels_last float32", "with zeros only, not reflect"),
        ("c4 o4 i9x9 k3x3 channels_last float32", "two groups to a vector .*has 1 of 4"),
        ("c64 o64 i9x9 k3x3 g2 channels_last float32", "two groups to a vector .*has 2 of 32"),
        ("c900 o4 i9x9 k3x3 g2 channels_last float32", "would write down .* more than 4400"),
    ],
)
def test_what_it_refuses(text: str, reason: str) -> None:
    (said,) = ALGORITHM.unsupported(ConvSpec.parse(f"forward n1 {text} cpu"))
    assert re.search(reason, said), said


def test_no_input_channels_leave_the_bias() -> None:
    spec = ConvSpec.parse("forward n1 c0 o4 i5x6 k3x3 p1 g2 bias channels_last float32 cpu")
    bias = torch.tensor([1.0, 2.0, 3.0, 4.0])
    x = torch.empty(1, 5, 6, 0).permute(0, 3, 1, 2)
    y = ALGORITHM.build(spec)(x, torch.empty(spec.w_shape), bias)
    assert torch.equal(y, bias.view(1, 4, 1, 1).expand(1, 4, 5, 6))


@pytest.mark.parametrize("numbers", ["k3x3 p1", "k3x3 s2 p1"])
def test_activation_comes_last(numbers: str) -> None:
    text = f"forward n1 c8 o8 i9x10 {numbers} g4 bias relu channels_last float32 cpu"
    activation_comes_last(ALGORITHM, text)


def test_a_weight_that_changes() -> None:
    follows_its_weight(ALGORITHM, "forward n1 c8 o8 i9x10 k3x3 p1 g4 channels_last float32 cpu")
