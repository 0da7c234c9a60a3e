"""A template found in the photograph by its inner product."""

import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor

from ..filters import stacked
from ..paint import MARK, crop, magnitude, overlay
from ..scene import Claim, Picture, Scene, strip
from ..stage import Stage

# top left corners in the full photograph, and what is there
TEMPLATES = {"a star of the flag": (34, 18), "an eye": (86, 90), "the eagle on the cap": (17, 114)}
SIDE = 24
OTHERS = 5  # how many of the next best places are shown


def scene(stage: Stage) -> Scene:
    """Three templates as three filters of one convolution; each has its peak where it was cut."""
    side = round(SIDE * stage.scale)
    corners = {
        name: (round(top * stage.scale), round(left * stage.scale))
        for name, (top, left) in TEMPLATES.items()
    }
    cut = [stage.grey[0, 0, r : r + side, c : c + side] for r, c in corners.values()]
    templates = stacked(*(_unit(t) for t in cut))
    line = stage.run("conv2d(grey, templates)", {"templates": templates})
    response = line.result[0] / _local_deviation(stage, side)
    claims = [_found(n, response[o], corners[n]) for o, n in enumerate(corners)]
    return Scene(
        name="template",
        title="A template found by its inner product",
        rows="20",
        text="Cut three small patches out of the photograph, subtract their mean and use them as "
        "the three filters of one convolution. At every place the sum is the inner product of the "
        "filter and the region; divided by the region's contrast it is their correlation, 1 "
        "where the region is the template. Each has its highest value exactly where it was cut "
        "(solid frame), and the next best places (thin frames) look alike: the other stars.",
        strips=(
            strip(*(_template(n, t) for n, t in zip(corners, cut, strict=True))),
            strip(
                *(
                    magnitude(r.clamp_min(0), f"correlation with {n}", f"Bright at {n}.", 1.0)
                    for n, r in zip(corners, response, strict=True)
                )
            ),
            strip(*(_boxes(stage, n, r, side) for n, r in zip(corners, response, strict=True))),
        ),
        lines=(line,),
        claims=tuple(claims),
    )


def peaks(response: Tensor, count: int, apart: int) -> list[tuple[int, int]]:
    """The places [row, column] of the highest values, no two within `apart` of each other."""
    left = response.clone()
    found = []
    for _ in range(count):
        row, column = divmod(int(left.argmax()), left.shape[1])
        found.append((row, column))
        near = (
            slice(max(0, row - apart), row + apart),
            slice(max(0, column - apart), column + apart),
        )
        left[near] = -torch.inf
    return found


def _unit(template: Tensor) -> Tensor:
    """The template less its mean, of length one."""
    centred = template - template.mean()
    unit: Tensor = centred / centred.norm()
    return unit


def _local_deviation(stage: Stage, side: int) -> Tensor:
    """√Σ(x − mean)² of every region, from two sums over it: Σx² − (Σx)²/taps."""
    names = {"x": stage.grey.double(), "ones": torch.ones(1, 1, side, side, dtype=torch.float64)}
    sums = stage.run("conv2d(x, ones)", names).result
    squares = stage.run("conv2d(x * x, ones)", names).result
    spread: Tensor = squares - sums.square() / side**2
    # flat regions have no contrast: what they correlate with is noise
    floor = (0.02 * side) ** 2
    deviation: Tensor = spread.clamp_min(floor).sqrt()[0].float()
    return deviation


def _found(name: str, response: Tensor, corner: tuple[int, int]) -> Claim:
    place = peaks(response, 1, 1)[0]
    return Claim(
        f"{name[0].upper()}{name[1:]} is found where it was cut",
        place == corner,
        f"row {place[0]}, column {place[1]}; correlation {float(response[place]):.3f}",
    )


def _template(name: str, cut: Tensor) -> Picture:
    return crop(cut[None], name, f"A small patch: {name}.", share=0.45)


def _boxes(stage: Stage, name: str, response: Tensor, side: int) -> Picture:
    best, *others = peaks(response, 1 + OTHERS, side // 2)

    def draw(axes: Axes) -> None:
        for row, column in others:
            corner = (column - 0.5, row - 0.5)
            axes.add_patch(Rectangle(corner, side, side, fill=False, ec="white", lw=2.2))
            axes.add_patch(Rectangle(corner, side, side, fill=False, ec="#0072b2", lw=1.2))
        corner = (best[1] - 0.5, best[0] - 0.5)
        axes.add_patch(Rectangle(corner, side, side, fill=False, ec="white", lw=7))
        axes.add_patch(Rectangle(corner, side, side, fill=False, ec=MARK, lw=4))

    return overlay(stage.photo[0], draw, f"{name}, found", f"Frames: {name}.", 2.4)
