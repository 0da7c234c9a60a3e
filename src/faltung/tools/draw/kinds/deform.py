"""`deform`: where the taps of a deformable convolution look, over a photograph.

    p = q·s − low + t·d + δ[t, q]            x̂[p] = Σ_i g(p_y, i_y)·g(p_x, i_x)·x[i]
    g(a, b) = max(0, 1 − |a − b|)

The offsets δ, learned in a network, are here those of a magnifying glass: every tap is pulled to
its centre. Beside the photograph the four pixels that one tap reads between. One frame an output
of a few in a row.

Source: Dai et al., arXiv 1703.06211, section 2.1.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ....errors import ArgumentError
from ....ops.geometry import Sizes
from ..figure import (
    Cell,
    Dot,
    Figure,
    Frame,
    Items,
    Key,
    Label,
    Photo,
    Ref,
    Stroke,
    read,
    written,
)
from ..layer import Layer, LayerKind, convolution_only, layer_words
from ..layout import beside, captioned, under
from ..planes import table

_SHOWN = 7  # outputs in a row that become frames
_HEIGHT = 15.0  # cells that the photograph is high
_PULL = 0.55  # how far towards the centre the glass draws a tap that is close to it
_CENTRE = 0.42, 0.5  # of the glass, in parts of the height and the width
_RADIUS = 0.34  # in parts of the height
_MOST_PIXELS = 2**20
_CLOSE = 6  # pixels along a side of the close-up


@dataclass(frozen=True)
class Glass:
    """The photograph, and the magnifying glass that bends the window over it."""

    layer: Layer
    image: Tensor  # [3, H, W], 0 … 1

    @property
    def circle(self) -> tuple[float, float, float]:
        """Centre row, centre column and radius, in pixels."""
        height, width = self.layer.input_size
        return _CENTRE[0] * height, _CENTRE[1] * width, _RADIUS * height

    @property
    def outputs(self) -> list[Sizes]:
        """The outputs shown: places along a slanting line across the glass."""
        row, column, radius = self.circle
        found = []
        for number in range(_SHOWN):
            along = number / (_SHOWN - 1) * 1.5 - 0.75
            place = row + along * radius * 0.6, column + along * radius
            found.append(
                tuple(
                    min(max(round((p + axis.padding[0] - (axis.span - 1) / 2) / axis.stride), 0),
                        axis.output_size - 1)
                    for p, axis in zip(place, self.layer.spec.axes, strict=True)
                )
            )  # fmt: skip
        return found

    def place(self, output: Sizes, tap: Sizes) -> tuple[float, float]:
        """Where a tap looks without an offset, in pixels."""
        y, x = (
            axis.padded_position(q, t)
            for axis, q, t in zip(self.layer.spec.axes, output, tap, strict=True)
        )
        return float(y), float(x)

    def offset(self, output: Sizes, tap: Sizes) -> tuple[float, float]:
        """δ: towards the centre, the more the closer to it; in whole tenths, so that it reads."""
        y, x = self.place(output, tap)
        row, column, radius = self.circle
        near = max(0.0, 1 - ((y - row) ** 2 + (x - column) ** 2) / radius**2)
        pull = _PULL * near
        return round((row - y) * pull, 1), round((column - x) * pull, 1)


def build(layer: Layer) -> Figure:
    """The figure of a 2-D layer whose input is a photograph of that size."""
    convolution_only(layer, "deform")
    if layer.spec.dims != 2 or not min(layer.input_size) >= 8 or (
        math.prod(layer.input_size) > _MOST_PIXELS
    ):  # fmt: skip
        raise ArgumentError(
            f"deform draws over a photograph of 8×8 to {_MOST_PIXELS} pixels, got the input size "
            f"{layer.input_size}"
        )
    glass = Glass(layer, photograph(layer.input_size))
    return Figure(
        "deform",
        "Deformable convolution: every tap has its own place",
        layer_words(layer),
        _SHOWN,
        partial(_frame, glass),
        2,
        (
            Key(Cell(role="mark", lit=True), "where a tap looks"),
            Key(Cell(role="input"), "where it would look without its offset"),
        ),
    )


def photograph(size: Sizes) -> Tensor:
    """The demo's photograph, [3, H, W] with values in 0 … 1."""
    from ...demo.photograph import load  # noqa: PLC0415  (needs matplotlib's sample picture)

    return load(*size)[0]


def _frame(glass: Glass, number: int) -> Frame:
    output = glass.outputs[number]
    photo = _photo(glass.image, _HEIGHT / glass.layer.input_size[0])
    taps = list(itertools.product(*map(range, glass.layer.spec.kernel_size)))
    dots = {tap: _dot(glass, photo, output, tap) for tap in taps}
    longest = max(taps, key=lambda tap: math.hypot(*glass.offset(output, tap)))
    row, column, radius = glass.circle
    circle = Stroke(
        tuple(
            photo.place(row + radius * math.sin(a / 30 * math.pi),
                        column + radius * math.cos(a / 30 * math.pi))
            for a in range(61)
        ),
        "white", 1.6, dashed=True,
    )  # fmt: skip
    over: Items = (photo, circle, *_offsets(glass, photo, output, taps), *_mesh(dots))
    pictures = captioned(
        (*over, *dots.values()), "x, and the taps of one output", f"output {_at(output)}"
    )
    items = beside(pictures, _reading(glass, output, longest), gap=1.4)
    return Frame(items)


def _photo(image: Tensor, scale: float) -> Photo:
    rgb = image.clamp(0, 1).mul(255).round().to(torch.uint8).permute(1, 2, 0).contiguous()
    return Photo(rgb.numpy().tobytes(), rgb.shape[0], rgb.shape[1], scale)


def _dot(glass: Glass, photo: Photo, output: Sizes, tap: Sizes) -> Dot:
    at = _moved(glass, output, tap)
    x, y = photo.place(*at)
    return Dot(x, y, at, "mark", ref=("y", (0, *output)), weights=(("w", (0, 0, *tap)),))


def _moved(glass: Glass, output: Sizes, tap: Sizes) -> tuple[float, float]:
    (y, x), (dy, dx) = glass.place(output, tap), glass.offset(output, tap)
    return y + dy, x + dx


def _offsets(glass: Glass, photo: Photo, output: Sizes, taps: Sequence[Sizes]) -> Items:
    """Where the taps would look, and a line to where they do."""
    found: Items = ()
    for tap in taps:
        before = glass.place(output, tap)
        start, end = photo.place(*before), photo.place(*_moved(glass, output, tap))
        dot = Dot(*start, before, "input", hollow=True)
        found += (dot, Stroke((start, end), "input", 1.4))
    return found


def _mesh(dots: dict[Sizes, Dot]) -> Items:
    """Lines between neighbouring taps: straight squares become bent ones."""
    found: Items = ()
    for (i, j), dot in dots.items():
        for neighbour in ((i + 1, j), (i, j + 1)):
            if neighbour in dots:
                other = dots[neighbour]
                found += (Stroke(((dot.x, dot.y), (other.x, other.y)), "white", 1.4),)
    return found


def _reading(glass: Glass, output: Sizes, tap: Sizes) -> Items:
    """The pixels around one tap, the four that it reads between, their shares, and their sum."""
    y, x = _moved(glass, output, tap)
    top, left = math.floor(y), math.floor(x)
    cells = {
        (i, j): _share(glass, (top + i, left + j), (y, x))
        for i, j in itertools.product((0, 1), (0, 1))
    }
    total = sum(read(cell.text) * read(cell.corner) for cell in cells.values())
    block = table("pixels", 2, 2, lambda row, column: cells[row, column])
    block = captioned(block, "green values, with their shares")
    before = _at(glass.place(output, tap))
    lines = (
        f"tap {_at(tap)} of output {_at(output)}",
        f"p = {before} + δ = {_at((y, x))}",
        f"δ = {_at(glass.offset(output, tap))}",
        f"x̂[p] = {float(total):.1f}".replace("-", "−"),
    )
    text: Items = tuple(
        Label(line, 0, 0.8 * number, 0.5, "left") for number, line in enumerate(lines)
    )
    return under(_close(glass, (y, x)), block, text, gap=0.9, align="middle")


def _share(glass: Glass, pixel: tuple[int, int], at: tuple[float, float]) -> Cell:
    """A pixel's green value, 0 … 255, and what part of it a tap at that place reads."""
    share = math.prod(1 - abs(p - i) for p, i in zip(at, pixel, strict=True))
    inside = all(0 <= i < n for i, n in zip(pixel, glass.layer.input_size, strict=True))
    value = float(glass.image[1, *pixel]) * 255 if inside else 0.0
    ref: Ref | None = ("x", (1, *pixel)) if inside else None
    return Cell(0, 0, f"{value:.0f}", "mark", False, f"×{share:.2f}", ref, shade=share)


def _close(glass: Glass, at: tuple[float, float]) -> Items:
    """The photograph around a place, so close that its pixels are seen."""
    top, left = (math.floor(p) - _CLOSE // 2 + 1 for p in at)
    rows, columns = glass.layer.input_size
    inside = glass.image[
        :,
        [min(max(top + i, 0), rows - 1) for i in range(_CLOSE)],
    ][:, :, [min(max(left + j, 0), columns - 1) for j in range(_CLOSE)]]
    photo = _photo(inside, 1.0)
    x, y = photo.place(at[0] - top, at[1] - left)
    near = photo.place(math.floor(at[0]) - top, math.floor(at[1]) - left)
    corners = [(near[0] + dx, near[1] + dy) for dx, dy in ((0, 0), (1, 0), (1, 1), (0, 1), (0, 0))]
    square = Stroke(tuple(corners), "white", 1.6)
    return captioned((photo, square, Dot(x, y, at, "mark")), "one tap, close up")


def _at(place: Sequence[float]) -> str:
    return f"({', '.join(written(round(v, 2)) for v in place)})"


KIND = LayerKind(
    "deform",
    "the sampling points of a deformable convolution over a photograph",
    "forward n1 c1 o1 i240x200 k3x3 p20 d20 float32 cpu",
    build,
)
