"""What is special to gradients of weights with channels as lanes: memory, threads, groups."""

import re
from collections.abc import Callable

import pytest
import torch

import faltung
from faltung.ops.conv.algorithms.weight_channels_last_cpu import ALGORITHM
from faltung.ops.conv.spec import ConvSpec
from forked import run_guarded
from weight_problems import check_sums, problems, results_by_threads

PROBLEMS = problems(ALGORITHM, "channels_last")


def test_stays_inside_its_memory() -> None:
    run_guarded(ALGORITHM.name, PROBLEMS)
    run_guarded(
        ALGORITHM.name,
        [
            f"grad_weight n2 c{c} o{c} i4x5 k3x2 p1 g{c} channels_last float32 cpu"
            for c in range(2, 36)
        ],
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
        "n3 c35 o35 i23x17 k5x5 p2 g35 channels_last float32",
        "n1 c32 o32 i60x30 k3x3 s2 p1 g8 channels_last float32",  # parts of a sum
        "n2 c6 o12 i9x9 k3x3 p1 g6 channels_last bfloat16",
    ],
)
def test_same_bits_for_any_number_of_threads(words: str) -> None:
    first, *others = results_by_threads(ALGORITHM, f"grad_weight {words} cpu")
    assert all(torch.equal(other, first) for other in others)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("c2 o2 i9x9 k3x3 g2 float32", "needs channels-last images, has contiguous"),
        ("c99 o9 i9x9 k3x3 channels_last float32", "groups of at most .* channels, has 99"),
        ("c2 o200 i9x9 k3x3 g2 channels_last float32", "at most 64 output channels .*, has 100"),
        ("c2 o2 i9x9 k3x3 p1 circular channels_last float32", "pads with zeros only, not circular"),
        ("c2 o2 i9x9 k3x3 g2 channels_last complex64", "needs one of float32, .*has complex64"),
    ],
)
def test_refusals_have_reasons(words: str, reason: str) -> None:
    (found,) = ALGORITHM.unsupported(ConvSpec.parse(f"grad_weight n1 {words} cpu"))
    assert re.search(reason, found)


def test_autograd_takes_it_for_depthwise_layers() -> None:
    x = torch.randn(1, 32, 28, 28).contiguous(memory_format=torch.channels_last)
    w = torch.randn(32, 1, 7, 7, requires_grad=True)
    before = faltung.usage()[ALGORITHM.name]
    faltung.functional.conv2d(x, w, padding=3, groups=32).sum().backward()  # type: ignore[no-untyped-call]
    assert faltung.usage()[ALGORITHM.name] == before + 1
