"""What is special to depthwise routines of channels-last images: channels, memory, threads."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

import exact
import faltung
from faltung.machine import this_machine
from faltung.ops.activations import activate
from faltung.ops.conv.algorithms import depthwise_channels_last_cpu as module
from faltung.ops.conv.algorithms.depthwise_channels_last_cpu import ALGORITHM
from faltung.ops.conv.spec import ConvSpec
from faltung.ops.naming import ACTIVATIONS
from forked import run_guarded

# each with every number of channels modulo the widest vector, and some past one and two of them
CHANNELS = (*range(1, 18), 31, 32, 33)
SHAPES = [
    "i4x5 k3x3 p1 float32", "i5x7 k2x4 s2x3 p1x2+0 bias float32", "i5x6 k3x2 d2 bias float64",
    "i3x4x5 k2x3x3 p1x0x1 s1x1x2 bfloat16", "i4x17 k1x3 p0x1 float16",
    "i3x18 k2x3 p0x1 bias gelu float32", "i3x5 k2x2 p1 silu bfloat16", "i3x5 k2x2 relu float64",
]  # fmt: skip
WIDE = [
    # wider than a few tiles, so that borders and the loop between them are apart
    "forward n1 c2 o2 i3x80 k2x31 p1x15 g2 channels_last float32 cpu",
    "forward n1 c5 o5 i4x93 k3x9 s1x2 p1x4 g5 bias channels_last float32 cpu",
    "forward n1 c2 o2 i3x3x60 k3x3x5 s2x1x1 p1x1x2 g2 bias channels_last float64 cpu",
    "forward n1 c3 o3 i9x60 k5x5 p8 d4 g3 channels_last float32 cpu",
]


@pytest.mark.parametrize("words", SHAPES)
def test_every_number_of_channels_stays_inside_its_memory(words: str) -> None:
    *numbers, dtype = words.split()
    # one channel or one pixel is contiguous too, and another algorithm's
    run_guarded(
        ALGORITHM.name,
        [
            f"forward n2 c{c} o{c} {' '.join(numbers)} g{c} channels_last {dtype} cpu"
            for c in CHANNELS[1:]
        ],
    )


def test_wide_images_stay_inside_their_memory() -> None:
    run_guarded(ALGORITHM.name, WIDE)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_in_every_dtype(
    name: str, dtype: str, check_algorithm: Callable[..., None]
) -> None:
    text = f"forward n1 c19 o19 i2x3 k2x2 g19 bias {name} channels_last {dtype} cpu"
    check_algorithm(ALGORITHM, ConvSpec.parse(text))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_sums_are_rounded_after_the_activation_only(dtype: torch.dtype) -> None:
    name = str(dtype).removeprefix("torch.")
    spec = ConvSpec.parse(f"forward n1 c6 o6 i9x20 k3x3 p1 g6 bias silu channels_last {name} cpu")
    x, w = (torch.randn(shape).to(dtype) for shape in spec.operand_shapes)
    b = torch.randn(spec.out_channels).to(dtype)
    x = x.contiguous(memory_format=torch.channels_last)
    sums = torch.nn.functional.conv2d(x.double(), w.double(), b.double(), padding=1, groups=6)
    once = activate("silu", sums).to(dtype)
    twice = activate("silu", sums.to(dtype))
    # sums so close to the middle of two numbers that float32's own error decides are rare
    assert (ALGORITHM.build(spec)(x, w, b) != once).double().mean() < 0.01
    assert (twice != once).double().mean() > 0.1


@pytest.mark.parametrize("text", WIDE)
def test_wide_images_are_right(text: str, check_algorithm: Callable[..., None]) -> None:
    check_algorithm(ALGORITHM, ConvSpec.parse(text))


@pytest.mark.parametrize("words", ["", "gelu "])
def test_same_bits_for_any_number_of_threads_and_in_its_memory_order(words: str) -> None:
    spec = ConvSpec.parse(f"forward n1 c20 o20 i23x17 k5x5 p2 g20 {words}channels_last float32 cpu")
    x, w = (torch.randn(shape) for shape in spec.operand_shapes)
    x = x.contiguous(memory_format=torch.channels_last)
    run, before, results = ALGORITHM.build(spec), torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 5):
            torch.set_num_threads(threads)
            results.append(run(x, w))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(result, results[0]) for result in results)
    assert results[0].is_contiguous(memory_format=torch.channels_last)


# limits so small that every image is cut, and so large that none is
CUTS = [(1, 1, 1, 9), (1 << 30, 1 << 30, 1, 9), (1 << 14, 1, 1, 9), (1, 1, 1, 0)]


@pytest.mark.parametrize("dims", ["i9x40 k3x5 p1x2", "i6x7x31 k3x3x3 p1", "i5x9x8 k2x3x3 s2x2x1"])
def test_pieces_change_no_bit(dims: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ConvSpec.parse(f"forward n2 c37 o37 {dims} g37 bias channels_last float32 cpu")
    x, w = (torch.randn(shape) for shape in spec.operand_shapes)
    x, b = exact.laid(x, spec), torch.randn(37)
    results, seen = [ALGORITHM.build(spec)(x, w, b)], set()
    for cut in CUTS:
        for name, limit in zip(("_NEAR", "_KEPT", "_FAR", "_MOST_SEEN"), cut, strict=True):
            monkeypatch.setattr(module, name, limit)
        for cores in (1, 3, 64):
            machine = replace(this_machine(), cores=cores)
            monkeypatch.setattr(module, "this_machine", lambda m=machine: m)
            seen.add(str(module._Pieces(spec)))
            results.append(ALGORITHM.build(spec)(x, w, b))
    assert len(seen) > len(CUTS), seen
    assert all(torch.equal(result, results[0]) for result in results)


def test_the_planner_takes_it_for_channels_last_images_only() -> None:
    x, w = torch.randn(1, 64, 28, 28), torch.randn(64, 1, 7, 7)
    last = x.contiguous(memory_format=torch.channels_last)
    assert faltung.plan(last, w, padding=3, groups=64).algorithm == ALGORITHM.name
    assert faltung.plan(x, w, padding=3, groups=64).algorithm != ALGORITHM.name


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("c4 o4 i9x9 k3x3 g2 channels_last float32", "has 2 groups, 4 channels and 4 outputs"),
        ("c2 o4 i9x9 k3x3 g2 channels_last float32", "has 2 groups, 2 channels and 4 outputs"),
        ("c2 o2 i9x9 k3x3 g2 channels_last complex64", "needs one of float32, .*has complex64"),
        ("c2 o2 i9x9 k3x3 g2 float32", "needs a channels-last image, has contiguous"),
        ("c2 o2 i9x9 k3x3 p1 g2 reflect channels_last float32", "with zeros only, not reflect"),
        ("c2 o2 i9x999 k3x900 p1x450 g2 channels_last float32", "would unroll .* more than"),
    ],
)
def test_what_it_refuses(text: str, reason: str) -> None:
    (said,) = ALGORITHM.unsupported(ConvSpec.parse(f"forward n1 {text} cpu"))
    assert re.search(reason, said)
