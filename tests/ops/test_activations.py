"""Activations by name, against their formulas in float64."""

import math

import pytest
import torch

from faltung.errors import ArgumentError
from faltung.ops.activations import ACTIVATIONS, activate
from faltung.ops.spelling import ACTIVATIONS as SPELLED

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
}


@pytest.mark.parametrize("name", FORMULAS)
def test_formula(name: str) -> None:
    values = torch.linspace(-8, 8, 65, dtype=torch.float64)
    expected = torch.tensor([FORMULAS[name](v) for v in values.tolist()], dtype=torch.float64)
    slip = (activate(name, values) - expected).abs()
    assert (slip <= 8 * torch.finfo(torch.float64).eps * values.abs().clamp(min=1)).all()


def test_the_spec_knows_the_same_names() -> None:
    assert set(ACTIVATIONS) == set(SPELLED) == set(FORMULAS)


def test_none_and_unknown() -> None:
    y = torch.ones(3)
    assert activate(None, y) is y
    with pytest.raises(ArgumentError, match=r"activation must be one of 'relu', .* got 'rellu'"):
        activate("rellu", y)
