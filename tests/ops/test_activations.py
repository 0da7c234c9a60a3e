"""Activations by name, against their formulas in float64."""

import math

import pytest
import torch

from faltung.errors import ArgumentError
from faltung.ops.activations import activate, activate_in_place
from faltung.ops.naming import ACTIVATIONS

FORMULAS = {
    "relu": lambda v: max(v, 0.0),
    "relu6": lambda v: min(max(v, 0.0), 6.0),
    "silu": lambda v: v / (1 + math.exp(-v)),
    "gelu": lambda v: v * 0.5 * (1 + math.erf(v / math.sqrt(2))),
    "gelu_tanh": lambda v: (
        0.5 * v * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3)))
    ),
    "hardswish": lambda v: v * min(max(v + 3, 0.0), 6.0) / 6,
    "sigmoid": lambda v: 1 / (1 + math.exp(-v)),
    "leaky_relu": lambda v: v if v > 0 else 0.01 * v,
    "leaky_relu(0.1)": lambda v: v if v > 0 else 0.1 * v,
    "leaky_relu(-2)": lambda v: v if v > 0 else -2 * v,
    "elu": lambda v: v if v > 0 else math.expm1(v),
    "elu(0.5)": lambda v: v if v > 0 else 0.5 * math.expm1(v),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_formula(name: str) -> None:
    values = torch.linspace(-8, 8, 65, dtype=torch.float64)
    expected = torch.tensor([FORMULAS[name](v) for v in values.tolist()], dtype=torch.float64)
    slip = (activate(name, values) - expected).abs()
    assert (slip <= 8 * torch.finfo(torch.float64).eps * values.abs().clamp(min=1)).all()


@pytest.mark.parametrize("name", FORMULAS)
def test_in_place_it_is_the_same(name: str) -> None:
    values = torch.linspace(-8, 8, 65)
    y = values.clone()
    assert activate_in_place(name, y) is y
    assert torch.equal(y, activate(name, values))


def test_there_is_one_for_every_name() -> None:
    assert {name.partition("(")[0] for name in FORMULAS} == set(ACTIVATIONS)


def test_none_and_unknown() -> None:
    y = torch.ones(3)
    assert activate(None, y) is y
    with pytest.raises(ArgumentError, match=r"activation must be one of 'relu', .* got 'rellu'"):
        activate("rellu", y)
    with pytest.raises(ArgumentError, match=r"'leaky_relu\(…\)', 'elu\(…\)', got 'elu\(x\)'"):
        activate("elu(x)", y)
