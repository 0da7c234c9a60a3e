"""`Linear` layers that are pointwise convolutions: taken where faster, right everywhere."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import faltung
from faltung.optimize import pointwise
from faltung.optimize.origin import origin_of
from faltung.optimize.running import Inputs
from faltung.optimize.verifying import Truth
from near import assert_near, assert_near_model


@pytest.fixture(autouse=True)
def _ours_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pointwise, "_MARGIN", 1e9)


class Mixing(nn.Module):
    """As in ConvNeXt: two layers over the channels of a map, an activation between."""

    def __init__(self, bias: bool = True) -> None:
        super().__init__()
        self.wide = nn.Linear(8, 24, bias=bias)
        self.act = nn.GELU()
        self.narrow = nn.Linear(24, 8, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.narrow(self.act(self.wide(x)))


def ours(model: nn.Module, x: Tensor) -> list[nn.Module]:
    faltung.optimize_(model, example_inputs=x, fuse_activations=True)
    return [m for m in model.modules() if (o := origin_of(m)) and o.call]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(2, 5, 6, 8), (2, 7, 8), (1, 1, 8), (1, 1, 1, 8), (3, 4, 1, 8)])
def test_computes_the_same(shape: tuple[int, ...], bias: bool) -> None:
    model, x = Mixing(bias).eval(), torch.randn(shape)
    twin = copy.deepcopy(model)
    assert len(ours(model, x)) == 2
    assert str(origin_of(model.wide).chain) == "gelu"
    for given in (x, torch.randn(4, 3, 8), torch.randn(2, 8), torch.randn(8), x[:0]):
        inputs = Inputs.of(given)
        assert Truth.of(twin, inputs).check(model, inputs, 1.0) <= 1
        with torch.no_grad():
            assert model(given).stride() == twin(given).stride()
    with torch.no_grad(), faltung.using(algorithm="native_torch"):
        before = faltung.usage()["native_torch"]
        model(x)
        assert faltung.usage()["native_torch"] == before + 2


def test_views_and_other_numbers() -> None:
    model, x = Mixing().eval(), torch.randn(2, 5, 6, 8)
    twin = copy.deepcopy(model)
    ours(model, x)
    turned = torch.randn(2, 8, 5, 6).permute(0, 2, 3, 1)
    with torch.no_grad():
        assert_near_model(model(turned), twin, turned)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y, expected = model(x), twin(x)
        assert_near(y, expected, copy.deepcopy(twin).double()(x.double()))
        assert_near_model(torch.vmap(model)(x), twin, x)
        assert_near_model(torch.compile(model, backend="eager")(x), twin, x)
        model.double()
        assert torch.allclose(model(x.double()), twin.double()(x.double()))
    with torch.inference_mode():
        assert torch.allclose(model(x.double()), twin(x.double()))


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.wide.weight.data.mul_(2),
        lambda m: m.wide.bias.data.add_(1),
        lambda m: setattr(m.wide, "weight", nn.Parameter(torch.ones(24, 8))),
        lambda m: setattr(m.wide.weight, "data", torch.ones(24, 8)),
        lambda m: m.load_state_dict({k: v + 1 for k, v in m.state_dict().items()}),
    ],
)
def test_changes_are_seen(change: Callable[[Any], Any]) -> None:
    model, x = Mixing().eval(), torch.randn(2, 5, 6, 8)
    twin = copy.deepcopy(model)
    ours(model, x)
    with torch.no_grad():
        model(x)
        change(model)
        change(twin)
        assert_near_model(model(x), twin, x)


def test_derivatives_are_pytorchs() -> None:
    model, x = Mixing(), torch.randn(2, 5, 6, 8, requires_grad=True)
    twin = copy.deepcopy(model)
    ours(model, x.detach())
    expected = torch.autograd.grad(twin(x).square().sum(), [x, *twin.parameters()])
    got = torch.autograd.grad(model(x).square().sum(), [x, *model.parameters()])
    for a, b in zip(got, expected, strict=True):
        assert torch.equal(a, b)


def test_copied_reported_and_put_back() -> None:
    model, x = Mixing().eval(), torch.randn(2, 5, 6, 8)
    before, dictionary = copy.deepcopy(model), dict(model.wide.__dict__)
    ours(model, x)
    with torch.no_grad():
        model(x)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert_near_model(twin(x), before, x)
        assert repr(twin) == repr(model)
    assert [layer.name for layer in faltung.report(model).layers] == ["wide", "narrow"]
    faltung.restore_(model)
    assert type(model.wide) is nn.Linear and model.wide.__dict__ == dictionary
    assert torch.equal(model(x), before(x))


def test_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not ours(Mixing(), torch.randn(3, 8))  # no map
    turned = torch.randn(2, 8, 5, 6).permute(0, 2, 3, 1)  # channels do not lie together
    assert not ours(nn.Sequential(nn.Linear(8, 3)), turned)
    assert not faltung.optimize_(Mixing()).wide.__dict__.get("_faltung")  # nothing is known
    model = Mixing()
    faltung.optimize_(model, lambda name, m: name != "wide", example_inputs=torch.randn(2, 7, 8))
    assert type(model.wide) is nn.Linear and type(model.narrow) is not nn.Linear
    monkeypatch.setattr(pointwise, "_MARGIN", 0.0)
    assert not ours(Mixing(), torch.randn(2, 5, 6, 8))
    model.narrow._faltung.linear.taken.clear()
    with torch.no_grad():  # and sizes at which PyTorch's is faster stay with it
        model(torch.randn(2, 9, 8))
    assert list(model.narrow._faltung.linear.taken.values()) == [False]


class Mixed(nn.Module):
    """A `Linear` after a convolution over the map of another one, as SegFormer has it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(8, 16), nn.Linear(16, 8)
        self.between = nn.Conv2d(16, 16, 3, padding=1, groups=16)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x).transpose(1, 2).view(1, 16, 9, 11)
        result: Tensor = self.last(self.between(y).flatten(2).transpose(1, 2))
        return result


def test_one_that_gets_a_map_of_ours_is_taken() -> None:
    model, x = Mixed().eval(), torch.randn(1, 99, 8)
    with torch.no_grad():
        given = model.between(model.first(x).transpose(1, 2).view(1, 16, 9, 11))
    assert not given.is_contiguous(memory_format=torch.channels_last)  # or it proves nothing
    twin = copy.deepcopy(model)
    faltung.optimize_(model, example_inputs=x)
    assert type(model.last) is pointwise.OptimizedLinear
    with torch.no_grad():
        assert_near_model(model(x), twin, x)
