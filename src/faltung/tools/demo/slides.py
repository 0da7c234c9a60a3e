"""PNGs of 1920×1080 to be put on slides: a scene's title, one strip of it, its lines of code."""

import io
import math
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from .chart import LIGHT
from .scene import Chart, Grid, Item, Picture, Scene, Strip

SIZE = (19.2, 10.8)  # inches of 100 pixels
TOP, BOTTOM, SIDE, GAP = 0.87, 0.20, 0.04, 0.025  # of the slide
MOST_LINES = 3


def write_slides(scenes: list[Scene], folder: Path) -> list[Path]:
    """Write every strip of every scene as `name-1.png`, `name-2.png`, … and return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for scene in scenes:
        for number, strip in enumerate(scene.strips, start=1):
            path = folder / f"{scene.name}-{number}.png"
            with rc_context({"text.color": LIGHT.text}):
                _slide(scene, strip).savefig(path, facecolor="white")
            paths.append(path)
    return paths


def _slide(scene: Scene, strip: Strip) -> Figure:
    figure = Figure(figsize=SIZE, dpi=100)
    figure.text(SIDE, 0.935, scene.title, fontsize=30, weight="bold", va="center")
    for number, line in enumerate(scene.lines[:MOST_LINES]):
        figure.text(SIDE, 0.115 - 0.036 * number, line.text, fontsize=16, family="monospace")
    lines = math.ceil(len(strip.items) / strip.columns)
    width = (1 - 2 * SIDE - GAP * (strip.columns - 1)) / strip.columns
    height = (TOP - BOTTOM - 0.06 * (lines - 1)) / lines
    for number, item in enumerate(strip.items):
        row, column = divmod(number, strip.columns)
        bottom = TOP - height - row * (height + 0.06)
        axes = figure.add_axes((SIDE + column * (width + GAP), bottom, width, height))
        axes.set_axis_off()
        _draw(axes, item, (width * SIZE[0], height * SIZE[1]))
        axes.set_title(item.caption, y=-0.04, va="top", fontsize=17, color="#59626c")
    return figure


def _draw(axes: Axes, item: Item, room: tuple[float, float]) -> None:
    if isinstance(item, Grid):
        _draw_grid(axes, item, room)
        return
    encoded = item.png if isinstance(item, Chart) else item.image
    with Image.open(io.BytesIO(encoded)) as opened:
        pixels = np.asarray(opened.convert("RGBA"))
    small = isinstance(item, Picture) and item.pixelated
    axes.imshow(pixels, interpolation="nearest" if small else "antialiased")
    if isinstance(item, Picture) and item.share < 1:
        _leave_room(axes, item.share)


def _leave_room(axes: Axes, share: float) -> None:
    """Room around a picture that is smaller than the others in its strip."""
    for limits, set_limits in ((axes.get_xlim(), axes.set_xlim), (axes.get_ylim(), axes.set_ylim)):
        middle, half = sum(limits) / 2, (limits[1] - limits[0]) / 2 / share
        set_limits(middle - half, middle + half)


def _draw_grid(axes: Axes, grid: Grid, room: tuple[float, float]) -> None:
    values = np.array(grid.cells)
    strength = 0.5 * np.abs(values)[..., None] / grid.largest
    plus, minus = np.array(to_rgb(LIGHT.series[0])), np.array(to_rgb(LIGHT.series[1]))
    colour = np.where(values[..., None] < 0, minus, plus)
    axes.imshow(1 - strength * (1 - colour))
    rows, columns = values.shape
    cell = 72 * min(room[0] / columns, room[1] / rows)  # points
    longest = max(len(grid.text(value)) for value in values.flat)
    size = min(0.42 * cell, 1.3 * cell / longest)
    for i in range(rows):
        for j in range(columns):
            weight = "bold" if (i, j) in grid.marked else "normal"
            text = grid.text(values[i, j])
            axes.text(j, i, text, ha="center", va="center", fontsize=size, weight=weight)
    for i in range(rows + 1):
        axes.axhline(i - 0.5, color=LIGHT.faint, lw=1)
    for j in range(columns + 1):
        axes.axvline(j - 0.5, color=LIGHT.faint, lw=1)
