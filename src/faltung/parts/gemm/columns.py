"""The tiles of a row of outputs, and what those at its borders do not see.

A tap of an output near a border may lie in the padding. Where tiles there are written down one by
one, each tap has just the outputs that see the image through it, and nothing is read or multiplied
for the padding.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from .problem import Span

Places = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class ColumnTiles:
    """Tiles of `width` outputs of a row that begin at first, first + width, … below end.

    `places` are, where they are known to differ, the outputs that see no padding, tap by tap.
    """

    width: int
    first: int
    end: int
    places: Places | None = None

    @property
    def runs(self) -> Iterator[tuple[int, int]]:
        """Neighbouring taps that the same outputs have: how many taps, and how many outputs."""
        for some, equal in groupby(self.places or ()):
            yield len(tuple(equal)), len(some)


def alike(span: Span, width: int) -> list[ColumnTiles]:
    """The tiles of a row where padding is read like everything else; the last may be narrower."""
    whole = span.outputs // width * width
    found = [ColumnTiles(width, 0, whole)] if whole else []
    if whole < span.outputs:
        found.append(ColumnTiles(span.outputs - whole, whole, span.outputs))
    return found


def apart(span: Span, width: int) -> list[ColumnTiles]:
    """The tiles of a row: those inside the image as one, each of the others by itself.

    >>> [(t.first, t.places) for t in apart(Span(4, 4, kernel_size=3, low=1), 2)]
    [(0, ((1,), (0, 1), (0, 1))), (2, ((0, 1), (0, 1), (0,)))]
    """
    first, end = 0, span.outputs
    while first < end and not _is_plain(span, first, width):
        first += width
    before = [_one(span, begin, width) for begin in range(0, min(first, end), width)]
    if first >= end:
        return before
    behind = end // width * width
    while not _is_plain(span, behind - width, width):
        behind -= width
    after = [_one(span, begin, width) for begin in range(behind, end, width)]
    return [*before, ColumnTiles(width, first, behind), *after]


def _is_plain(span: Span, first: int, width: int) -> bool:
    return first + width <= span.outputs and span.is_inside(first, width)


def _one(span: Span, first: int, width: int) -> ColumnTiles:
    size = min(width, span.outputs - first)
    if span.is_inside(first, size):
        return ColumnTiles(size, first, first + size)
    places = tuple(
        tuple(n for n in range(size) if 0 <= span.place(first + n, tap) < span.inputs)
        for tap in range(span.kernel_size)
    )
    return ColumnTiles(size, first, first + size, places)
