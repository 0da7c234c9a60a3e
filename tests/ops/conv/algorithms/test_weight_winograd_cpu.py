"""What is special to gradients of weights by Winograd's filtering: memory, threads, exactness."""

import re
from collections.abc import Callable

import pytest
import torch

import faltung
from faltung.machine import this_machine
from faltung.ops.conv.algorithms.weight_winograd_cpu import ALGORITHM
from faltung.ops.conv.spec import ConvSpec
from forked import run_guarded
from weight_problems import problems, results_by_threads

LAYOUTS = ("", "channels_last")
# besides those that all gradients of weights are tried on: stride 1 and many tiles
MORE = [
    f"grad_weight {words} cpu"
    for words in (
        "n2 c35 o20 i23x17 k3x3 p1 float32",
        "n3 c17 o40 i14x15 k3x3 p1 channels_last float32",
        "n1 c8 o12 i30x31 k3x3 p2 d2 float32",
        "n1 c9 o6 i20x22 k5x5 p2 float32",
        "n1 c6 o18 i19x40 k2x4 p1x0+3 g2 float64",
        "n2 c3 o5 i12x13 k3x2 channels_last bfloat16",
        "n1 c33 o7 i300 k3 p4+0 d2 float32",
        "n1 c20 o36 i6x9x10 k3x3x3 p1 float32",
        "n2 c5 o4 i5x8x9 k2x3x3 p1x0x2 d2x1x1 channels_last float32",
        "n1 c40 o16 i17x16 k3x3 p1 float16",
    )
]
PROBLEMS = [text for layout in LAYOUTS for text in problems(ALGORITHM, layout)] + MORE


def test_stays_inside_its_memory() -> None:
    run_guarded(ALGORITHM.name, PROBLEMS)
    run_guarded(
        ALGORITHM.name,
        [
            f"grad_weight n2 c{c} o{37 - c} i9x8 k3x2 p1 {layout} float32 cpu"
            for c in range(1, 36, 3)
            for layout in LAYOUTS
        ],
    )


def test_with_half_as_wide_vectors_and_half_as_many() -> None:
    run_guarded(ALGORITHM.name, PROBLEMS[::2], level="avx2")


@pytest.mark.parametrize("text", PROBLEMS)
def test_every_kind_of_problem(text: str, check_algorithm: Callable[..., None]) -> None:
    check_algorithm(ALGORITHM, ConvSpec.parse(text))


@pytest.mark.parametrize(
    "words",
    [
        "n3 c35 o20 i23x17 k3x3 p1 float32",
        "n2 c64 o64 i30x30 k3x3 p1 g2 channels_last float32",
        "n4 c80 o48 i14x14 k3x3 p1 float32",
    ],
)
def test_same_bits_for_any_number_of_threads(words: str) -> None:
    first, *others = results_by_threads(ALGORITHM, f"grad_weight {words} cpu")
    assert all(torch.equal(other, first) for other in others)


@pytest.mark.parametrize("batch", [1, 3])
def test_channels_last_images_give_a_channels_last_gradient(batch: int) -> None:
    spec = ConvSpec.parse(f"grad_weight n{batch} c8 o6 i25x26 k3x3 p1 channels_last float32 cpu")
    x, gy = (
        torch.randn(s).contiguous(memory_format=torch.channels_last) for s in spec.operand_shapes
    )
    assert ALGORITHM.build(spec)(x, gy).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("c2 o2 i9x9 k3x3 complex64", "needs one of float32, .*has complex64"),
        ("c2 o2 i9x9 k3x3 s1x2 p1 float32", "needs stride 1, has 1×2"),
        ("c2 o2 i9x9 k3x3 p1 circular float32", "pads with zeros only, not circular"),
        ("c0 o2 i9x9 k3x3 float32", r"something to sum up, has x of \(1, 0, 9, 9\)"),
        ("c9 o2 i9x9 k1x1 float32", "no tiles for a window of 1×1 taps and 1 images of 9×9"),
        ("c9 o2 i9x9 k9x9 p4 float32", "no tiles for a window of 9×9 taps"),
    ],
)
def test_refusals_have_reasons(words: str, reason: str) -> None:
    (found,) = ALGORITHM.unsupported(ConvSpec.parse(f"grad_weight n1 {words} cpu"))
    assert re.search(reason, found)


def test_exact_accuracy_never_has_it() -> None:
    x = torch.randn(1, 64, 28, 28)
    for accuracy, times in (("exact", 0), ("default", 1)):
        w = torch.randn(64, 64, 3, 3, requires_grad=True)
        before = faltung.usage()[ALGORITHM.name]
        with faltung.using(accuracy=accuracy):
            y = faltung.functional.conv2d(x, w, padding=1)
        y.sum().backward()  # type: ignore[no-untyped-call]
        assert faltung.usage()[ALGORITHM.name] == before + times


def test_estimates_follow_the_work() -> None:
    small, large = (
        ConvSpec.parse(f"grad_weight n{n} c128 o128 i28x28 k3x3 p1 float32 cpu") for n in (1, 4)
    )
    machine = this_machine()
    few, many = ALGORITHM.seconds(small, machine), ALGORITHM.seconds(large, machine)
    assert 2.5 < many / few < 4.5
    # fewer multiplications than the definition's, and not much more besides
    assert few < 2 * small.macs / machine.peak
