"""From what a user has to the layer that is meant."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import faltung
from faltung.errors import ArgumentError, ArgumentTypeError
from faltung.ops.conv.spec import ConvSpec

SPELLED = "forward n2 c3 o8 i9x7 k3x3 s2 p1 bias float32 cpu"


def model():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8))


def test_every_way_to_say_a_layer():
    x = torch.zeros(2, 3, 9, 7)
    layer = nn.Conv2d(3, 8, 3, stride=2, padding=1)
    plan = faltung.plan(x, layer.weight, layer.bias, stride=2, padding=1)
    for found in (
        faltung.explain(SPELLED),
        faltung.explain(ConvSpec.parse(SPELLED)),
        faltung.explain(plan),
        faltung.explain(layer, x),
        faltung.explain(layer, (2, 3, 9, 7)),
        faltung.explain(faltung.nn.Conv2d(3, 8, 3, stride=2, padding=1), x),
        faltung.explain(lambda x: F.conv2d(x, layer.weight, layer.bias, 2, 1), x),
        faltung.explain(nn.Sequential(nn.ReLU(), layer), x),
    ):
        assert str(found.spec) == SPELLED


def test_a_layer_of_a_model_by_its_name():
    found = faltung.explain(model(), (1, 3, 9, 9), layer="2")
    assert found.name == "2" and str(found.spec) == "forward n1 c8 o8 i7x7 k3x3 g8 bias float32 cpu"


def test_padding_that_stands_before_the_layer_is_its_padding():
    model = nn.Sequential(nn.ZeroPad2d((0, 1, 2, 3)), nn.Conv2d(1, 1, 3))
    assert faltung.explain(model, (1, 1, 9, 9)).spec.padding == ((2, 3), (0, 1))


def test_what_only_we_can_do():
    layer = faltung.nn.Conv2d(3, 8, 3, stride=2, padding="same", activation="relu")
    spec = faltung.explain(layer, (1, 3, 8, 8)).spec
    assert str(spec) == "forward n1 c3 o8 i8x8 k3x3 s2 p0+1 bias relu float32 cpu"


def test_the_plan_is_that_of_the_call():
    layer = faltung.nn.Conv2d(8, 8, 3, groups=8, algorithm="native_torch")
    task = faltung.explain(layer, (1, 8, 9, 9)).tasks[0]
    assert [c.name for c in task.plan.candidates] == ["native_torch"]


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: faltung.explain(model(), (1, 3, 9, 9)), ArgumentError, "one of 0, 2"),
        (
            lambda: faltung.explain(model(), (1, 3, 9, 9), layer="1"),
            ArgumentError,
            "no convolution '1', only 0, 2",
        ),
        (lambda: faltung.explain(nn.ReLU(), (1, 3)), ArgumentError, "runs no convolution"),
        (lambda: faltung.explain(model()), ArgumentError, "a model needs its inputs"),
        (lambda: faltung.explain(3), ArgumentTypeError, "or a function of tensors, got int"),
        (lambda: faltung.explain("forward n1"), ArgumentError, "a problem reads like"),
        (lambda: faltung.explain(SPELLED, layer="x"), ArgumentError, "neither inputs nor layer"),
        (lambda: faltung.explain(SPELLED, (1, 2)), ArgumentError, "neither inputs nor layer"),
    ],
)
def test_mistakes(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_names_that_are_loaded_on_demand():
    assert {"explain", "summary"} <= set(dir(faltung))
    with pytest.raises(AttributeError, match="no attribute 'explanation'"):
        _ = faltung.explanation
