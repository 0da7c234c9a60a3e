"""What is special to gradients of weights with pixels as lanes: memory, threads, parts of a sum."""

import re
from collections.abc import Callable

import pytest
import torch

import faltung
from faltung.ops.conv.algorithms.weight_rows_cpu import ALGORITHM
from faltung.ops.conv.spec import ConvSpec
from forked import run_guarded
from weight_problems import check_sums, problems, results_by_threads

PROBLEMS = problems(ALGORITHM, "")


def test_stays_inside_its_memory() -> None:
    run_guarded(ALGORITHM.name, PROBLEMS)
    run_guarded(
        ALGORITHM.name,
        [f"grad_weight n2 c2 o2 i3x{n} k3x3 p1 g2 float32 cpu" for n in range(1, 36)],
    )


def test_with_half_as_wide_vectors_and_half_as_many() -> None:
    run_guarded(ALGORITHM.name, PROBLEMS[::3], level="avx2")


@pytest.mark.parametrize("text", PROBLEMS)
def test_every_kind_of_problem(text: str, check_algorithm: Callable[..., None]) -> None:
    check_algorithm(ALGORITHM, ConvSpec.parse(text))


@pytest.mark.parametrize("text", PROBLEMS)
def test_the_gradient_of_a_bias_on_the_way(text: str) -> None:
    check_sums(ALGORITHM, text)


@pytest.mark.parametrize(
    "words",
    [
        "n3 c5 o5 i23x17 k5x5 p2 g5 float32",
        "n9 c1 o1 i150x90 k3x3 p1 float32",  # parts of a sum
        "n2 c4 o8 i200 k5 p2 d3 g2 float32",
        "n2 c6 o6 i9x9 k3x3 p1 g6 bfloat16",
    ],
)
def test_same_bits_for_any_number_of_threads(words: str) -> None:
    first, *others = results_by_threads(ALGORITHM, f"grad_weight {words} cpu")
    assert all(torch.equal(other, first) for other in others)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("c2 o2 i9x9 k3x3 g2 channels_last float32", "needs contiguous images, has channels_last"),
        ("c2 o2 i9x9 k3x3 g2 complex64", "needs one of float32, .*has complex64"),
        ("c2 o2 i9x9 k3x3 p1 circular float32", "pads with zeros only, not circular"),
        ("c0 o2 i9x9 k3x3 float32", r"something to sum up, has x of \(1, 0, 9, 9\)"),
    ],
)
def test_refusals_have_reasons(words: str, reason: str) -> None:
    (found,) = ALGORITHM.unsupported(ConvSpec.parse(f"grad_weight n1 {words} cpu"))
    assert re.search(reason, found)


def test_autograd_takes_it_for_depthwise_layers() -> None:
    x = torch.randn(1, 32, 28, 28)
    w = torch.randn(32, 1, 7, 7, requires_grad=True)
    before = faltung.usage()[ALGORITHM.name]
    faltung.functional.conv2d(x, w, padding=3, groups=32).sum().backward()  # type: ignore[no-untyped-call]
    assert faltung.usage()[ALGORITHM.name] == before + 1
    spec = ConvSpec.parse("grad_weight n1 c32 o32 i28x28 k7x7 p3 g32 float32 cpu")
    assert w.grad is not None
    assert torch.equal(w.grad, ALGORITHM.build(spec)(x, torch.ones_like(x)))
