"""Line charts in the report's colours, once for a light page and once for a dark one.

The series colours are Okabe and Ito's, which colour-blind readers can tell apart.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .scene import Chart


@dataclass(frozen=True)
class Ink:
    """The colours of a page: text, faint lines, and the series in order."""

    text: str
    faint: str
    series: tuple[str, ...]


LIGHT = Ink("#1c2024", "#d5dadf", ("#0072b2", "#d55e00", "#009e73", "#a8578a"))
DARK = Ink("#e8eaed", "#3a4048", ("#56b4e9", "#ff9a4d", "#2fd0a5", "#e29bc8"))

Draw = Callable[[Axes, Ink], None]


def chart(draw: Draw, caption: str, alt: str, size: tuple[float, float] = (8.0, 3.2)) -> Chart:
    """A chart drawn by `draw(axes, ink)`; size in inches of 72 points."""
    light = _render(draw, LIGHT, size, "svg")
    dark = _render(draw, DARK, size, "svg")
    return Chart(caption, alt, light, dark, _render(draw, LIGHT, size, "png"))


def _render(draw: Draw, ink: Ink, size: tuple[float, float], kind: str) -> bytes:
    style: Any = {
        "font.size": 10,
        "text.color": ink.text,
        "axes.labelcolor": ink.text,
        "xtick.color": ink.text,
        "ytick.color": ink.text,
        "axes.edgecolor": ink.faint,
        "grid.color": ink.faint,
        "svg.hashsalt": "faltung",
    }
    with rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", linewidth=0.6)
        axes.set_axisbelow(True)
        draw(axes, ink)
        file = io.BytesIO()
        metadata = {"Date": None} if kind == "svg" else None
        figure.savefig(file, format=kind, transparent=True, dpi=200, metadata=metadata)
    return file.getvalue()
