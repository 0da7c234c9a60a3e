"""What is special to depthwise routines that turn channels into lanes: blocks, rings, threads."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

import faltung
from faltung.machine import this_machine
from faltung.ops.conv.algorithms import depthwise_blocked_cpu
from faltung.ops.conv.algorithms.depthwise_blocked_cpu import ALGORITHM, _Layout
from faltung.ops.conv.spec import ConvSpec
from forked import run_guarded

# each with every number of channels modulo the widest vector, and some past one and two of them
CHANNELS = (*range(1, 18), 31, 32, 33)
SHAPES = [
    "i4x5 k3x3 p1 float32", "i5x7 k2x4 s2x3 p1x2+0 bias gelu float32", "i5x6 k3x2 d2 bias float64",
    "i3x4x5 k2x3x3 p1x0x1 s1x1x2 bfloat16", "i4x17 k1x3 p0x1 relu float16", "i9 k4 p3+0 float32",
]  # fmt: skip
WIDTHS = [f"forward n2 c5 o5 i6x{w} k3x3 p1 g5 float32 cpu" for w in range(1, 36)]
RINGS = [
    # pixels of a few rows at a time
    "forward n1 c9 o9 i26x18 k3x5 p1x2 g9 bias float32 cpu",
    "forward n1 c16 o16 i31x17 k2x3 s2x2 p2x0 g16 relu float32 cpu",
    "forward n1 c7 o7 i40x21 k3x3 p5x1+2 d3x1 g7 float64 cpu",
    "forward n1 c18 o18 i24x20 k3x3 p20x1 g18 silu float32 cpu",
    "forward n1 c10 o10 i30x19 k5x3 s1x2 p2x1 g10 bfloat16 cpu",
    "forward n1 c9 o9 i20x24 k11x1 p5x0 g9 float16 cpu",
]
PARTS = [
    "forward n1 c3 o3 i5x12x9 k3x3x3 p1 g3 bias float32 cpu",
    "forward n1 c20 o20 i7x5x4 k5x2x3 s2x1x1 p4x1x1 d2x1x1 g20 float32 cpu",
    "forward n2 c18 o18 i60 k9 p4 d2 g18 float32 cpu",
]


@pytest.mark.parametrize("words", SHAPES)
def test_every_number_of_channels_stays_inside_its_memory(words: str) -> None:
    *numbers, dtype = words.split()
    run_guarded(
        ALGORITHM.name,
        [f"forward n2 c{c} o{c} {' '.join(numbers)} g{c} {dtype} cpu" for c in CHANNELS],
    )


@pytest.mark.parametrize("texts", [WIDTHS, RINGS, PARTS], ids=["widths", "rings", "parts"])
def test_every_size_stays_inside_its_memory(texts: list[str]) -> None:
    run_guarded(ALGORITHM.name, texts)


@pytest.mark.parametrize("text", PARTS)
def test_parts_are_right(text: str, check_algorithm: Callable[..., None]) -> None:
    check_algorithm(ALGORITHM, ConvSpec.parse(text))


@pytest.mark.parametrize("text", RINGS)
def test_rings_are_right(
    text: str, check_algorithm: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = replace(this_machine(), cores=1)
    monkeypatch.setattr(depthwise_blocked_cpu, "this_machine", lambda: alone)
    monkeypatch.setattr(depthwise_blocked_cpu, "_NEAR", 0)
    spec = ConvSpec.parse(text)
    assert _Layout(spec).in_ring
    check_algorithm(ALGORITHM, spec)


@pytest.mark.parametrize("text", [RINGS[0], PARTS[1], WIDTHS[6]])
def test_same_bits_for_any_number_of_threads(text: str) -> None:
    spec = ConvSpec.parse(text)
    x, w = (torch.randn(shape) for shape in spec.operand_shapes)
    given = [x, w, torch.randn(spec.out_channels)][: 2 + spec.bias]
    run, before, results = ALGORITHM.build(spec), torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 5):
            torch.set_num_threads(threads)
            results.append(run(*given))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(result, results[0]) for result in results)


def test_the_planner_takes_it_for_large_windows() -> None:
    x, w = torch.randn(1, 64, 28, 28), torch.randn(64, 1, 9, 9)
    assert faltung.plan(x, w, padding=4, groups=64).algorithm == ALGORITHM.name


def test_a_changed_weight_is_seen() -> None:
    spec = ConvSpec.parse("forward n1 c6 o6 i9x9 k3x3 p1 g6 float32 cpu")
    x, w = (torch.randn(shape) for shape in spec.operand_shapes)
    run = ALGORITHM.build(spec)
    first = run(x, w)
    w.mul_(2)
    assert torch.equal(run(x, w), 2 * first)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("c4 o4 i9x9 k3x3 g2 float32", "has 2 groups, 4 channels and 4 outputs"),
        ("c2 o4 i9x9 k3x3 g2 float32", "has 2 groups, 2 channels and 4 outputs"),
        ("c2 o2 i9x9 k3x3 g2 complex64", "needs one of float32, .*has complex64"),
        ("c2 o2 i9x9 k3x3 g2 channels_last float32", "needs a contiguous image, has channels_last"),
        ("c2 o2 i9x9 k3x3 p1 g2 reflect float32", "with zeros only, not reflect"),
        ("c2 o2 i9x999 k3x900 p1x450 g2 float32", "would unroll .* more than"),
    ],
)
def test_what_it_refuses(text: str, reason: str) -> None:
    (said,) = ALGORITHM.unsupported(ConvSpec.parse(f"forward n1 {text} cpu"))
    assert re.search(reason, said)
