"""Sums of a tile whose lanes are several small groups of channels.

Pixels are loaded with the inputs of all groups of a vector, or sums of such pixels from several
rows are added up; each turn picks one input of its group for every lane (see `group_lanes`) and
multiplies it by the weights of the taps that read it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...lang.ops import Buffer
from ...lang.routine import Routine, Value
from ...ops.geometry import Axis
from ..channels.sums import looped
from ..rows.pairs import Combined
from .ahead import Ahead
from .lanes import GroupLanes
from .tile import GroupTile, readers


@dataclass(frozen=True)
class Line:
    """What the first tap of a tile's first output reads: a pixel's first input, and its column.

    `row` is the number of the image's row, where rows that are not there may be read, else None;
    `weights` is where those of the first tap lie; `outside` are the pixels, by their distance from
    the first one, that are not there for some tiles, of those that a tap of the tile reads.
    """

    pixel: Value
    column: Value
    row: Value | None
    weights: Value
    outside: frozenset[int]


@dataclass(frozen=True)
class RowOfSum:
    """A row of the image in a sum of rows: where its first pixel is, and what it counts.

    `inside` says whether it is there, None where it always is; if not, `pixel` is of another one.
    """

    pixel: Value
    factor: float
    inside: Value | None


@dataclass(frozen=True)
class GroupSums:
    """Records sums from an image of so many `channels`; `rows` and `columns` are its axes.

    `steady` are the rows of a pair that are always there (see `borders`).
    """

    r: Routine
    x: Buffer
    w: Buffer
    lanes: GroupLanes
    tile: GroupTile
    rows: Axis
    columns: Axis
    channels: int
    steady: range

    @property
    def row_weights(self) -> int:
        """Numbers of the weights of a kernel row or product."""
        return self.lanes.inputs * self.columns.kernel_size * self.lanes.lanes

    def over_columns(self, sums: Sequence[Value], line: Line, ahead: Ahead) -> Sequence[Value]:
        """One kernel row, as many taps at a time as the tile takes."""
        r, taps = self.r, self.tile.taps
        whole, rest = divmod(self.columns.kernel_size, taps)
        step = taps * self.columns.dilation

        def turn(n: Value, sums: Sequence[Value], count: int = taps) -> Sequence[Value]:
            some = replace(
                line, pixel=line.pixel + n * (step * self.channels), column=line.column + n * step,
                weights=line.weights + n * (taps * self.lanes.lanes),
            )  # fmt: skip
            return self._over_taps(sums, some, count, ahead)

        sums = looped(r, (r.const(0), r.const(whole)), sums, turn)
        return turn(r.const(whole), sums, rest) if rest else sums

    def _over_taps(
        self, sums: Sequence[Value], line: Line, taps: int, ahead: Ahead
    ) -> Sequence[Value]:
        """Some neighbouring taps, turn by turn; in each, a pixel once for all taps that read it."""
        found = list(sums)
        of_pixel = readers(self.tile.columns, taps, self.columns)
        masks = {place: self._masks(self._column(line, place)[1]) for place in of_pixel}
        for turn in range(self.lanes.turns(self.tile.sets)):
            self.r.cut()  # or LLVM keeps what is loaded for the next turn, and stores it for that
            for place in sorted(of_pixel, key=lambda place: (place % self.columns.stride, place)):
                pixel = self._pixel(line.pixel + place * self.channels, masks[place])
                number = self.lanes.picked(self.r, pixel, turn)
                self._multiply(found, number, line, turn, of_pixel[place], ahead)
        return found

    def product(
        self, sums: Sequence[Value], line: Line, product: Combined, ahead: Ahead
    ) -> list[Value]:
        """One product of a pair of rows; `line` is the row that the first tap sees.

        For some pixels at a time: as many as leave registers for their weights.
        """
        found, of_pixel = list(sums), readers(self.tile.columns, self.tile.taps, self.columns)
        places, some = list(of_pixel), self.tile.some
        rows = [self._row(line, offset, factor) for offset, factor in product.rows]
        for first in range(0, len(places), some):
            self.r.cut()  # or LLVM keeps what is loaded for later, and stores it for that
            these = places[first : first + some]
            pixels = {place: self._combined(line, rows, place) for place in these}
            for turn in range(self.lanes.turns(self.tile.sets)):
                self.r.cut()
                for place in these:
                    number = self.lanes.picked(self.r, pixels[place], turn)
                    self._multiply(found, number, line, turn, of_pixel[place], ahead)
        return found

    def _multiply(
        self, sums: list[Value], number: Value, line: Line, turn: int,
        of_number: Sequence[tuple[int, int]], ahead: Ahead,
    ) -> None:  # fmt: skip
        """Add the products of what was picked with the weights of the taps that read it."""
        size, sets = self.lanes.lanes, self.tile.sets
        for part in range(sets):
            ahead.chance()
            of_all = turn + part * self.lanes.turns(sets)
            for output, tap in of_number:
                at = line.weights + (of_all * self.columns.kernel_size + tap) * size
                n = part * self.tile.columns + output
                sums[n] = self.r.fma(number, self.r.load(self.w, at, size), sums[n])

    def _row(self, line: Line, offset: int, factor: float) -> RowOfSum:
        """The row that lies so many below the first tap's, or the nearest one that is there."""
        r, width = self.r, self.columns.input_size * self.channels
        if line.row is None or offset in self.steady:
            return RowOfSum(line.pixel + offset * width, factor, None)
        row = line.row + offset
        nearest = r.minimum(r.maximum(row, 0), self.rows.input_size - 1)
        inside = ~(row < 0) & (row < self.rows.input_size)
        return RowOfSum(line.pixel + (nearest - line.row) * width, factor, inside)

    def _combined(self, line: Line, rows: Sequence[RowOfSum], place: int) -> list[Value]:
        """The sum of rows at a pixel; where it is outside, that of the nearest one, made 0."""
        at, there = self._column(line, place)
        return self._there(there, self._total(rows, at))

    def _total(self, rows: Sequence[RowOfSum], at: Value | int) -> list[Value]:
        """The sum of rows at a pixel, each with its factor; those that are not there left out."""
        first, *others = rows
        total = self._pixel(first.pixel + at, self._masks(first.inside))
        if first.factor != 1:
            total = [added(self.r, None, value, first.factor) for value in total]
        for row in others:
            pixel = self._pixel(row.pixel + at, self._masks(None))
            both = list(zip(total, pixel, strict=True))
            found = [added(self.r, a, b, row.factor) for a, b in both]
            if row.inside is not None:
                both = list(zip(found, total, strict=True))
                found = [self._where(row.inside, a, b) for a, b in both]
            total = found
        return total

    def _there(self, there: Value | None, pixel: list[Value]) -> list[Value]:
        """A pixel, or zeros where it is outside of the image."""
        if there is None:
            return pixel
        # an addition has such a mask for nothing, which a load has not
        nothing = self.r.const(0, pixel[0].type.kind, self.lanes.lanes)
        return [self._where(there, value, nothing) for value in pixel]

    def _column(self, line: Line, place: int) -> tuple[Value | int, Value | None]:
        """How far from a line's first pixel another one is, or the nearest that is there."""
        if place not in line.outside:
            return place * self.channels, None
        r, column, last = self.r, line.column + place, self.columns.input_size - 1
        nearest = r.minimum(r.maximum(column, 0), last)
        return (nearest - line.column) * self.channels, ~(column < 0) & (column < last + 1)

    def _where(self, condition: Value, a: Value, b: Value) -> Value:
        """All lanes of the one vector or of the other: the mask of what makes the first."""
        r, size = self.r, self.lanes.lanes
        return r.select(r.select(condition, r.mask([True] * size), r.mask([False] * size)), a, b)

    def _masks(self, inside: Value | None) -> list[Value | None]:
        """Of each vector of a pixel's inputs, which to read; none if the pixel is outside."""
        r, lanes = self.r, self.lanes
        sizes = [min(lanes.lanes, lanes.read - v * lanes.lanes) for v in range(lanes.vectors)]
        if inside is None:
            return [None if n == lanes.lanes else r.below(n, lanes.lanes) for n in sizes]
        nothing = r.mask([False] * lanes.lanes)
        exist = [r.mask([lane < n for lane in range(lanes.lanes)]) for n in sizes]
        return [r.select(inside, mask, nothing) for mask in exist]

    def _pixel(self, at: Value, masks: Sequence[Value | None]) -> list[Value]:
        """The inputs of a vector's groups at a pixel."""
        size = self.lanes.lanes
        return [self.r.load(self.x, at + v * size, size, mask) for v, mask in enumerate(masks)]


def added(r: Routine, total: Value | None, value: Value, factor: float) -> Value:
    """total + factor · value, in one operation."""
    if total is not None and abs(factor) == 1:
        return total + value if factor == 1 else total - value
    factors = r.const(factor, value.type.kind, value.type.lanes)
    return value * factors if total is None else r.fma(value, factors, total)
