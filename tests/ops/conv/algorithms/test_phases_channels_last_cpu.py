"""What is special to depthwise transposed routines on channels-last images: channels and tiles."""

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import faltung
from faltung import functional as FF
from faltung.ops.conv.algorithms import phases_channels_last_cpu
from faltung.ops.conv.algorithms.phases_channels_last_cpu import ALGORITHM
from transposed import CHANNELS_LAST, check, guarded, parse, planned, same_for_any_threads, spelled

CHANNELS = (*range(1, 10), 15, 16, 17, 31, 33, 48)
EDGES = (1, 4, 7, 16, 33)
SHAPES = [
    "n1 c* o* i5x6 k4x4 s2 p1 g* channels_last float32",
    "n2 c* o* i4x7 k3x3 p1 g* bias channels_last float32",
    "n1 c* o* i3x4x5 k2x3x3 s2x1x3 p1x0x1 g* bias channels_last float64",
    "n1 c* o* i5x6 k3x2 s2 d2 p1 g* channels_last bfloat16",
    "n1 c* o* i4x17 k1x3 p0x1 g* channels_last float16",
]
STRUCTURE = [
    # wider than a tile: borders, and a loop between them
    "n1 c5 o5 i4x170 k3x9 p1x4 g5 channels_last float32",
    "n1 c5 o5 i7x173 k4x4 s2 p1 g5 bias channels_last float32",
    "n1 c20 o20 i5x199 k3x5 s1x3 p1x2 g20 channels_last float32",
    "n1 c3 o3 i2x400 k2x16 s2x8 p0x4 g3 channels_last float32",
    "n1 c3 o3 i40x41 k31x31 p15 g3 channels_last float32",
    # phases without taps, gaps of a dilated kernel, both at once; strides beyond a tile
    "n1 c3 o3 i9x11 k2x2 s3 g3 channels_last float32",
    "n1 c3 o3 i9x33 k3x3 s2 d2 p2 g3 bias channels_last float32",
    "n1 c3 o3 i31x29 k3x2 s5x3 d3x6 p4+0x0+7 g3 bias channels_last float32",
    "n1 c3 o3 i7x90 k3x50 s2x25 p1x3 g3 channels_last float32",
    "n1 c3 o3 i12x11 y3x4 k3x3 s2 p1 g3 channels_last float32",
    "n1 c3 o3 i6x6 k3x3 s2 p5 g3 bias channels_last float32",
    "n0 c3 o3 i8x8 k4x4 s2 p1 g3 channels_last float32",
    # weights that would crowd the images out, so that vectors of channels are pieces of work
    "n2 c70 o70 i20x21 k13x13 p6 g70 channels_last float32",
    "n1 c40 o40 i9x10x11 k5x5x5 s2 p2 g40 channels_last float32",
]


@pytest.mark.parametrize("words", SHAPES)
def test_every_number_of_channels(words: str) -> None:
    for text in spelled(words, CHANNELS):
        check(ALGORITHM, text)


@pytest.mark.parametrize("words", STRUCTURE)
def test_whole_numbers_to_the_bit(words: str) -> None:
    check(ALGORITHM, words)


@pytest.mark.parametrize("stride", [*range(1, 10), 17])
def test_every_stride(stride: int) -> None:
    for kernel, padding, dilation in ((3, 1, 1), (stride, 0, 1), (2 * stride, 1, 1), (5, 2, 3)):
        for size in (20 * stride + 7, 3):
            words = f"k1x{kernel} s1x{stride} p0x{padding}+{2 * stride + 9} d1x{dilation}"
            check(ALGORITHM, f"n1 c2 o2 i2x{size} {words} g2 channels_last float32")


@pytest.mark.parametrize("level", ["", "avx2"])
def test_stays_inside_its_memory(level: str) -> None:
    channels = EDGES[1::2] if level else EDGES
    edges = [text for words in SHAPES for text in spelled(words, channels)]
    guarded(ALGORITHM, [*edges, *STRUCTURE[:3], *STRUCTURE[5:9]], level)


@pytest.mark.parametrize(
    "words",
    [
        "n1 c40 o40 i32x30 k4x4 s2 p1 g40 bias channels_last float32",
        "n1 c70 o70 i20x21 k13x13 p6 g70 channels_last float32",
        "n2 c6 o6 i9x10x11 k3x3x3 s2 p1 g6 channels_last float32",
    ],
)
def test_same_bits_for_any_number_of_threads(words: str) -> None:
    same_for_any_threads(ALGORITHM, words)


@pytest.mark.parametrize("activation", ["relu", "silu", "gelu", "hardswish"])
def test_activation_comes_last(activation: str, check_algorithm: Callable[..., None]) -> None:
    for dtype in ("float32", "float64", "bfloat16"):
        words = f"n1 c21 o21 i9x10 k4x4 s2 p1 g21 bias {activation} channels_last {dtype}"
        check_algorithm(ALGORITHM, parse(words))


def test_padding_is_skipped_not_multiplied() -> None:
    # an infinite weight times a zero of the padding would be NaN
    spec = parse("n1 c2 o2 i6x6 k4x4 s2 p1 g2 channels_last float32")
    gy, w = torch.ones(spec.y_shape), torch.ones(spec.w_shape)
    w[:, :, 0, 0] = float("inf")
    gx = ALGORITHM.build(spec)(gy.contiguous(memory_format=torch.channels_last), w)
    assert not gx.isnan().any()
    reached = torch.tensor([i + 1 in (0, 2, 4) for i in range(6)])  # q·2 − 1 for q below 3
    assert torch.equal(gx.isinf()[0, 0], reached.outer(reached))


def test_products_are_bounded() -> None:
    for words in STRUCTURE:
        layout = phases_channels_last_cpu._Layout(parse(words))
        assert layout.products <= 4000, words
    first, end = phases_channels_last_cpu._Layout(parse(STRUCTURE[0])).inside
    assert 0 < first < end < 170


@pytest.mark.parametrize(
    "words",
    [
        "n1 c64 o64 i56x56 k4x4 s2 p1 g64 channels_last float32",
        "n1 c96 o96 i56x56 k7x7 s2 p3 g96 channels_last float32",
    ],
)
def test_the_planner_takes_it(words: str) -> None:
    assert planned(words).algorithm == "phases_channels_last_cpu"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("n1 c4 o4 i9x9 k3x3 g4 channels_last complex64", "needs one of float32, .*has complex64"),
        ("n1 c4 o4 i9x9 k3x3 g4 float32", "needs a channels-last image, has contiguous"),
        ("n1 c4 o4 i9x9 k3x3 g2 channels_last float32", "has 2 groups, 4 channels and 4 outputs"),
        ("n1 c4 o8 i9x9 k3x3 g4 channels_last float32", "has 4 groups, 4 channels and 8 outputs"),
        ("n1 c4 o4 i9x9 k3x3 p1 g4 reflect channels_last float32", "zeros only, not reflect"),
        ("n1 c1 o1 i9x9 k9x1 s1x99 p4x99 channels_last float32", r"would unroll|has nothing"),
        ("n1 c1 o1 i9x3000 k1x900 channels_last float32", r"unroll \d+ products, more than 4000"),
    ],
)
def test_what_it_refuses(words: str, reason: str) -> None:
    said = ALGORITHM.unsupported(parse(words))
    if "s1x99" in words:
        assert not said  # a stride beyond the image is none of its limits
        check(ALGORITHM, words)
        return
    assert len(said) == 1
    assert re.search(reason, said[0])


def test_through_the_public_function(whole: Callable[..., Tensor]) -> None:
    x = whole(2, 6, 9, 10, dtype=torch.float32).contiguous(memory_format=CHANNELS_LAST[4])
    w = whole(6, 1, 4, 4, dtype=torch.float32)
    b = whole(12, dtype=torch.float32)[::2]
    with faltung.using(algorithm="phases_channels_last_cpu"):
        y = FF.conv_transpose2d(x, w, b, stride=2, padding=1, output_padding=1, groups=6)
    assert torch.equal(y, torch.nn.functional.conv_transpose2d(x, w, b, 2, 1, 1, 6))
    assert y.is_contiguous(memory_format=CHANNELS_LAST[4])
