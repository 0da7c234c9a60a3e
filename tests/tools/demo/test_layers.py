import pytest
import torch

from faltung import functional
from faltung.tools.demo.layers import LAYERS, Checked, check
from faltung.tools.demo.photograph import PhotographSource, load

SOURCE = PhotographSource(load(60, 50))
SMALL = [layer for layer in LAYERS if layer.spec.macs < 2e7]


def test_every_layer_can_be_read_and_keeps_its_name_to_itself():
    assert len({layer.name for layer in LAYERS}) == len(LAYERS) > 30
    assert {layer.spec.dims for layer in LAYERS} == {1, 2, 3}
    assert {layer.spec.task for layer in LAYERS} == {"forward", "grad_input"}


@pytest.mark.parametrize("layer", SMALL, ids=lambda layer: layer.name)
def test_the_small_layers_hold(layer):
    checked = check(layer, SOURCE)
    assert checked.held
    assert checked.error > 0  # real numbers are never exact: 0 would be a comparison with itself
    assert checked.algorithm


def test_a_wrong_result_does_not_hold(monkeypatch):
    layer = next(layer for layer in SMALL if layer.spec.dims == 2)
    right = functional.conv2d
    for wrong in (lambda *a: right(*a) * 0, lambda *a: right(*a) * (1 + 1e-4)):
        monkeypatch.setattr(functional, "conv2d", wrong)
        assert not check(layer, SOURCE).held


def test_nan_does_not_hold():
    layer = LAYERS[0]
    assert not Checked(layer, layer.spec, "direct", float("nan")).held
    assert not Checked(layer, layer.spec, "direct", torch.inf).held
