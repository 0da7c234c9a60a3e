"""The reference that results are judged by, against the definition itself."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from faltung import by_hand
from faltung.ops.conv.spec import ConvSpec
from faltung.tools.bench.truth import Operands, budget_of, by_taps
from faltung.tools.budget import error_in_budgets
from problems import SMALL


def kept() -> list[str]:
    """The shared problems in float64, without what bench does not time, forward and transposed."""
    found = []
    for problem in SMALL:
        spec = replace(ConvSpec.parse(problem), dtype="float64", activation=None,
                       layout="contiguous")  # fmt: skip
        found += [str(spec), str(spec.with_task("grad_input"))]
    return list(dict.fromkeys(found))


def whole(shape: tuple[int, ...]) -> Tensor:
    return torch.randint(-3, 4, shape).double()


@pytest.mark.parametrize("problem", kept())
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_it_is_the_definition(problem: str, dtype: torch.dtype) -> None:
    spec = ConvSpec.parse(problem)
    a, w = map(whole, spec.operand_shapes)
    b = whole((spec.result_shape[1],)) if spec.bias else None
    defined = (by_hand.forward if spec.task == "forward" else by_hand.grad_input)(a, w, spec)
    if b is not None:
        defined += b.view(-1, *(1,) * spec.dims)
    found = by_taps(spec, *(None if t is None else t.to(dtype) for t in (a, w, b)))
    assert found.dtype == dtype
    assert torch.equal(found.double(), defined)


@pytest.mark.parametrize(
    "problem",
    [
        "forward n2 c6 o9 i9x8 k3x3 s2 p1 g3 bias float32 cpu",
        "forward n1 c5 o5 i31 k7 p9 d3 g5 float32 cpu",
        "grad_input n1 c4 o8 i9x8 k4x4 s2 p1 g2 bias float32 cpu",
        "forward n1 c6 o6 i9x8 k3x3 p1 float64 cpu",
    ],
)
def test_the_budget_passes_what_is_right_and_nothing_else(problem: str) -> None:
    spec = ConvSpec.parse(problem)
    operands = Operands.of(spec)
    budget = budget_of(spec, operands)
    y = budget.y64.to(operands.a.dtype, copy=True)
    assert y.shape == spec.result_shape
    assert error_in_budgets(y, budget) <= 1
    assert error_in_budgets(budget.direct, budget) <= 1
    for wrong in (torch.zeros_like(y), y.flip(-1), y * (1 + 1e-4), y + torch.nan):
        assert error_in_budgets(wrong, budget) > 1
    y[..., 0] = 0
    assert error_in_budgets(y, budget) > 1


def test_operands_are_the_same_in_every_run() -> None:
    spec = ConvSpec.parse("forward n1 c4 o4 i8x8 k3x3 bias float32 cpu")
    first, second = Operands.of(spec), Operands.of(spec)
    assert torch.equal(first.a, second.a) and torch.equal(first.w, second.w)
    assert first.b is not None and first.b.shape == (4,)
    assert Operands.of(replace(spec, bias=False)).b is None


def test_operands_without_a_residual_are_those_of_the_same_problem_with_one() -> None:
    plain = ConvSpec.parse("forward n2 c4 o6 i8x7 k3x3 bias float32 cpu")
    first, second = Operands.of(plain), Operands.of(replace(plain, residual=True))
    assert first.residual is None and second.residual is not None
    assert second.residual.shape == plain.result_shape
    for name in ("a", "w", "b"):
        assert torch.equal(getattr(first, name), getattr(second, name))


@pytest.mark.parametrize("activation", [None, "relu"])
def test_a_residual_is_added_before_the_activation(activation: str | None) -> None:
    spec = ConvSpec.parse("forward n1 c3 o4 i6x5 k3x3 p1 bias residual float64 cpu")
    spec = replace(spec, activation=activation)
    a, w = map(whole, spec.operand_shapes)
    b, residual = whole((4,)), whole(spec.result_shape)
    found = by_taps(spec, a, w, b, residual)
    convolved = by_hand.forward(a, w, replace(spec, activation=None, residual=False))
    expected = convolved + b.view(-1, 1, 1) + residual
    assert (expected < 0).any()
    assert torch.equal(found, expected if activation is None else expected.clamp(min=0))


def test_the_budget_of_a_case_with_a_residual_knows_it() -> None:
    spec = ConvSpec.parse("forward n1 c12 o9 i8x8 k3x3 p1 relu residual float32 cpu")
    operands = Operands.of(spec)
    budget = budget_of(spec, operands)
    y = budget.y64.float()
    assert error_in_budgets(y, budget) <= 1
    assert (y >= 0).all()
    assert operands.residual is not None
    without = by_taps(replace(spec, residual=False), operands.a, operands.w, None)
    early = (by_taps(spec, operands.a, operands.w, None) + operands.residual).relu()
    for wrong in (without, early, y.new_zeros(y.shape)):
        assert error_in_budgets(wrong, budget) > 1
