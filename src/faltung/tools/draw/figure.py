"""What a figure is: plain data, with every number and what it stands for, and no drawing.

    Figure    title, legend, and frames: one for a still picture, all of them for a moving one
    Frame     things in a plane: x to the right, y down, the side of one cell is the unit
    Cell      one square: the number written in it, which number of which tensor that is (`ref`),
              and which weights multiply it in this frame (`weights`)

So the relation that a figure shows (this output, these inputs, these weights) can be read back out
of it and compared with the index map. `kinds` make figures, `render` draws any of them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

Ref = tuple[str, tuple[int, ...]]
"""One number of a tensor: its name in the figure, and its index there."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""

LETTER = 0.57
"""Width of an average letter, in font sizes: what layouts reckon with before anything is drawn."""


@dataclass(frozen=True)
class Cell:
    """One square of a grid.

    `role` picks its colour, `lit` makes it stand out in this frame, `corner` is a second, smaller
    number. `shade` (0 … 1) sets how strong the colour is; `phasor` is a complex number that is
    drawn as a disk with a hand.
    """

    row: int = 0
    column: int = 0
    text: str = ""
    role: str = "blank"
    lit: bool = False
    corner: str = ""
    ref: Ref | None = None
    weights: tuple[Ref, ...] = ()
    shade: float | None = None
    phasor: complex | None = None


@dataclass(frozen=True)
class Grid:
    """Cells in rows and columns; `name` says which tensor (slices of one tensor share it).

    `pitch` is the distance from cell to cell, down and to the right.
    """

    name: str
    cells: tuple[Cell, ...]
    left: float = 0.0
    top: float = 0.0
    pitch: tuple[float, float] = (1.0, 1.0)

    @cached_property
    def bounds(self) -> Box:
        """The box around all cells."""
        corners = [self.corner(cell) for cell in self.cells]
        left, top = min(x for x, _ in corners), min(y for _, y in corners)
        return left, top, max(x for x, _ in corners) + 1, max(y for _, y in corners) + 1

    def corner(self, cell: Cell) -> tuple[float, float]:
        """Left and top of a cell."""
        return self.left + cell.column * self.pitch[1], self.top + cell.row * self.pitch[0]

    def moved(self, right: float, down: float) -> "Grid":
        """The same grid at another place."""
        return replace(self, left=self.left + right, top=self.top + down)


@dataclass(frozen=True)
class Label:
    """A line of text. x is its left end, middle or right end as `align` says, y its middle."""

    text: str
    x: float = 0.0
    y: float = 0.0
    size: float = 0.5
    align: str = "center"
    role: str = "ink"
    bold: bool = False

    @property
    def bounds(self) -> Box:
        """The box that the text needs, reckoned."""
        width, half = text_width(self.text, self.size, bold=self.bold), self.size * 0.6
        left = self.x - {"left": 0.0, "center": 0.5, "right": 1.0}[self.align] * width
        return left, self.y - half, left + width, self.y + half

    def moved(self, right: float, down: float) -> "Label":
        """The same text at another place."""
        return replace(self, x=self.x + right, y=self.y + down)


@dataclass(frozen=True)
class Stroke:
    """A line through points (x, y): `width` in sixteenths of a cell, perhaps with an arrow's head.

    `under` puts it behind the cells.
    """

    points: tuple[tuple[float, float], ...]
    role: str = "ink"
    width: float = 1.0
    dashed: bool = False
    arrow: bool = False
    under: bool = False

    @property
    def bounds(self) -> Box:
        """The box around its points."""
        xs, ys = [x for x, _ in self.points], [y for _, y in self.points]
        return min(xs), min(ys), max(xs), max(ys)

    def moved(self, right: float, down: float) -> "Stroke":
        """The same line at another place."""
        return replace(self, points=tuple((x + right, y + down) for x, y in self.points))


@dataclass(frozen=True)
class Dot:
    """A point on a photograph, `x` and `y` in cells; `at` is the place in pixels, row first."""

    x: float
    y: float
    at: tuple[float, float]
    role: str = "weight"
    hollow: bool = False
    ref: Ref | None = None
    weights: tuple[Ref, ...] = ()

    @property
    def bounds(self) -> Box:
        """The point with its disk."""
        return self.x - 0.2, self.y - 0.2, self.x + 0.2, self.y + 0.2

    def moved(self, right: float, down: float) -> "Dot":
        """The same point at another place."""
        return replace(self, x=self.x + right, y=self.y + down)


@dataclass(frozen=True)
class Photo:
    """A photograph: `rgb` holds rows × columns × 3 bytes, a pixel's side is `scale` cells."""

    rgb: bytes
    rows: int
    columns: int
    scale: float
    left: float = 0.0
    top: float = 0.0

    @property
    def bounds(self) -> Box:
        """The box of the photograph."""
        right, bottom = self.left + self.columns * self.scale, self.top + self.rows * self.scale
        return self.left, self.top, right, bottom

    def place(self, row: float, column: float) -> tuple[float, float]:
        """x and y of a place in pixels; (0, 0) is the middle of the first pixel."""
        return self.left + (column + 0.5) * self.scale, self.top + (row + 0.5) * self.scale

    def moved(self, right: float, down: float) -> "Photo":
        """The same photograph at another place."""
        return replace(self, left=self.left + right, top=self.top + down)


Item = Grid | Label | Stroke | Dot | Photo
Items = tuple[Item, ...]


@dataclass(frozen=True)
class Frame:
    """One picture."""

    items: Items

    @property
    def grids(self) -> Iterator[Grid]:
        """Its grids."""
        return (item for item in self.items if isinstance(item, Grid))

    def cells(self, name: str) -> list[Cell]:
        """All cells of the grids of that name."""
        return [cell for grid in self.grids if grid.name == name for cell in grid.cells]

    def lit(self, name: str) -> list[Cell]:
        """The cells of the grids of that name that stand out."""
        return [cell for cell in self.cells(name) if cell.lit]

    @cached_property
    def bounds(self) -> Box:
        """The box around everything."""
        return box_of(self.items)


@dataclass(frozen=True)
class Key:
    """One entry of the legend: a cell as it looks, and what that means."""

    cell: Cell
    words: str


@dataclass(frozen=True)
class Figure:
    """A picture of one kind, still or moving.

    `frame(number)` makes a frame when it is wanted: an image of 100 × 100 outputs has 10,000 of
    them. `still` is the one to show where only one can be shown.
    """

    kind: str
    title: str
    subtitle: str
    frames: int
    frame: Callable[[int], Frame]
    still: int = 0
    legend: tuple[Key, ...] = ()


def box_of(items: Items) -> Box:
    """The box around items."""
    boxes = [item.bounds for item in items]
    left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
    return left, top, max(box[2] for box in boxes), max(box[3] for box in boxes)


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Cells that a line of text is wide, reckoned."""
    return len(text) * size * LETTER * (1.12 if bold else 1.0)


def written(value: float | Fraction) -> str:
    """A number as it is written in a cell.

    >>> written(-3), written(Fraction(-1, 2)), written(0.33333), written(2.0)
    ('−3', '−1/2', '0.33', '2')
    """
    if isinstance(value, float):
        return f"{round(value, 2) + 0.0:.6g}".replace("-", "−")  # adding zero turns −0 into 0
    return str(value).replace("-", "−")


def read(text: str) -> Fraction:
    """The number that a cell shows; the inverse of `written` for whole numbers and fractions.

    >>> read("−1/2"), read("×3")
    (Fraction(-1, 2), Fraction(3, 1))
    """
    return Fraction(text.lstrip("×").replace("−", "-"))
