"""One memory layout for a whole model, where the plans say that it pays."""

import copy
import time
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import faltung
from faltung.ops.operands import memory_layout
from faltung.optimize import layouts
from faltung.optimize.origin import origin_of
from near import assert_near_model


def model() -> nn.Module:
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1, groups=16),
        nn.ReLU(), nn.Conv2d(16, 24, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 2),
    ).eval()  # fmt: skip
    for parameter in made.parameters():
        parameter.data = torch.randint(-1, 2, parameter.shape).float()
    return made


def seen_layouts(made: nn.Module) -> list[str]:
    origins = [o for m in made.modules() if (o := origin_of(m))]
    return [o.seen.layout for o in origins if o.seen]


@pytest.mark.parametrize("winner", ["contiguous", "channels_last"])
def test_the_smaller_sum_wins(winner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layouts, "seconds", lambda spec: 1.0 if spec.layout == winner else 2.0)
    made, x = model(), torch.randint(-1, 2, (2, 3, 9, 9)).float()
    expected = made(x)
    faltung.optimize_(made, example_inputs=x)
    with torch.no_grad():
        assert torch.equal(made(x), expected) and torch.equal(made(x), expected)
        # whatever comes is brought into the layout at the first convolution
        assert torch.equal(made(x.contiguous(memory_format=torch.channels_last)), expected)
    assert seen_layouts(made) == [winner] * 3
    for layer in faltung.report(made).layers:
        assert (layer.note == "images made channels-last") == (winner == "channels_last")


def test_a_small_gain_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"contiguous": 1.0, "channels_last": 0.98}
    monkeypatch.setattr(layouts, "seconds", lambda spec: times[spec.layout])
    made, x = model(), torch.ones(2, 3, 9, 9)
    faltung.optimize_(made, example_inputs=x)
    assert not any(o.layout for m in made.modules() if (o := origin_of(m)))


def test_reordering_the_inputs_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"contiguous": 1e-9, "channels_last": 0.0}
    monkeypatch.setattr(layouts, "seconds", lambda spec: times[spec.layout])
    monkeypatch.setattr(layouts, "_timed", lambda *arguments: (0.0, 0.0))
    made, x = model(), torch.ones(2, 3, 9, 9)
    faltung.optimize_(made, example_inputs=x)
    assert not any(o.layout for m in made.modules() if (o := origin_of(m)))


class Slow(nn.Module):
    """A layer that takes its time in one layout."""

    def __init__(self, layout: str) -> None:
        super().__init__()
        self.layout = layout

    def forward(self, x: Tensor) -> Tensor:
        if memory_layout(x) == self.layout:
            time.sleep(0.05)
        return x + 0


@pytest.mark.parametrize("slow", ["contiguous", "channels_last"])
def test_other_layers_count(slow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"contiguous": 1e-3, "channels_last": 1e-3}
    monkeypatch.setattr(layouts, "seconds", lambda spec: times[spec.layout])
    made, x = (
        nn.Sequential(nn.Conv2d(3, 8, 3), Slow(slow), nn.Conv2d(8, 3, 3)),
        torch.ones(1, 3, 9, 9),
    )
    faltung.optimize_(made, example_inputs=x)
    turned = [o.layout for m in made.modules() if (o := origin_of(m))]
    assert turned == ([None, None] if slow == "channels_last" else ["channels_last"] * 2)


def test_layers_about_as_fast_in_either_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layouts, "seconds", lambda spec: 1e-6)
    first = nn.Identity()

    def taken(made: nn.Module, inputs: Any, modules: Any) -> dict[nn.Module, float]:
        turned = inputs.args[0].is_contiguous(memory_format=torch.channels_last)
        return {first: 1.0 if turned else 1.05}

    monkeypatch.setattr(layouts, "_times", taken)
    inputs = layouts.Inputs((torch.ones(1, 3, 5, 5),))
    turned = inputs.channels_last()
    assert layouts._timed(nn.Identity(), [first], inputs, turned) == (1.0, 1.0)
    monkeypatch.setattr(layouts, "_ALIKE", 1.01)
    assert layouts._timed(nn.Identity(), [first], inputs, turned) == (1.05, 1.0)


def test_without_inputs_nothing_is_decided() -> None:
    made = faltung.optimize_(model())
    assert not any(o.layout for m in made.modules() if (o := origin_of(m)))


@pytest.mark.parametrize("with_inputs", [False, True])
def test_asked_for_and_put_back(with_inputs: bool) -> None:
    made, x = model(), torch.randint(-1, 2, (2, 3, 9, 9)).float()
    expected, before = made(x), copy.deepcopy(made.state_dict())
    parameters = dict(made.named_parameters())
    faltung.optimize_(made, channels_last=True, example_inputs=x if with_inputs else None)
    with torch.no_grad():
        assert torch.equal(made(x), expected) and torch.equal(made(x), expected)
    assert seen_layouts(made) == ["channels_last"] * 3
    made(x).sum().backward()
    assert all(p.grad is not None for p in made.parameters())
    faltung.restore_(made)
    for name, value in made.state_dict().items():
        assert torch.equal(value, before[name]) and value.stride() == before[name].stride()
        assert parameters[name] is dict(made.named_parameters())[name]


def test_unbatched_images_and_other_dimensions() -> None:
    line = nn.Sequential(nn.Conv1d(2, 3, 3), nn.Flatten(0))
    solid = nn.Conv3d(2, 3, 3)
    flat = nn.Conv2d(2, 3, 3)
    for made, x in (
        (line, torch.ones(1, 2, 9)),
        (solid, torch.ones(1, 2, 4, 5, 6)),
        (flat, torch.ones(2, 5, 6)),
    ):
        twin = copy.deepcopy(made)
        faltung.optimize_(made, channels_last=True, example_inputs=x)
        assert_near_model(made(x), twin, x)


def test_the_example_run_leaves_no_trace() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
            self.modes: list[Any] = []

        def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
            self.modes.append((self.training, torch.is_grad_enabled()))
            y: Tensor = self.layers(x)
            return y if scale is None else y * scale

    made = Counting().train()
    made.layers[2].eval()
    before, state = copy.deepcopy(made.state_dict()), torch.get_rng_state()
    inputs = {"x": torch.ones(1, 3, 5, 5), "scale": torch.ones(1)}
    faltung.optimize_(made, example_inputs=inputs, verify=(torch.ones(2, 3, 5, 5),))
    assert set(made.modes) == {(False, False)}
    assert made.training and made.layers[0].training and not made.layers[2].training
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in made.state_dict().items():
        assert torch.equal(value, before[name])


def test_arguments_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match="channels_last must be True, False or 'auto', got 'yes'"):
        faltung.optimize_(model(), channels_last="yes")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="must be a tensor, a tuple of arguments or a dictionary"):
        faltung.optimize_(model(), example_inputs=3)
    with pytest.raises(ValueError, match="verify=True compares on example_inputs"):
        faltung.optimize_(model(), verify=True)
    with pytest.raises(RuntimeError, match="channels"):
        faltung.optimize_(model(), example_inputs=torch.ones(1, 5, 9, 9))
