"""Each scene on a small photograph: its statements hold, and fail where they should."""

import functools

import pytest
import torch

from faltung import functional
from faltung.tools.demo.scene import Grid, Picture
from faltung.tools.demo.scenes import SCENES
from faltung.tools.demo.scenes.learned import GAIN, learn
from faltung.tools.demo.scenes.template import TEMPLATES, peaks
from faltung.tools.demo.sizes import QUICK
from faltung.tools.demo.stage import Stage


@pytest.fixture(scope="module")
def stage():
    return Stage.set(QUICK)


@pytest.mark.parametrize("name", SCENES)
def test_every_statement_of_the_scene_holds(name, stage):
    with torch.random.fork_rng():
        scene = SCENES[name](stage)
    assert scene.claims
    assert [claim.text for claim in scene.claims if not claim.held] == []
    assert scene.lines and all(line.solved for line in scene.lines)
    items = [item for strip in scene.strips for item in strip.items]
    assert all(item.image for item in items if isinstance(item, Picture))
    assert all(len(set(map(len, item.cells))) == 1 for item in items if isinstance(item, Grid))


WRONG = {
    "sliding a filter": "conv2d",
    "grouped": "conv2d",
    "depthwise-separable": "depthwise_separable_conv2d",
    "transposed": "conv_transpose2d",
    "deformable": "deform_conv2d",
    "large kernel": "conv2d",
    "one dimension": "causal_conv1d",
    "padding": "conv2d",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_routine_that_blends_everything_is_found_out(name, stage, monkeypatch):
    right = getattr(functional, WRONG[name])

    @functools.wraps(right)
    def wrong(*operands, **arguments):
        y = right(*operands, **arguments)
        return y + y.flatten().roll(1).reshape(y.shape) + y.sum() / y.numel()

    monkeypatch.setattr(functional, WRONG[name], wrong)
    assert not all(claim.held for claim in SCENES[name](stage).claims)


def test_the_filter_is_learned_and_not_given():
    x = torch.randn(1, 1, 40, 40, generator=torch.Generator().manual_seed(1))
    known = torch.tensor([[[[0.5, -1.0, 2.0], [3.0, 0.0, -0.5], [1.0, 1.5, -2.0]]]])
    target = torch.nn.functional.conv2d(x, known)
    with torch.random.fork_rng():
        learning = learn(x, target, 300)
    steps = sorted(learning.weights)
    start, end = ((learning.weights[s] - known).abs().max() for s in (steps[0], steps[-1]))
    assert end * GAIN < start
    assert learning.losses[-1] < learning.losses[0] / GAIN**2
    assert len(learning.losses) == steps[-1] == 300


def test_peaks_are_the_highest_places_apart():
    response = torch.zeros(20, 30)
    response[4, 5], response[4, 7], response[15, 20] = 3.0, 2.5, 2.0
    assert peaks(response, 2, apart=6) == [(4, 5), (15, 20)]


def test_a_template_cut_elsewhere_is_not_found_here(stage, monkeypatch):
    """The claim compares with where the patch was cut, so a moved answer must fail it."""
    right = functional.conv2d

    def moved(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        return right(input, weight, bias, stride, padding, dilation, groups).roll(1, -1)

    monkeypatch.setattr(functional, "conv2d", moved)
    held = [claim.held for claim in SCENES["finding a template"](stage).claims]
    assert held == [False] * len(TEMPLATES)
