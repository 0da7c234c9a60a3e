"""Colours by role, for a light page and a dark one.

The hues are Okabe and Ito's, which colour-blind readers can tell apart; a cell is its hue thinned
with the page, so that the number in it stays readable.

Source: Okabe and Ito, "Color Universal Design", 2008, figure 16.
"""

from dataclasses import dataclass

from ...errors import ArgumentError
from .figure import Cell

Colour = tuple[float, float, float]

ORANGE, SKY, GREEN, YELLOW = "#e69f00", "#56b4e9", "#009e73", "#f0e442"
BLUE, VERMILION, PURPLE = "#0072b2", "#d55e00", "#cc79a7"

SERIES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
"""Filters and groups in order; the seventh looks like the first."""

_HUES = {
    "input": BLUE, "weight": ORANGE, "output": GREEN, "count": PURPLE, "mark": VERMILION,
    **{f"series{number}": hue for number, hue in enumerate(SERIES)},
}  # fmt: skip


@dataclass(frozen=True)
class Theme:
    """The colours of a page.

    `rest` and `lit` say how much of its hue a cell has, at rest and where it stands out, `line` how
    much the line around it.
    """

    name: str
    page: str
    ink: str
    faint: str
    grey: str
    rest: float
    lit: float
    line: float

    def hue(self, role: str) -> Colour:
        """The full colour of a role, for lines."""
        plain = {"ink": self.ink, "faint": self.faint, "page": self.page, "white": "#ffffff"}
        return parsed(plain.get(role) or _HUES.get(role, self.grey))

    def text(self, role: str) -> Colour:
        """The colour of words: a hue is mixed with ink until it can be read on the page."""
        if role in ("ink", "formula"):
            return parsed(self.ink)
        if role == "faint":
            return parsed(self.faint)
        return mixed(self.hue(role), parsed(self.ink), 0.55)

    def fill(self, cell: Cell) -> Colour:
        """What a cell is filled with."""
        page = parsed(self.page)
        if cell.role in ("blank", "padding", "zero") and not cell.lit:
            return page
        if cell.shade is not None:
            return mixed(self.hue(cell.role), page, 0.04 + (self.lit - 0.04) * cell.shade)
        strength = self.lit if cell.lit else self.rest
        return mixed(self.hue(cell.role), page, strength)

    def edge(self, cell: Cell) -> Colour:
        """The line around a cell."""
        page, hue = parsed(self.page), self.hue(cell.role)
        if cell.lit:
            return mixed(hue, parsed(self.ink), 0.75)
        return mixed(hue, page, self.line)

    def letters(self, cell: Cell) -> Colour:
        """The number in a cell; what stands for nothing is fainter."""
        quiet = cell.role in ("padding", "zero", "unread", "blank") and not cell.lit
        return parsed(self.faint if quiet else self.ink)


LIGHT = Theme("light", "#ffffff", "#14181c", "#5d6670", "#8a939c", rest=0.15, lit=0.48, line=0.45)
DARK = Theme("dark", "#15181c", "#f2f4f6", "#9aa4ae", "#6f7880", rest=0.28, lit=0.58, line=0.65)
THEMES = {theme.name: theme for theme in (LIGHT, DARK)}


def theme_of(name: str) -> Theme:
    """The theme of that name."""
    if name not in THEMES:
        raise ArgumentError(f"--theme must be one of {', '.join(THEMES)}, got {name!r}")
    return THEMES[name]


def parsed(colour: str) -> Colour:
    """Red, green and blue from 0 to 1.

    >>> parsed("#ff0000")
    (1.0, 0.0, 0.0)
    """
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue


def mixed(colour: Colour, other: Colour, part: float) -> Colour:
    """`part` of a colour and the rest of another."""
    red, green, blue = (part * a + (1 - part) * b for a, b in zip(colour, other, strict=True))
    return red, green, blue


def contrast(colour: Colour, other: Colour) -> float:
    """How well one can be read on the other, 1 … 21: WCAG 2's ratio of luminances.

    >>> round(contrast(parsed("#ffffff"), parsed("#000000")))
    21
    """
    light, dark = sorted((_luminance(colour), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: Colour) -> float:
    linear = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
