"""Every file in `algorithms/` × every problem it accepts × every task; the folder is the list."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from faltung.machine import this_machine
from faltung.ops.conv.algorithms.native_torch import NativeTorch
from faltung.ops.conv.spec import ConvSpec
from faltung.planning import Algorithm, algorithms
from faltung.tools.budget import WrongResultError
from problems import SMALL

ALGORITHMS = algorithms("conv", "cpu")


def problems() -> list[ConvSpec]:
    """Each problem as all three tasks; bias and activation where a task has them."""
    found = []
    for spec in map(ConvSpec.parse, SMALL):
        found += [spec, replace(spec, task="grad_input"), spec.with_task("grad_weight")]
    return found


def accepts(algorithm: Algorithm, spec: ConvSpec) -> bool:
    return spec.task in algorithm.tasks and not algorithm.unsupported(spec)


# three in four are refused, and a test that is skipped takes as long as a short one that runs
ACCEPTED = [
    pytest.param(algorithm, spec, id=f"{algorithm.name}-{spec}")
    for algorithm in ALGORITHMS
    for spec in problems()
    if accepts(algorithm, spec)
]


@pytest.mark.parametrize(("algorithm", "spec"), ACCEPTED)
def test_does_what_the_definition_says(
    algorithm: Algorithm, spec: ConvSpec, check_algorithm: Callable[..., None]
) -> None:
    check_algorithm(algorithm, spec)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda a: a.name)
def test_what_is_refused_is_refused_with_reasons(
    algorithm: Algorithm, record_property: Callable[..., None]
) -> None:
    specs = problems()
    for spec in specs:
        assert all(isinstance(reason, str) and reason for reason in algorithm.unsupported(spec))
    accepted = sum(accepts(algorithm, spec) for spec in specs)
    assert accepted
    record_property("problems", (algorithm.name, accepted, len(specs)))


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda a: a.name)
def test_estimates_are_numbers(algorithm: Algorithm) -> None:
    for spec in problems():
        if accepts(algorithm, spec):
            assert 0 < algorithm.seconds(spec, this_machine()) < 1
            assert algorithm.workspace(spec) >= 0


class _Wrong(NativeTorch):
    """PyTorch's convolution with a mistake built in."""

    def __init__(self, spoil: Callable[[Tensor], Tensor]) -> None:
        self.spoil = spoil

    def build(self, spec: ConvSpec) -> Any:
        right = super().build(spec)
        return lambda *operands: self.spoil(right(*operands))


def _one_off(y: Tensor) -> Tensor:
    y = y.clone()
    y.view(-1)[-1] += 1
    return y


def _rounded(y: Tensor) -> Tensor:
    # right on whole numbers, three bits short on others
    return (y.to(torch.bfloat16).to(torch.float64) * 1.0).to(y.dtype)


@pytest.mark.parametrize(
    "spoil",
    [
        torch.zeros_like,
        lambda y: torch.full_like(y, float("nan")),
        torch.empty_like,
        _one_off,
        _rounded,
        lambda y: y.flip(-1),
        lambda y: y.double(),
        lambda y: y[..., :-1],
    ],
    ids=["zeros", "nan", "unwritten", "one off", "rounded", "flipped", "dtype", "shape"],
)
@pytest.mark.parametrize("task", ["forward", "grad_input", "grad_weight"])
def test_a_wrong_algorithm_fails(
    task: str, spoil: Callable[[Tensor], Tensor], check_algorithm: Callable[..., None]
) -> None:
    spec = ConvSpec.parse(f"{task} n2 c2 o4 i5x6 k3x3 s2 p1 g2 float32 cpu")
    with pytest.raises((WrongResultError, AssertionError)):
        check_algorithm(_Wrong(spoil), spec)


def test_an_algorithm_that_reads_past_its_operand_fails(
    check_algorithm: Callable[..., None],
) -> None:
    class ReadsOn(NativeTorch):
        def build(self, spec: ConvSpec) -> Any:
            right = super().build(spec)

            def run(x: Tensor, *rest: Tensor) -> Tensor:
                after = torch.as_strided(x, (1,), (1,), x.storage_offset() + x.numel())
                return right(x, *rest) + 0 * after

            return run

    with pytest.raises((WrongResultError, AssertionError)):
        check_algorithm(ReadsOn(), ConvSpec.parse("forward n1 c2 o2 i5x5 k3x3 float32 cpu"))
