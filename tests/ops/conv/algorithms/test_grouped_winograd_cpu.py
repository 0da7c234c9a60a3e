"""Four rows of small groups at a time: exact in whole numbers, within its budget on others."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

import faltung
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
from faltung.ops.conv.algorithms.grouped_winograd_cpu import ALGORITHM
from faltung.ops.conv.group_recording import GroupRecording
from faltung.ops.conv.spec import ConvSpec
from faltung.tools.budget import Budget, assert_within

DTYPES = ("float32", "float64", "bfloat16", "float16")
# groups, inputs and outputs of each: powers of two and not, more of either, vectors full and not
GROUPS = [
    (2, 4, 4), (8, 4, 4), (32, 4, 2), (4, 4, 1), (6, 5, 2), (5, 6, 3), (7, 5, 2), (2, 9, 2),
    (9, 12, 1), (4, 8, 4),
]  # fmt: skip
CHANNELS = [
    f"forward n1 c{g * c} o{g * o} i6x7 k3x3 p1 g{g}{bias} channels_last float32 cpu"
    for n, (g, c, o) in enumerate(GROUPS)
    for bias in ("", " bias")
]
OTHERS = [
    f"forward {words} channels_last {dtype} cpu"
    for words in (
        "n1 c8 o8 i9x40 k3x3 p1 g2", "n2 c8 o8 i8x40 k3x3 p0+2x1 g2 bias",
        # along the width, strides, dilation and other kernels
        "n1 c8 o8 i9x30 k3x4 s1x2 p1x3 d1x2 g2", "n1 c24 o8 i7x9 k3x1 p1x0 g2 bias",
        # rows and columns that are all padding; fewer rows than a tile's; no rows to fill up
        "n1 c8 o8 i2x3 k3x3 p4 g2", "n1 c8 o8 i1x1 k3x3 p1 g2", "n1 c8 o8 i3x5 k3x3 g2",
        "n1 c8 o8 i4x5 k3x7 p1x6 g2",
        # planes; fewer outputs than there could be
        "n1 c8 o8 i3x4x20 k3x3x3 p1 g2", "n2 c8 o8 i4x5x9 k2x3x3 s2x1x2 p1x0x1 d1x1x2 g2 bias",
        "n1 c8 o8 i12x33 k3x3 y5x25 g2",
    )
    for dtype in DTYPES
]  # fmt: skip


def runs(text: str) -> bool:
    """Whether this machine's vectors hold two of the groups."""
    spec = ConvSpec.parse(text)
    size = 8 if spec.dtype == "float64" else 4
    return 2 * spec.out_channels // spec.groups <= host_target().lanes(size)


@pytest.mark.parametrize("text", [*CHANNELS, *OTHERS])
def test_whole_numbers_to_the_bit(text: str, between_nans: Callable[[Tensor], Tensor]) -> None:
    if not runs(text):
        pytest.skip("fewer than two groups to a vector")
    check(ALGORITHM, text, between_nans)


@pytest.mark.parametrize("height", range(1, 14))
@pytest.mark.parametrize("padding", ["0+2", "1", "2", "3+0"])
def test_every_height(height: int, padding: str, between_nans: Callable[[Tensor], Tensor]) -> None:
    try:
        text = f"forward n1 c8 o8 i{height}x5 k3x3 p{padding}x1 g2 channels_last float32 cpu"
        ConvSpec.parse(text)
    except faltung.ArgumentError:
        pytest.skip("an image lower than the kernel")
    check(ALGORITHM, text, between_nans)


def test_every_width(between_nans: Callable[[Tensor], Tensor]) -> None:
    for width in (*range(1, 20), 33):
        text = f"forward n1 c8 o8 i5x{width} k3x3 p1 g2 channels_last float32 cpu"
        check(ALGORITHM, text, between_nans)


def test_stays_inside_its_memory() -> None:
    texts = [text for text in (*CHANNELS, *OTHERS[::4], *OTHERS[2:20:4]) if runs(text)]
    guarded(ALGORITHM, texts)


def test_every_height_and_width_stays_inside_its_memory() -> None:
    sizes = [*((h, 5) for h in range(3, 12)), *((6, w) for w in range(3, 36))]
    guarded(ALGORITHM, [
        f"forward n1 c8 o8 i{h}x{w} k3x3 p1 g2 channels_last float32 cpu" for h, w in sizes
    ])  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["normal", "rectified"])
@pytest.mark.parametrize("words", ["c24 o24 i40x19 k3x3 p1 g6", "c16 o16 i9x7 k3x5 p1x2 g4"])
def test_errors_stay_within_the_budget(words: str, kind: str, dtype: str) -> None:
    spec = ConvSpec.parse(f"forward n1 {words} channels_last {dtype} cpu")
    if not runs(str(spec)):
        pytest.skip("fewer than two groups to a vector")
    x, w = (torch.randn(shape).to(getattr(torch, dtype)) for shape in spec.operand_shapes)
    x = laid(x if kind == "normal" else x.relu(), spec)
    budget = Budget.of(lambda x, w: forward(x, w, spec), (x, w), ALGORITHM.error_factor)
    assert_within(ALGORITHM.build(spec)(x, w), budget)


@pytest.mark.parametrize(
    "text",
    [
        "forward n1 c32 o32 i29x37 k3x3 p1 g8 channels_last float32 cpu",
        "forward n2 c160 o160 i7x7 k3x3 p1 g40 bias channels_last float32 cpu",
    ],
)
def test_same_bits_for_any_number_of_threads(text: str) -> None:
    same_for_any_number_of_threads(ALGORITHM, text)


def test_code_stays_short() -> None:
    for text in (*CHANNELS, *OTHERS):
        if runs(text):
            recorded = GroupRecording(ALGORITHM.layout(ConvSpec.parse(text)), ALGORITHM.name).r
            assert written(recorded.body) < 9000, text


def test_the_planner_takes_it_where_it_may_round() -> None:
    text = "forward n1 c128 o128 i56x56 k3x3 p1 g32 channels_last float32 cpu"
    if not runs(text):
        pytest.skip("fewer than two groups to a vector")
    assert planned(text).algorithm == ALGORITHM.name
    with faltung.using(accuracy="exact"):
        assert planned(text).algorithm == "grouped_channels_last_cpu"


def test_memory_and_time_are_counted() -> None:
    text = "forward n1 c128 o128 i28x28 k3x3 p1 g32 channels_last float32 cpu"
    spec = ConvSpec.parse(text)
    assert ALGORITHM.workspace(spec) == 4 * 128 * 4 * 6 * 3  # six products for three rows
    twice = replace(spec, batch=2)
    first, second = (ALGORITHM.seconds(s, this_machine()) for s in (spec, twice))
    assert 1.5 < second / first < 4  # less: the call is part of it; more: caches may not hold it


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("c8 o8 i9x9 k3x3 g2 channels_last complex64", "needs one of float32, .*has complex64"),
        ("c8 o8 i9x9 k3x3 g2 float32", "needs a channels-last image, has contiguous"),
        ("c8 o8 i9x9 k5x3 g2 channels_last float32", "kernels of 3 rows .* has 5 rows"),
        ("c8 o8 i9x9 k3x3 s2x1 g2 channels_last float32", "stride 2 and dilation 1"),
        ("c8 o8 i9x9 k3x3 d2x1 g2 channels_last float32", "stride 1 and dilation 2"),
        ("c8 o8 i9 k3 g2 channels_last float32", "kernels of 3 rows .* has 1 rows"),
        ("c4 o4 i9x9 k3x3 g2 channels_last float32", "needs 12 products or more .* has 6"),
        ("c64 o64 i9x9 k3x3 g2 channels_last float32", "two groups to a vector .*has 2 of 32"),
        ("c900 o4 i9x9 k3x3 g2 channels_last float32", "would write down .* more than 4400"),
    ],
)
def test_what_it_refuses(text: str, reason: str) -> None:
    (said,) = ALGORITHM.unsupported(ConvSpec.parse(f"forward n1 {text} cpu"))
    assert re.search(reason, said), said


def test_activation_comes_last() -> None:
    activation_comes_last(
        ALGORITHM, "forward n1 c8 o8 i9x10 k3x3 p1 g2 bias relu channels_last float32 cpu"
    )


def test_a_weight_that_changes() -> None:
    follows_its_weight(ALGORITHM, "forward n1 c8 o8 i9x10 k3x3 p1 g2 channels_last float32 cpu")
