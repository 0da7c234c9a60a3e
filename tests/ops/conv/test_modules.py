"""The modules: PyTorch's classes in every respect but the arithmetic, and what they take beyond."""

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize, prune

from faltung import nn as fnn
from faltung.errors import ArgumentError

PLAIN = ("Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d")
Whole = Callable[..., Tensor]


def made_whole(module: nn.Module) -> None:
    """Whole numbers for parameters, so that any order of summation gives the same bits."""
    for parameter in module.parameters():
        parameter.data = torch.randint(-3, 4, parameter.shape).to(parameter.dtype)


def image(name: str, whole: Whole) -> Tensor:
    return whole(2, 4, *(7, 6, 5)[: int(name[-2])], dtype=torch.float32)


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize(
    "keywords", [{}, {"stride": 2, "padding": 1, "groups": 2, "bias": False}, {"dilation": 2}]
)
def test_is_pytorchs_module(name: str, keywords: dict[str, Any], whole: Whole) -> None:
    torch.manual_seed(7)
    theirs = getattr(nn, name)(4, 6, 3, **keywords)
    torch.manual_seed(7)
    ours = getattr(fnn, name)(4, 6, 3, **keywords)
    assert isinstance(ours, getattr(nn, name))
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for key, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[key], value)  # the same initialisation
    assert repr(ours) == repr(theirs)
    made_whole(theirs)
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    x = image(name, whole)
    assert torch.equal(ours(x), theirs(x)) and torch.equal(ours(x[0]), theirs(x[0]))


@pytest.mark.parametrize("name", PLAIN)
def test_lazy_module_becomes_ours(name: str, whole: Whole) -> None:
    lazy = getattr(fnn, f"Lazy{name}")(6, 3, stride=2, activation="relu")
    assert isinstance(lazy, getattr(nn, f"Lazy{name}"))
    x = image(name, whole)
    lazy(x)
    made_whole(lazy)
    y = lazy(x)
    assert type(lazy) is getattr(fnn, name) and lazy.in_channels == 4
    assert (y >= 0).all() and y.abs().sum() > 0
    theirs = getattr(nn, name)(4, 6, 3, stride=2)
    theirs.load_state_dict(lazy.state_dict())
    assert torch.equal(y, theirs(x).relu())


@pytest.mark.parametrize("name", PLAIN)
def test_survives_copying_pickling_and_saving(name: str, whole: Whole) -> None:
    layer = getattr(fnn, name)(4, 6, 3, stride=2, activation="silu")
    x = image(name, whole)
    expected = layer(x)
    buffer = io.BytesIO()
    torch.save(layer, buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=False)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), loaded):
        assert torch.equal(twin(x), expected) and repr(twin) == repr(layer)


@pytest.mark.parametrize("name", ["Conv2d", "ConvTranspose2d"])
def test_weights_that_others_have_replaced_are_seen(name: str, whole: Whole) -> None:
    """By a parametrisation, by pruning, for one call, and in a subclass."""
    x = image(name, whole)
    layer = getattr(fnn, name)(4, 4, 3)
    made_whole(layer)
    zeros = torch.zeros_like(layer.weight)
    replaced = {"weight": zeros, "bias": torch.full((4,), 5.0)}
    assert (torch.func.functional_call(layer, replaced, (x,)) == 5).all()

    class Nothing(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return 0 * weight

    class Silent(type(layer)):  # type: ignore[misc]
        @property
        def weight(self) -> Tensor:
            return zeros

    silent = copy.deepcopy(layer)
    silent.__class__ = Silent
    assert "weight" in silent._parameters
    assert torch.equal(silent(x), layer.bias.view(-1, 1, 1).expand_as(silent(x)))
    prune.l1_unstructured(twin := copy.deepcopy(layer), "weight", amount=twin.weight.numel())
    parametrize.register_parametrization(layer, "weight", Nothing())
    for changed in (twin, layer):
        assert torch.equal(changed(x), layer.bias.view(-1, 1, 1).expand_as(changed(x)))
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    assert layer(x).std() > 1


def test_takes_what_pytorch_refuses(whole: Whole) -> None:
    x = image("Conv2d", whole)
    assert fnn.Conv2d(4, 6, 3, stride=2, padding="same")(x).shape == (2, 6, 4, 3)
    assert fnn.Conv2d(4, 6, 3, stride=2, padding="same_lower")(x).shape == (2, 6, 4, 3)
    uneven = fnn.Conv2d(4, 6, 3, padding=((0, 2), (1, 0)))
    made_whole(uneven)
    assert torch.equal(uneven(x), F.conv2d(F.pad(x, (1, 0, 0, 2)), uneven.weight, uneven.bias))
    assert "padding=((0, 2), (1, 0))" in repr(uneven)
    ring = fnn.ConvTranspose2d(4, 6, 3, padding=1, padding_mode="circular")
    # a transposed circular convolution wraps around, so it commutes with rolling
    rolled = ring(x.roll((2, 3), (2, 3)))
    slip = (rolled - ring(x).roll((2, 3), (2, 3))).abs().max()
    assert slip <= 64 * torch.finfo(torch.float32).eps * rolled.abs().max()


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_modes_are_pytorchs(mode: str, whole: Whole) -> None:
    x = image("Conv3d", whole)
    ours = fnn.Conv3d(4, 6, 3, padding=(2, 1, 0), padding_mode=mode)
    theirs = nn.Conv3d(4, 6, 3, padding=(2, 1, 0), padding_mode=mode)  # type: ignore[arg-type]
    made_whole(ours)
    theirs.load_state_dict(ours.state_dict())
    assert torch.equal(ours(x), theirs(x))


@pytest.mark.parametrize("size", [(13, 11), (14, 12), (14, 11)])
def test_transposed_output_size(size: tuple[int, int], whole: Whole) -> None:
    x = image("ConvTranspose2d", whole)
    ours, theirs = fnn.ConvTranspose2d(4, 6, 3, 2, 1), nn.ConvTranspose2d(4, 6, 3, 2, 1)
    made_whole(ours)
    theirs.load_state_dict(ours.state_dict())
    for wanted in (size, (2, 6, *size)):
        assert torch.equal(ours(x, output_size=wanted), theirs(x, output_size=list(wanted)))
    assert ours(x[0], output_size=size).shape == (6, *size)


def test_transposed_output_size_that_cannot_be(whole: Whole) -> None:
    layer = fnn.ConvTranspose2d(4, 6, 3, 2, 1)
    x = image("ConvTranspose2d", whole)
    with pytest.raises(
        ArgumentError,
        match=r"output_size \(15, 11\) cannot be had .* between \(13, 11\) and \(14, 12\)",
    ):
        layer(x, output_size=(15, 11))
    with pytest.raises(ArgumentError, match="output_size must have 2 elements, or 4"):
        layer(x, output_size=(1, 2, 3))


def test_causal_module(whole: Whole) -> None:
    layer = fnn.CausalConv1d(4, 6, 3, dilation=2, groups=2)
    made_whole(layer)
    x = image("Conv1d", whole)
    expected = F.conv1d(F.pad(x, (4, 0)), layer.weight, layer.bias, dilation=2, groups=2)
    assert torch.equal(layer(x), expected)
    assert isinstance(layer, nn.Conv1d) and "padding=causal" in repr(layer)
    nn.Conv1d(4, 6, 3, groups=2).load_state_dict(layer.state_dict())


def test_constructor_mistakes() -> None:
    with pytest.raises(ArgumentError, match="Conv2d: padding must be one of 'valid'"):
        fnn.Conv2d(1, 1, 3, padding="full")
    with pytest.raises(ArgumentError, match="padding_mode must be one of"):
        fnn.ConvTranspose2d(1, 1, 3, padding_mode="mirror")
    with pytest.raises(ValueError, match="in_channels must be divisible by groups"):
        fnn.Conv2d(3, 4, 3, groups=2)  # PyTorch's own check


def test_trains(whole: Whole) -> None:
    x = image("Conv2d", whole)
    net = nn.Sequential(
        fnn.Conv2d(4, 8, 3, padding="same", activation="relu"), fnn.ConvTranspose2d(8, 1, 2, 2)
    )
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    losses = []
    for _ in range(50):
        optimizer.zero_grad()
        loss = (net(x) - 1).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
