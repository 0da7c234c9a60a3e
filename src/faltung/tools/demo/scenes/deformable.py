"""Deformable convolution: every tap has its own place, here bent by a lens and a swirl."""

import math
from collections.abc import Callable

import torch
from matplotlib.axes import Axes
from torch import Tensor
from torch.nn.functional import conv2d

from ..agreement import agrees
from ..filters import gauss
from ..paint import MARK, overlay, photograph
from ..scene import Claim, Picture, Scene, strip
from ..stage import Stage

Circle = tuple[float, float, float]
Field = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

TAPS = [(i, j) for i in range(3) for j in range(3)]
SQUARE_LINES = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8))

# centre row, centre column and radius in the full photograph
BADGE = (32.0, 130.0, 62.0)
FLAG = (62.0, 32.0, 62.0)


def scene(stage: Stage) -> Scene:
    """A 3×3 convolution whose taps are moved by an offset field."""
    soft = gauss(3, 0.6)[None, None].repeat(3, 1, 1, 1)
    lens, swirl = _offsets(stage, _lens, BADGE), _offsets(stage, _swirl, FLAG)
    names = {"soft": soft, "lens": lens, "swirl": swirl}
    through_lens = stage.run("deform_conv2d(photo, lens, soft, padding=1)", names)
    swirled = stage.run("deform_conv2d(photo, swirl, soft, padding=1)", names)
    return Scene(
        name="deformable",
        title="Deformable: every tap has its own place",
        rows="17",
        text="Besides the weight there is an offset (dy, dx) for each tap at each output, learned "
        "in a network, given here by a lens over the badge and a swirl in the flag. A tap reads "
        "the photograph between its pixels, where its offset points. The dots are where the nine "
        "taps of some outputs look, drawn further apart than they are: in straight squares "
        "without offsets, in bent ones with them.",
        strips=(
            strip(
                _points(stage, torch.zeros_like(lens), "no offsets: straight", BADGE, FLAG),
                _points(stage, lens, "taps bent by a lens", BADGE),
                _points(stage, swirl, "taps bent by a swirl", FLAG),
            ),
            strip(
                photograph(stage.photo[0], "the photograph", "The portrait of Grace Hopper."),
                photograph(through_lens.result[0], "through the lens", "The badge, magnified."),
                photograph(swirled.result[0], "through the swirl", "The flag's stars, swirled."),
            ),
        ),
        lines=(through_lens, swirled),
        claims=(_no_offset(stage, soft), _whole_shift(stage, soft)),
    )


def _lens(y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Inside the unit circle, look closer to the centre: magnifies about twice."""
    pull = 0.55 * (1 - (x**2 + y**2)).clamp_min(0)
    return -y * pull, -x * pull


def _swirl(y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Turn by up to 2.6 radians at the centre, fading to nothing at the unit circle."""
    angle = 2.6 * (1 - (x**2 + y**2).sqrt()).clamp_min(0) ** 2
    cos, sin = angle.cos(), angle.sin()
    return x * sin + y * cos - y, x * cos - y * sin - x


def _offsets(stage: Stage, field: Field, circle: Circle) -> Tensor:
    """Offsets [1, 18, H, W] that move each tap as the field moves the place it stands on.

    The circle is the centre's row and column and the radius, in pixels of the full photograph.
    """
    height, width = stage.photo.shape[-2:]
    row, column, radius = (v * stage.scale for v in circle)
    offset = torch.empty(1, 2 * len(TAPS), height, width)
    for t, (i, j) in enumerate(TAPS):
        y = (torch.arange(height)[:, None] + i - 1 - row) / radius
        x = (torch.arange(width)[None, :] + j - 1 - column) / radius
        dy, dx = field(y.expand(height, width), x.expand(height, width))
        offset[0, 2 * t], offset[0, 2 * t + 1] = dy * radius, dx * radius
    return offset


def _points(stage: Stage, offset: Tensor, caption: str, *circles: Circle) -> Picture:
    """The photograph with the places that the taps of some outputs in the circles read."""
    height, width = stage.photo.shape[-2:]
    step = max(8, round(22 * stage.scale))

    def draw(axes: Axes) -> None:
        for q in range(step // 2, height, step):
            for r in range(step // 2, width, step):
                if not any(_inside(q / stage.scale, r / stage.scale, c) for c in circles):
                    continue
                y, x = zip(*(_reads(offset, q, r, t, step / 4) for t in range(9)), strict=True)
                for square in SQUARE_LINES:
                    ends = [y[t] for t in square], [x[t] for t in square]
                    axes.plot(ends[1], ends[0], "-", color="white", lw=2, alpha=0.85)
                axes.plot(x, y, "o", color=MARK, mec="white", mew=0.9, markersize=7)

    alt = f"Sampling points on the portrait, {caption}."
    return overlay(stage.photo[0], draw, caption, alt)


def _inside(row: float, column: float, circle: Circle) -> bool:
    return math.hypot(row - circle[0], column - circle[1]) < circle[2]


def _reads(offset: Tensor, q: int, r: int, t: int, apart: float) -> tuple[float, float]:
    """Where tap t of output (q, r) would look if the taps stood that far apart."""
    i, j = TAPS[t]
    y, x = q + (i - 1) * apart, r + (j - 1) * apart
    height, width = offset.shape[-2:]
    # the offset of the pixel that the drawn tap stands on: that output's centre tap
    row, column = min(max(round(y), 0), height - 1), min(max(round(x), 0), width - 1)
    return y + float(offset[0, 8, row, column]), x + float(offset[0, 9, row, column])


def _no_offset(stage: Stage, soft: Tensor) -> Claim:
    none = torch.zeros(1, 18, *stage.photo.shape[2:])
    y = stage.run("deform_conv2d(photo, none, soft, padding=1)", {"none": none, "soft": soft})
    return agrees(
        "Without offsets it is the ordinary convolution", y.result, _plain, (stage.photo, soft)
    )


def _whole_shift(stage: Stage, soft: Tensor) -> Claim:
    """All taps moved by (2, −3) pixels: the convolution of the moved photograph."""
    shift = torch.zeros(1, 18, *stage.photo.shape[2:])
    shift[:, 0::2], shift[:, 1::2] = 2, -3
    y = stage.run("deform_conv2d(photo, shift, soft, padding=1)", {"shift": shift, "soft": soft})
    return agrees(
        "All offsets (2, −3): the same result, moved by two rows and three columns",
        y.result[..., 2:-4, 5:-2],
        lambda x, w: _plain(x, w)[..., 4:-2, 2:-5],
        (stage.photo, soft),
    )


def _plain(x: Tensor, w: Tensor) -> Tensor:
    return conv2d(x, w, padding=1, groups=3)
