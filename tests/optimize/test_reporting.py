"""The report says what runs, what it takes, and why a layer was left alone."""

import json

import pytest
import torch
from torch import nn

import faltung
from faltung import trials


def model() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=8), nn.LazyConv2d(2, 1),
    ).eval()  # fmt: skip


def test_after_a_call() -> None:
    made = faltung.optimize_(model())
    with pytest.raises(ValueError, match="none of the 2 optimised convolutions was called"):
        faltung.report(made)
    with torch.no_grad():
        made(torch.ones(2, 3, 9, 9))
    report = faltung.report(made)
    first, second, lazy = report.layers
    assert first.spec == "forward n2 c3 o8 i9x9 k3x3 p1 bias float32 cpu"
    assert (first.name, second.name, lazy.name) == ("0", "3", "4")
    assert (
        second.algorithm == faltung.plan(torch.ones(2, 8, 9, 9), made[3].weight, groups=8).algorithm
    )
    assert first.before > 0 and not first.measured
    assert lazy.spec is None and "left out by filter_fn" in lazy.note  # it is built by now
    assert report.before == pytest.approx(first.before + second.before)
    text = str(report)
    assert text.splitlines()[0].split() == ["layer", "before", "after", "ratio", "algorithm"]
    assert text.splitlines()[-1].split()[0] == "all" and text.endswith("estimates")
    assert json.loads(report.to_json())["layers"][1]["algorithm"] == second.algorithm


def test_example_inputs_are_enough_and_fused_layers_say_so() -> None:
    made = model()
    made.pop(4)
    x = torch.ones(2, 3, 9, 9)
    faltung.optimize_(made, example_inputs=x, fold_batchnorm=True, fuse_activations=True)
    before = faltung.report(made).layers
    with torch.no_grad():
        made(x)
    assert faltung.report(made).layers == before
    assert before[0].does == "BatchNorm + relu" and " relu " in before[0].spec
    assert "with BatchNorm + relu" in str(faltung.report(made))


def test_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        trials, "figures",
        lambda spec, family, runs, *_: {c.name: 1e-3 if "torch" in c.name else 5e-4 for c in runs},
    )  # fmt: skip
    made = nn.Sequential(nn.Conv2d(8, 8, 3, groups=8))
    faltung.optimize_(made, example_inputs=torch.ones(1, 8, 11, 13))
    report = faltung.report(made, measure=True)
    assert report.layers[0].measured and str(report).endswith("measured")
    assert (report.before, report.after) == (1e-3, 5e-4) and " 2.00 " in str(report)


def test_models_without_anything_to_report() -> None:
    assert str(faltung.report(nn.Linear(2, 2))).splitlines()[-1].split()[-2:] == ["no", "times"]
    assert faltung.report(nn.Conv2d(1, 1, 1)).layers[0].spec is None
    with pytest.raises(TypeError, match="model must be a module"):
        faltung.report(3)  # type: ignore[arg-type]
