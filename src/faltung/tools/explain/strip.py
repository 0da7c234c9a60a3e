"""One axis of a layer as a row of positions, with the first and last windows under it.

The positions are those that the windows slide over: the input of a convolution, the output of a
transposed one. Each knows how many (window, tap) pairs meet it. Long axes are cut in the middle.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...ops.conv.spec import ConvSpec
from ...ops.geometry import Axis

_MOST_CELLS = 44  # more are too small to see
_MOST_WINDOWS = 6


@dataclass(frozen=True)
class Cell:
    """A position, counted from the first of the image, and how often it is read."""

    position: int
    padding: bool
    reads: int


@dataclass(frozen=True)
class Window:
    """A window: its number, and the positions of its taps."""

    number: int
    taps: tuple[int, ...]


@dataclass(frozen=True)
class Strip:
    """An axis: its positions and windows; `cut` is where some are left out, if they are."""

    place: str
    cells: tuple[Cell, ...]
    windows: tuple[Window, ...]
    cut: tuple[int, int] | None
    """Number of cells before the gap, and of those left out in it."""


def strips(spec: ConvSpec, places: Sequence[str]) -> tuple[Strip, ...]:
    """The axes of a layer by their names; those that are alike once."""
    found: dict[Axis, list[str]] = {}
    for axis, place in zip(spec.axes, places, strict=True):
        found.setdefault(axis, []).append(f"{place}s")
    return tuple(_strip(axis, " and ".join(places)) for axis, places in found.items())


def _strip(axis: Axis, place: str) -> Strip:
    low = -axis.padding[0]
    end = axis.input_size + axis.padding[1]
    windows = _windows(axis)
    first, last = _shown(axis, windows, low, end)
    cells = [_cell(axis, i) for i in range(low, end) if i < first or i >= last]
    cut = (first - low, last - first) if last > first else None
    return Strip(place, tuple(cells), tuple(windows), cut)


def _cell(axis: Axis, position: int) -> Cell:
    inside = 0 <= position < axis.input_size
    return Cell(position, not inside, len(axis.readers[position]) if inside else 0)


def _windows(axis: Axis) -> list[Window]:
    """All windows, or the first two and the last two."""
    numbers: Iterable[int] = range(axis.output_size)
    if axis.output_size > _MOST_WINDOWS:
        numbers = (0, 1, axis.output_size - 2, axis.output_size - 1)
    taps = range(axis.kernel_size)
    return [Window(q, tuple(axis.padded_position(q, t) for t in taps)) for q in numbers]


def _shown(axis: Axis, windows: list[Window], low: int, end: int) -> tuple[int, int]:
    """The gap of positions that are left out, between windows that are shown whole."""
    if end - low <= _MOST_CELLS or len(windows) < 2:
        return end, end
    middle = len(windows) // 2
    before = max(window.taps[-1] for window in windows[:middle]) + 2
    after = min(window.taps[0] for window in windows[middle:]) - 1
    return (before, after) if after - before > 2 else (end, end)
