"""A filter learned by gradient descent until it is the one it was shown."""

from dataclasses import dataclass

import torch
from matplotlib.axes import Axes
from torch import Tensor

from .... import nn
from ..chart import Ink, chart
from ..filters import SOBEL_X, stacked
from ..scene import Chart, Claim, Grid, Scene, strip
from ..stage import Stage, rows

GAIN = 1000  # the least factor by which the difference to the known filter must fall


@dataclass(frozen=True)
class Learning:
    """The weights [1, 1, 3, 3] before some steps and at the end, and the loss of every step."""

    weights: dict[int, Tensor]
    losses: list[float]
    bias: float


def scene(stage: Stage) -> Scene:
    """Nine random numbers become Sobel's filter by looking at what it makes of a photograph."""
    known = stacked(SOBEL_X)
    x = (stage.grey - stage.grey.mean()) / stage.grey.std()
    target = stage.run("conv2d(x, known)", {"x": x, "known": known})
    learning = learn(x, target.result, stage.sizes.steps)
    steps = sorted(learning.weights)
    first, last = (_difference(learning.weights[s], known) for s in (steps[0], steps[-1]))
    return Scene(
        name="learned",
        title="A filter learned by gradient descent",
        rows="20",
        text="Start with nine random weights and a bias. Show the layer the photograph, compare "
        "with what Sobel's filter made of it, and follow the gradient of the mean squared "
        f"difference downhill, {steps[-1]} times (SGD with momentum, through our own backward "
        "pass). Nobody tells it the weights: it finds them.",
        strips=(
            strip(
                *(Grid(_when(s), rows(learning.weights[s][0, 0]), 3) for s in steps),
                Grid("what was to be found", rows(SOBEL_X), 3),
                columns=3,
            ),
            strip(_chart(learning.losses)),
        ),
        lines=(target,),
        claims=(
            Claim(
                "The learned filter is the known one: the largest difference fell at least "
                f"{GAIN:,} times",
                last * GAIN <= first,
                f"from {first:.2f} to {last:.1e}; bias {abs(learning.bias):.1e}",
            ),
        ),
    )


def learn(x: Tensor, target: Tensor, steps: int) -> Learning:
    """Train a 3×3 convolution with a bias to make `target` [N, 1, …] of `x` [N, 1, …]."""
    torch.manual_seed(1906)
    layer = nn.Conv2d(1, 1, 3)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.05, momentum=0.95, nesterov=True)
    shown = {0, steps // 60, steps // 20, steps // 6}
    weights, losses = {}, []
    for step in range(steps):
        if step in shown:
            weights[step] = layer.weight.detach().clone()
        optimizer.zero_grad()
        loss = (layer(x) - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    weights[steps] = layer.weight.detach().clone()
    assert layer.bias is not None
    return Learning(weights, losses, float(layer.bias.detach()))


def _difference(weight: Tensor, known: Tensor) -> float:
    return float((weight - known).abs().max())


def _when(step: int) -> str:
    return "random start" if step == 0 else f"after {step} steps"


def _chart(losses: list[float]) -> Chart:
    def draw(axes: Axes, ink: Ink) -> None:
        axes.semilogy(losses, color=ink.series[0], lw=2.2)
        axes.set_xlabel("step")
        axes.set_ylabel("mean squared difference")
        axes.margins(x=0.01)

    return chart(
        draw,
        f"the loss falls from {losses[0]:.1f} to {losses[-1]:.0e}, where float32 ends",
        "A curve falling over many powers of ten and levelling out.",
    )
