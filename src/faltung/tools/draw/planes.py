"""Tensors laid out as grids: 1-D as a row, 2-D as it is, 3-D slice under slice."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

from ...errors import ArgumentError
from ...ops.geometry import Pairs, Sizes
from .figure import Cell, Grid, Items, Label, written
from .layout import moved
from .limits import MOST_COLUMNS, MOST_ROWS

Make = Callable[[Sizes], Cell]


def planes(
    name: str, size: Sizes, make: Make, padding: Pairs = (), pitch: Sequence[float] = ()
) -> Items:
    """The cells that `make` gives for every position of a 1-D to 3-D tensor.

    Positions count from the first number of the tensor, so that padding starts below zero. `pitch`
    is the distance between cells, an entry per axis of the tensor.
    """
    padding = padding or ((0, 0),) * len(size)
    ranges = [range(-low, n + high) for n, (low, high) in zip(size, padding, strict=True)]
    columns = ranges[-1]
    rows = ranges[-2] if len(size) > 1 else range(1)
    steps = (1.0, 1.0, *pitch)[-2:]
    check_extent(name, len(rows) * (len(ranges[0]) if len(size) == 3 else 1), len(columns))
    if len(size) < 3:
        return (_plane(name, (), rows, columns, make, len(size), steps),)
    found: Items = ()
    for number, d in enumerate(ranges[0]):
        grid = _plane(name, (d,), rows, columns, make, 3, steps)
        label = Label(f"slice {written(d)}", -0.3, len(rows) / 2, 0.4, "right", "faint")
        found += moved((label, grid), 0, number * (len(rows) + 0.45))
    return found


def table(
    name: str, rows: int, columns: int, make: Callable[[int, int], Cell | None], left: float = 0.0
) -> Items:
    """A matrix: the cells that `make` gives for every row and column; None is no cell."""
    check_extent(name, rows, columns)
    cells = (
        (make(row, column), row, column)
        for row, column in itertools.product(range(rows), range(columns))
    )
    placed = tuple(replace(cell, row=r, column=c) for cell, r, c in cells if cell is not None)
    return (Grid(name, placed, left),)


def check_extent(name: str, rows: int, columns: int) -> None:
    """Refuse what no slide can hold."""
    if rows > MOST_ROWS or columns > MOST_COLUMNS:
        raise ArgumentError(
            f"too large to draw: {name} would have {rows} × {columns} cells, a figure holds "
            f"{MOST_ROWS} × {MOST_COLUMNS}"
        )


def _plane(
    name: str,
    outer: Sizes,
    rows: Sequence[int],
    columns: Sequence[int],
    make: Make,
    dims: int,
    steps: Sequence[float],
) -> Grid:
    cells = []
    for (row, i), (column, j) in itertools.product(enumerate(rows), enumerate(columns)):
        place = (*outer, i, j) if dims > 1 else (j,)
        cells.append(replace(make(place), row=row, column=column))
    return Grid(name, tuple(cells), pitch=(steps[0], steps[1]))
