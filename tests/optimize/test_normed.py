"""Weights that weight_norm computes: kept while they stay, computed anew when they change."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

import faltung
from near import assert_near_model

Whole = Callable[..., Tensor]


def layer() -> nn.Module:
    made = parametrizations.weight_norm(nn.Conv1d(4, 6, 3, padding=1))
    made.parametrizations.weight.original1.data = torch.randn(6, 4, 3)
    return made


def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each time that PyTorch computes a weight."""
    kind, times = parametrizations._WeightNorm, []
    forward = kind.forward

    def counting(self: Any, g: Tensor, v: Tensor) -> Tensor:
        times.append(1)
        return forward(self, g, v)

    monkeypatch.setattr(kind, "forward", counting)
    return times


def test_computed_once_without_derivatives(monkeypatch: pytest.MonkeyPatch) -> None:
    made, x = layer(), torch.randn(2, 4, 9)
    twin = copy.deepcopy(made)
    faltung.optimize_(made)
    times = computed(monkeypatch)
    with torch.inference_mode():
        results = [made(x) for _ in range(4)]
    assert sum(times) == 1 and all(torch.equal(y, results[0]) for y in results)
    assert_near_model(results[0], twin, x)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        assert made(x).dtype == torch.bfloat16
    made(x).sum().backward()
    assert made.parametrizations.weight.original0.grad is not None


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.original0.data.mul_(2),
        lambda p: p.original1.data[0].neg_(),
        lambda p: setattr(p, "original0", nn.Parameter(torch.ones_like(p.original0))),
        lambda p: p.load_state_dict({k: v + 1 for k, v in p.state_dict().items()}),
    ],
)
def test_changes_are_seen(change: Callable[[Any], Any]) -> None:
    made, x = layer(), torch.randn(2, 4, 9)
    twin = copy.deepcopy(made)
    faltung.optimize_(made)
    with torch.no_grad():
        first = made(x)
        change(made.parametrizations.weight)
        change(twin.parametrizations.weight)
        assert (made(x) - first).abs().max() > 0.01 * first.abs().max()
        assert_near_model(made(x), twin, x)
        copied = copy.deepcopy(made)
        assert torch.equal(copied(x), made(x))


def test_other_parametrisations_run_at_every_call() -> None:
    class Noise(nn.Module):
        def forward(self, w: Tensor) -> Tensor:
            return w + torch.randn_like(w)

    made, x = nn.Conv1d(4, 6, 3), torch.randn(2, 4, 9)
    parametrize.register_parametrization(made, "weight", Noise())
    faltung.optimize_(made)
    both = layer()
    parametrize.register_parametrization(both, "weight", Noise())
    faltung.optimize_(both)
    with torch.no_grad():
        for module in (made, both):
            assert not torch.allclose(module(x), module(x))
