"""What the report is made of: scenes, and the pictures, numbers, lines and claims in them."""

from collections.abc import Sequence
from dataclasses import dataclass

from .line import Line


@dataclass(frozen=True)
class Picture:
    """An image.

    `share` is its part of the column's width, `scale` explains its colours, and `pixelated` keeps
    its pixels apart when it is enlarged.
    """

    caption: str
    alt: str
    image: bytes
    mime: str = "image/png"
    share: float = 1.0
    scale: "Scale | None" = None
    pixelated: bool = False


@dataclass(frozen=True)
class Scale:
    """The colour scale of a picture: its two ends in words and the colours between them."""

    low: str
    high: str
    colours: tuple[str, ...]


@dataclass(frozen=True)
class Grid:
    """A matrix of numbers, coloured by sign and size. `marked` cells get a frame."""

    caption: str
    cells: Sequence[Sequence[float]]
    digits: int = 0
    share: float = 1.0
    marked: frozenset[tuple[int, int]] = frozenset()

    @property
    def largest(self) -> float:
        """Largest magnitude, at least a little."""
        return max((abs(v) for row in self.cells for v in row), default=0.0) or 1.0

    def frame(self, i: int, j: int) -> str:
        """The sides of a marked cell that have no marked neighbour, as the report's classes."""
        if (i, j) not in self.marked:
            return ""
        beside = {"top": (i - 1, j), "bottom": (i + 1, j), "left": (i, j - 1), "right": (i, j + 1)}
        return " ".join(side for side, cell in beside.items() if cell not in self.marked)

    def text(self, value: float) -> str:
        """The number as it is written in its cell."""
        rounded = round(value, self.digits) + 0.0  # adding zero turns −0 into 0
        return f"{rounded:.{self.digits}f}".replace("-", "−")


@dataclass(frozen=True)
class Chart:
    """A drawing in lines: SVG for a light page, for a dark one, and PNG for a slide."""

    caption: str
    alt: str
    light: bytes
    dark: bytes
    png: bytes


Item = Picture | Grid | Chart


@dataclass(frozen=True)
class Claim:
    """A statement that the scene computed: whether it held, and with which numbers."""

    text: str
    held: bool
    numbers: str = ""


@dataclass(frozen=True)
class Strip:
    """Items side by side, `columns` of them in a row on a wide page."""

    items: tuple[Item, ...]
    columns: int


@dataclass(frozen=True)
class Scene:
    """One section of the report. `rows` are the rows of the textbook's table that it shows."""

    name: str
    title: str
    rows: str
    text: str
    strips: tuple[Strip, ...]
    lines: tuple[Line, ...] = ()
    claims: tuple[Claim, ...] = ()


def strip(*items: Item, columns: int | None = None) -> Strip:
    """Items side by side, all in one row unless said otherwise."""
    return Strip(items, columns or len(items))
