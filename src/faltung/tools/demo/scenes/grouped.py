"""Grouped per colour: each channel has its own filter and sees no other."""

import torch
from torch import Tensor

from ..filters import LAPLACE, SOBEL_X, SOBEL_Y, stacked
from ..paint import photograph, signed
from ..scene import Claim, Picture, Scene, strip
from ..stage import Stage, whole_pixels

COLOURS = ("red", "green", "blue")
FILTERS = (("upright edges", SOBEL_X), ("level edges", SOBEL_Y), ("points and lines", LAPLACE))


def scene(stage: Stage) -> Scene:
    """Three filters, one a colour."""
    weight = stacked(*(f for _, f in FILTERS))
    line = stage.run(
        'conv2d(photo, weight, padding="same", groups=3, padding_mode="replicate")',
        {"weight": weight},
    )
    full = stage.run(
        'conv2d(photo, weight, padding="same", padding_mode="replicate")',
        {"weight": weight.expand(-1, 3, -1, -1).contiguous()},
    )
    one, three = full.solved[0], line.solved[0]
    return Scene(
        name="grouped",
        title="Grouped: every colour its own filter",
        rows="11, 14",
        text="With groups = 3 the input channels are split into three groups of one, filtered "
        "apart and put together again; with one channel a group this is depthwise convolution. "
        f"It needs {three.parameters} weights where a full convolution needs {one.parameters}, and "
        "a third of the work. The price: colours no longer mix.",
        strips=(
            strip(*(_channel(stage.photo, c) for c in range(3))),
            strip(
                *(
                    signed(
                        line.result[0, c],
                        f"{name}, in {COLOURS[c]}",
                        f"The {COLOURS[c]} channel's response to the filter for {name}.",
                    )
                    for c, (name, _) in enumerate(FILTERS)
                )
            ),
        ),
        lines=(line, full),
        claims=(_no_mixing(stage, weight),),
    )


def _channel(photo: Tensor, c: int) -> Picture:
    tinted = torch.zeros_like(photo[0])
    tinted[c] = photo[0, c]
    return photograph(tinted, f"{COLOURS[c]} channel", f"The portrait's {COLOURS[c]} channel.")


def _no_mixing(stage: Stage, weight: Tensor) -> Claim:
    x = whole_pixels(stage.photo)
    dark = x.clone()
    dark[:, 2] = 0
    text = "conv2d(x, weight, padding=1, groups=3)"
    with_blue = stage.run(text, {"x": x, "weight": weight}).result
    without = stage.run(text, {"x": dark, "weight": weight}).result
    return Claim(
        "Blue put out: the responses in red and green do not change, the one in blue does",
        torch.equal(with_blue[:, :2], without[:, :2])
        and not torch.equal(with_blue[:, 2], without[:, 2]),
        "equal in every bit",
    )
