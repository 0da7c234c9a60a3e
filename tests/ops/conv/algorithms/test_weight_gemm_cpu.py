"""What is special to gradients of weights as a matrix product: memory, threads, layouts."""

import re
from collections.abc import Callable

import pytest
import torch

import faltung
from faltung.ops.conv.algorithms.weight_gemm_cpu import ALGORITHM
from faltung.ops.conv.spec import ConvSpec
from forked import run_guarded
from weight_problems import problems, results_by_threads

PROBLEMS = problems(ALGORITHM, "")


def test_stays_inside_its_memory() -> None:
    run_guarded(ALGORITHM.name, PROBLEMS)
    run_guarded(
        ALGORITHM.name,
        [f"grad_weight n2 c{c} o{37 - c} i4x5 k3x2 p1 float32 cpu" for c in range(1, 36)],
    )


def test_with_half_as_wide_vectors_and_half_as_many() -> None:
    run_guarded(ALGORITHM.name, PROBLEMS[::3], level="avx2")


@pytest.mark.parametrize("text", PROBLEMS)
def test_every_kind_of_problem(text: str, check_algorithm: Callable[..., None]) -> None:
    check_algorithm(ALGORITHM, ConvSpec.parse(text))


@pytest.mark.parametrize(
    "words",
    [
        "n3 c35 o20 i23x17 k3x3 p1 float32",
        "n2 c64 o64 i30x30 k3x3 s2 p1 g2 channels_last float32",
        "n2 c40 o24 i9x9 k1x1 bfloat16",
    ],
)
def test_same_bits_for_any_number_of_threads(words: str) -> None:
    first, *others = results_by_threads(ALGORITHM, f"grad_weight {words} cpu")
    assert all(torch.equal(other, first) for other in others)


LAST = problems(ALGORITHM, "channels_last")


def test_channels_last_stays_inside_its_memory() -> None:
    run_guarded(ALGORITHM.name, LAST)


@pytest.mark.parametrize("text", LAST)
def test_every_kind_of_problem_channels_last(
    text: str, check_algorithm: Callable[..., None]
) -> None:
    check_algorithm(ALGORITHM, ConvSpec.parse(text))


@pytest.mark.parametrize(
    "words",
    [
        "n1 c20 o9 i5000 k5 s2 d3 p4+7",  # a row in several parts
        "n2 c40 o3 i90x70 k3x3 p1",  # several chunks of rows
        "n1 c200 o8 i60x60 k1x1",  # a plane as one row in parts
    ],
)
def test_images_larger_than_the_panel(words: str, check_algorithm: Callable[..., None]) -> None:
    check_algorithm(ALGORITHM, ConvSpec.parse(f"grad_weight {words} float32 cpu"))


def test_channels_last_images_give_a_channels_last_gradient() -> None:
    spec = ConvSpec.parse("grad_weight n1 c8 o6 i5x6 k3x3 p1 channels_last float32 cpu")
    x, gy = (
        torch.randn(s).contiguous(memory_format=torch.channels_last) for s in spec.operand_shapes
    )
    assert ALGORITHM.build(spec)(x, gy).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("c2 o2 i9x9 k3x3 complex64", "needs one of float32, .*has complex64"),
        ("c2 o2 i9x9 k3x3 p1 circular float32", "pads with zeros only, not circular"),
        ("c0 o2 i9x9 k3x3 float32", r"something to sum up, has x of \(1, 0, 9, 9\)"),
    ],
)
def test_refusals_have_reasons(words: str, reason: str) -> None:
    (found,) = ALGORITHM.unsupported(ConvSpec.parse(f"grad_weight n1 {words} cpu"))
    assert re.search(reason, found)


def test_autograd_takes_it_for_dense_layers_with_strides() -> None:
    x, w = torch.randn(1, 64, 28, 28), torch.randn(64, 64, 3, 3, requires_grad=True)
    before = faltung.usage()[ALGORITHM.name]
    faltung.functional.conv2d(x, w, stride=2, padding=1).sum().backward()  # type: ignore[no-untyped-call]
    assert faltung.usage()[ALGORITHM.name] == before + 1
