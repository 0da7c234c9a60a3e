"""What a frame that is too large for a slide loses: first its numbers, then it is refused."""

from dataclasses import replace

from ...errors import ArgumentError
from .figure import Frame, Grid, Item, Label
from .limits import MOST_COLUMNS, MOST_ROWS, READABLE_COLUMNS, READABLE_ROWS

_ROOM = 2.2  # how much labels beside rows can grow before they meet
_SIGN = 0.9  # font size from which a centred label is a sign, and stays as it is


def fitted(frame: Frame) -> tuple[Frame, str]:
    """The frame as it can be shown, and a sentence on what was left out, if anything was.

    Raises `ArgumentError` if it cannot be shown at all.
    """
    left, top, right, bottom = frame.bounds
    width, height = round(right - left), round(bottom - top)
    if width > MOST_COLUMNS or height > MOST_ROWS:
        raise ArgumentError(
            f"too large to draw: {width} × {height} cells, a figure holds "
            f"{MOST_COLUMNS} × {MOST_ROWS}"
        )
    if width <= READABLE_COLUMNS and height <= READABLE_ROWS:
        return frame, ""
    note = (
        f"Numbers are left out: this figure is {width} × {height} cells, and they can be read up "
        f"to {READABLE_COLUMNS} × {READABLE_ROWS}."
    )
    times = max(width / READABLE_COLUMNS, height / READABLE_ROWS)
    shown = (_without_numbers(item, times) for item in frame.items)
    return Frame(tuple(item for item in shown if item is not None)), note


def _without_numbers(item: Item, times: float) -> Item | None:
    """Cells without their numbers; captions and the sentence as many times larger, others gone."""
    if isinstance(item, Grid):
        return replace(item, cells=tuple(replace(cell, text="", corner="") for cell in item.cells))
    if not isinstance(item, Label):
        return item
    if item.role == "formula":
        return replace(item, size=item.size * times, y=item.y + (times - 1) * 0.9)
    if item.align != "center":
        return replace(item, size=item.size * min(times, _ROOM))
    if item.bold:
        return replace(item, size=item.size * times, y=item.y - (times - 1) * 0.6)
    return item if item.size >= _SIGN else None
