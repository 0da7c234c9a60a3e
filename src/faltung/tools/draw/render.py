"""The one renderer: any figure to SVG, PNG or, moving, GIF.

A cell is the unit of everything, also of letters and lines, so that a figure looks the same at any
size. It is drawn with matplotlib, letters as outlines: no font, no LaTeX and no ffmpeg is needed.
"""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Circle, Rectangle
from PIL import Image

from ...errors import ArgumentError
from .figure import Box, Dot, Figure, Frame, Grid, Items, Label, Photo, Stroke, box_of
from .fitting import fitted
from .furniture import furnished
from .limits import MOST_FRAMES
from .theme import Theme

STILLS = ("svg", "png")
_POINTS = 36.0  # points a cell is wide where there is room
_SLIDE = 960.0, 540.0  # points: larger figures get smaller cells instead
_MARGIN = 1 / 50  # of the width, around everything; at least half a cell
_DPI = {"svg": 96, "png": 160, "gif": 80}  # in an SVG only photographs have pixels
_STEP, _LAST_STEP = 700, 2000  # milliseconds a frame is shown


def save(figure: Figure, path: Path, theme: Theme, number: int | None = None) -> None:
    """Write a figure to a file whose ending says how: `.svg`, `.png`, or all frames as `.gif`.

    Raises `ArgumentError` for another ending, a frame that does not exist or that a GIF was asked
    for, and too many frames.
    """
    ending = path.suffix.lower().removeprefix(".")
    if ending == "gif":
        if number is not None:
            raise ArgumentError("--frame is for still pictures: a GIF shows all frames")
        data = _moving(figure, theme)
    elif ending in STILLS:
        data = still(figure, theme, ending, number)
    else:
        raise ArgumentError(f"the file must end in .svg, .png or .gif, got {path.name!r}")
    path.write_bytes(data)


def still(figure: Figure, theme: Theme, ending: str, number: int | None = None) -> bytes:
    """One frame of a figure as SVG or PNG."""
    number = figure.still if number is None else number
    if not 0 <= number < figure.frames:
        raise ArgumentError(f"--frame must be from 0 to {figure.frames - 1}, got {number}")
    frame, note = fitted(figure.frame(number))
    items = furnished(figure, frame.items, frame.bounds, note)
    style: Any = {"svg.hashsalt": "faltung", "svg.fonttype": "path"}
    with rc_context(style):
        canvas = drawn(items, box_of(items), theme)
        file = io.BytesIO()
        kept: Any = {"Title": figure.title, "Description": figure.subtitle}
        if ending == "svg":  # the same figure is the same file, whenever and by whatever it is made
            kept |= {"Date": None, "Creator": "faltung draw"}
        canvas.savefig(file, format=ending, dpi=_DPI[ending], metadata=kept)
    return file.getvalue()


def drawn(items: Items, box: Box, theme: Theme) -> Canvas:
    """A matplotlib figure of that box, with everything in it."""
    left, top, right, bottom = box
    margin = max(0.5, (right - left) * _MARGIN)
    width, height = right - left + 2 * margin, bottom - top + 2 * margin
    point = min(_POINTS, _SLIDE[0] / width, _SLIDE[1] / height)
    canvas = Canvas(figsize=(width * point / 72, height * point / 72), facecolor=theme.page)
    axes = canvas.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(left - margin, right + margin)
    axes.set_ylim(bottom + margin, top - margin)
    for photo in (item for item in items if isinstance(item, Photo)):
        _photo(axes, photo)
    _strokes(axes, (i for i in items if isinstance(i, Stroke) and i.under), theme, point)
    for grid in (item for item in items if isinstance(item, Grid)):
        _grid(axes, grid, theme, point)
    _strokes(axes, (i for i in items if isinstance(i, Stroke) and not i.under), theme, point)
    _dots(axes, [item for item in items if isinstance(item, Dot)], theme, point)
    for label in (item for item in items if isinstance(item, Label)):
        axes.text(
            label.x, label.y, label.text, ha=label.align, va="center_baseline",
            fontsize=label.size * point, color=theme.text(label.role),
            weight="bold" if label.bold else "normal",
        )  # fmt: skip
    return canvas


def _grid(axes: Axes, grid: Grid, theme: Theme, point: float) -> None:
    for lit in (False, True):  # what stands out lies over its neighbours
        cells = [cell for cell in grid.cells if cell.lit == lit]
        if not cells:
            continue
        squares = [Rectangle(grid.corner(cell), 1, 1) for cell in cells]
        axes.add_collection(
            PatchCollection(
                squares,
                facecolors=[theme.fill(cell) for cell in cells],
                edgecolors=[theme.edge(cell) for cell in cells],
                linewidths=point * (0.055 if lit else 0.025),
                linestyles=[(0, (2.5, 2)) if c.role == "padding" else "-" for c in cells],
                zorder=2.2 if lit else 2,
            ),
            autolim=False,
        )
    _phasors(axes, grid, theme, point)
    for cell in grid.cells:
        x, y = grid.corner(cell)
        colour = theme.letters(cell)
        if cell.text:
            raised = 0.42 if cell.corner else 0.5
            size = point * min(0.44 if cell.corner else 0.46, 1.35 / max(len(cell.text), 1))
            axes.text(
                x + 0.5, y + raised, cell.text, ha="center", va="center_baseline", fontsize=size,
                color=colour, zorder=3,
            )  # fmt: skip
        if cell.corner:
            size = point * min(0.24, 1.3 / len(cell.corner))
            axes.text(
                x + 0.93, y + 0.8, cell.corner, ha="right", va="center_baseline", fontsize=size,
                color=colour, zorder=3,
            )  # fmt: skip


def _phasors(axes: Axes, grid: Grid, theme: Theme, point: float) -> None:
    """A disk whose area is the magnitude, with a hand that shows the angle."""
    cells = [(cell, cell.phasor) for cell in grid.cells if cell.phasor is not None]
    largest = max((abs(z) for _, z in cells), default=0.0)
    if not largest:
        return
    disks, hands = [], []
    for cell, z in cells:
        x, y = grid.corner(cell)
        radius = 0.44 * (abs(z) / largest) ** 0.5
        disks.append(Circle((x + 0.5, y + 0.5), radius))
        turn = z / abs(z) if abs(z) > 1e-9 * largest else 0
        hands.append((x + 0.5, y + 0.5, turn.real * radius, -turn.imag * radius))
    hues = [theme.hue(cell.role) for cell, _ in cells]
    axes.add_collection(PatchCollection(disks, facecolors=hues, zorder=2.5), autolim=False)
    for x, y, right, down in hands:
        axes.plot((x, x + right), (y, y + down), color=theme.page, lw=point * 0.06, zorder=2.6)


def _strokes(axes: Axes, strokes: Iterable[Stroke], theme: Theme, point: float) -> None:
    for stroke in strokes:
        width = stroke.width * point / 16
        colour = theme.hue(stroke.role)
        xs, ys = zip(*stroke.points, strict=True)
        depth = 1.5 if stroke.under else 2.8
        axes.plot(
            xs, ys, color=colour, lw=width, ls=(0, (3, 2)) if stroke.dashed else "-", zorder=depth,
            solid_capstyle="round", solid_joinstyle="round",
        )  # fmt: skip
        if stroke.arrow:
            head: Any = {
                "arrowstyle": "-|>", "color": colour, "lw": width, "shrinkA": 0, "shrinkB": 0,
                "mutation_scale": point * 0.4,
            }  # fmt: skip
            axes.annotate("", stroke.points[-1], stroke.points[-2], arrowprops=head)


def _dots(axes: Axes, dots: Sequence[Dot], theme: Theme, point: float) -> None:
    for dot in dots:
        hue = theme.hue(dot.role)
        axes.plot(
            dot.x, dot.y, "o", markersize=point * (0.2 if dot.hollow else 0.28),
            mfc="none" if dot.hollow else hue, mec="white" if not dot.hollow else hue,
            mew=point * (0.05 if dot.hollow else 0.03), zorder=4 if not dot.hollow else 3.5,
        )  # fmt: skip


def _photo(axes: Axes, photo: Photo) -> None:
    pixels = np.frombuffer(photo.rgb, np.uint8).reshape(photo.rows, photo.columns, 3)
    left, top, right, bottom = photo.bounds
    large = photo.scale < 0.5  # its pixels are not to be told apart
    limits = axes.get_xlim(), axes.get_ylim()
    axes.imshow(
        pixels, extent=(left, right, bottom, top), aspect="auto", zorder=1,
        interpolation="lanczos" if large else "nearest",
    )  # fmt: skip
    axes.set_xlim(*limits[0])
    axes.set_ylim(*limits[1])


def _moving(figure: Figure, theme: Theme) -> bytes:
    """All frames as a GIF that starts again; frames share one palette and one box."""
    if figure.frames > MOST_FRAMES:
        raise ArgumentError(
            f"this layer has {figure.frames} frames, a GIF holds {MOST_FRAMES}: draw a smaller "
            "one, or a still picture (.svg, .png; --frame says which)"
        )
    found = [fitted(figure.frame(number)) for number in range(figure.frames)]
    box = box_of_all([frame for frame, _ in found])
    images = []
    for frame, note in found:
        items = furnished(figure, frame.items, box, note)
        canvas = drawn(items, box_of_all([Frame(items), Frame((_corners(box),))]), theme)
        images.append(_pixels(canvas))
    palette = _palette(images, theme)
    paletted = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    lasting = [_STEP] * (len(images) - 1) + [_LAST_STEP]
    file = io.BytesIO()
    paletted[0].save(
        file, "GIF", save_all=True, append_images=paletted[1:], duration=lasting, loop=0,
    )  # fmt: skip
    return file.getvalue()


def box_of_all(frames: Sequence[Frame]) -> Box:
    """The box around all frames."""
    lefts, tops, rights, bottoms = zip(*(frame.bounds for frame in frames), strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def _corners(box: Box) -> Stroke:
    return Stroke(((box[0], box[1]), (box[2], box[3])))


def _pixels(canvas: Canvas) -> Image.Image:
    file = io.BytesIO()
    canvas.savefig(file, format="png", dpi=_DPI["gif"])
    return Image.open(file).convert("RGB")


def _palette(images: Sequence[Image.Image], theme: Theme) -> Image.Image:
    """256 colours that serve the first, the middle and the last frame; the page is one of them."""
    some = [images[0], images[len(images) // 2], images[-1]]
    wide = Image.new("RGB", (some[0].width, sum(image.height for image in some)))
    for number, image in enumerate(some):
        wide.paste(image, (0, number * image.height))
    found = wide.quantize(255, dither=Image.Dither.NONE)
    page = [round(255 * value) for value in theme.hue("page")]
    found.putpalette([*(found.getpalette() or [])[: 255 * 3], *page])
    return found
