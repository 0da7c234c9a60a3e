"""Sums of a tile of four rows of outputs, whose lanes are several small groups of channels.

Sums of rows of the image are added up in registers, and picked from for every turn; see
`parts.rows.fours` for which rows. The two products of such sums take turns, so that a column's
additions to one have the time that those to the other take.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from ...lang.routine import Value
from ..rows.fours import ENDS, TWINS, Rows
from .ahead import Ahead
from .sums import GroupSums, Line, RowOfSum, added
from .tile import readers


class FourRowSums(GroupSums):
    """Records the products of four rows; a line is the row that the first tap sees."""

    def twins(self, sums: Sequence[Value], line: Line, number: int, ahead: Ahead) -> list[Value]:
        """Both products of a pair of twins; `sums` are those of one, and then of the other."""
        twins, half = TWINS[number], len(sums) // 2
        even, odd = self._rows(line, twins.even), self._rows(line, twins.odd)

        def made(place: int) -> list[list[Value]]:
            at, there = self._column(line, place)
            both = list(zip(self._total(even, at), self._total(odd, at), strict=True))
            found = []
            for point in (twins.point, -twins.point):
                sums = [added(self.r, e, o, point) for e, o in both]
                found.append(self._there(there, sums))
            return found

        # half of the pixels at a time: twice as many sums would not stay in registers
        some = -(-self._pixels // 2)
        numbers = (2 * number, 2 * number + 1)
        first, second = self._summed([sums[:half], sums[half:]], line, numbers, made, some, ahead)
        return [*first, *second]

    def end(self, sums: Sequence[Value], line: Line, number: int, ahead: Ahead) -> list[Value]:
        """The product that only the first of the four rows has, or only the last."""
        rows = self._rows(line, ENDS[number])

        def made(place: int) -> list[list[Value]]:
            at, there = self._column(line, place)
            return [self._there(there, self._total(rows, at))]

        # all pixels at once: sums of half of them would wait for each other
        (found,) = self._summed([sums], line, (4 + number,), made, self._pixels, ahead)
        return found

    @property
    def _pixels(self) -> int:
        """Pixels of a row that a tile reads."""
        return len(readers(self.tile.columns, self.tile.taps, self.columns))

    def _summed(
        self, sums: Sequence[Sequence[Value]], line: Line, numbers: Sequence[int],
        made: Callable[[int], list[list[Value]]], some: int, ahead: Ahead,
    ) -> list[list[Value]]:  # fmt: skip
        """Add the products of those numbers to their sums, of some pixels at a time."""
        found = [list(of_product) for of_product in sums]
        lines = [replace(line, weights=line.weights + n * self.row_weights) for n in numbers]
        of_pixel = readers(self.tile.columns, self.tile.taps, self.columns)
        places = list(of_pixel)
        for first in range(0, len(places), some):
            self.r.cut()  # or LLVM keeps what is loaded for later, and stores it for that
            pixels = {place: made(place) for place in places[first : first + some]}
            for turn in range(self.lanes.inputs):
                self.r.cut()
                for n, one in enumerate(lines):
                    for place, of_products in pixels.items():
                        number = self.lanes.picked(self.r, of_products[n], turn)
                        self._multiply(found[n], number, one, turn, of_pixel[place], ahead)
        return found

    def _rows(self, line: Line, rows: Rows) -> list[RowOfSum]:
        """The rows of a sum, those that are always there first, and of them such without factor."""
        found = [self._row(line, offset, factor) for offset, factor in rows]
        return sorted(found, key=lambda row: (row.inside is not None, row.factor != 1))
