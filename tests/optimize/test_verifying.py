"""Verification passes what is right, and puts back what is not."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import faltung
from faltung.optimize import VerificationError, layers
from faltung.optimize.origin import origin_of


def model() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.GELU(), nn.Conv2d(8, 4, 5)
    ).eval()


@pytest.mark.parametrize("seed", range(5))
def test_right_models_pass(seed: int) -> None:
    torch.manual_seed(seed)
    made, x = model(), torch.randn(2, 3, 12, 12)
    faltung.optimize_(
        made, example_inputs=x, verify=True, fold_batchnorm=True, fuse_activations=True
    )
    assert origin_of(made[0])


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (torch.zeros_like, r"output 0 is wrong by .* and .* would be rounding"),
        (lambda y: y + 1e-4, "is wrong by"),
        (lambda y: y.roll(1, -1), "is wrong by"),
        (lambda y: torch.full_like(y, float("nan")), "infinite or NaN in other places"),
        (lambda y: y.double(), "torch.float64, not .* torch.float32"),
        (lambda y: y[:1], r"is \(1, .*, not \(2,"),
    ],
)
def test_a_wrong_layer_is_found_and_everything_put_back(
    wrong: Any, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Last(nn.Module):
        """What shows a wrong layer as it is."""

        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Conv2d(3, 8, 3, groups=1)

        def forward(self, x: Tensor) -> Any:
            return {"y": [self.layers(x)], "index": torch.arange(3)}

    made, right = Last(), layers.fnn.Conv2d._conv_forward

    def broken(self: Any, *operands: Any) -> Tensor:
        return wrong(right(self, *operands))

    monkeypatch.setattr(layers.fnn.Conv2d, "_conv_forward", broken, raising=False)
    x = torch.randn(2, 3, 12, 12)
    with pytest.raises(VerificationError, match=text):
        faltung.optimize_(made, verify=x)
    assert type(made.layers) is nn.Conv2d and origin_of(made.layers) is None


def test_models_that_cannot_run_in_double() -> None:
    class Single(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.conv(x.float())
            return y

    faltung.optimize_(Single(), verify=torch.randn(2, 3, 12, 12))


def test_other_results_than_numbers() -> None:
    class Best(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x).argmax(1)

    made = Best()
    twin, x = copy.deepcopy(made), torch.randn(2, 3, 12, 12)
    faltung.optimize_(made, verify=x)
    assert torch.equal(made(x), twin(x))
