"""What stands around every figure: title and subtitle above it, legend and note below."""

from dataclasses import replace

from .figure import Box, Figure, Grid, Items, Key, Label, text_width

_TITLE, _SUBTITLE, _WORDS = 0.72, 0.5, 0.45  # font sizes


def furnished(figure: Figure, items: Items, box: Box, note: str = "") -> Items:
    """The items of a frame with title, legend and note around the box."""
    left, top, right, bottom = box
    grown = max(1.0, (right - left) / 26)  # letters keep pace with a figure that is shrunk to fit
    wide = max(
        text_width(figure.title, _TITLE * grown, bold=True),
        text_width(figure.subtitle, _SUBTITLE * grown),
    )
    spare = max(wide - (right - left), 0.0) / 2  # a narrow figure stands in the middle
    left, right = left - spare, right + spare
    title = Label(figure.title, left, top - 1.95 * grown, _TITLE * grown, "left", bold=True)
    subtitle = Label(figure.subtitle, left, top - 1.0 * grown, _SUBTITLE * grown, "left", "faint")
    words = _WORDS * grown
    legend, y = _legend(figure.legend, left, right, bottom + 1.3 * grown, words, bare=bool(note))
    found = (*items, title, subtitle, *legend)
    if note:
        found += (Label(note, left, y + 0.3 * grown, words, "left", "faint"),)
    return found


def _legend(
    keys: tuple[Key, ...], left: float, right: float, y: float, size: float, *, bare: bool
) -> tuple[Items, float]:
    """Keys from left to right, on as many lines as they need; and where the next line would be.

    `bare` squares have no number in them, like the cells of a figure that is too large for numbers.
    """
    found: Items = ()
    x = left
    line = 0.8 + 1.3 * size
    for key in keys:
        start = 1 + 0.6 * size
        room = start + text_width(key.words, size)
        if x > left and x + room > right:
            x, y = left, y + line
        text, corner = ("", "") if bare else (key.cell.text, key.cell.corner)
        cell = replace(key.cell, row=0, column=0, text=text, corner=corner)
        square = Grid("legend", (cell,), x, y - 0.5)
        found += (square, Label(key.words, x + start, y, size, "left"))
        x += room + 2 * size
    return found, y + (line if keys else 0.0)
