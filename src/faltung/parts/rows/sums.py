"""Sums of rows of an image, with zeros beside them, in memory of a thread's own.

    panel [kernel plane, sum, column, channel]   channels last
    panel [kernel plane, sum, channel, column]   contiguous

What a pair of output rows multiplies: see `row_pairs`. Rows outside of the image count as zeros.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from ...lang.ops import Buffer
from ...lang.routine import Operand, Routine, Value
from ...lang.target import host_target
from .pairs import Combined, Pairing
from .panel import Rows

_LINE = 64  # bytes


@dataclass(frozen=True)
class RowSums:
    """The panel for one pair of output rows, `columns` wide, `low` of them before the image."""

    image: Rows
    pairing: Pairing
    planes: int
    low: int
    columns: int
    item_size: int

    @cached_property
    def steps(self) -> tuple[int, int, int, int]:
        """From a channel, a pixel, a sum of rows and a plane of the panel to the next."""
        line = _LINE // self.item_size
        row = (-(-self.image.wanted * self.columns // line) | 1) * line
        channel, pixel = (1, self.image.wanted) if self.image.last else (self.columns, 1)
        return channel, pixel, row, row * len(self.pairing.products)

    @property
    def numbers(self) -> int:
        """Numbers of it, in whole cache lines."""
        return self.steps[3] * self.planes

    @property
    def read(self) -> int:
        """Columns of the image that are read."""
        return max(0, min(self.image.size[2], self.columns - self.low))

    @property
    def line(self) -> tuple[int, int, int]:
        """What is written in one go: so many zeros, numbers of the image, and how many in all.

        A channel's row; a row in all channels; or, where a group's channels are some of a pixel's,
        those of a pixel.
        """
        wanted = self.image.wanted
        if self.image.last and wanted < self.image.channels:
            return 0, wanted, wanted
        pixel = wanted if self.image.last else 1
        return self.low * pixel, self.read * pixel, self.columns * pixel

    def fill(
        self,
        r: Routine,
        x: Buffer,
        panel: Buffer,
        *,
        source: Value,
        planes: tuple[Value, Value, Value, int],
        top: Value,
    ) -> None:
        """Write all sums; `top` is the row of the image that the pair's first tap sees first.

        `source` is the image's first number in the first channel that is wanted; `planes` are the
        first kernel plane that is inside, the end of them, the place of plane 0 and the distance to
        the next.
        """
        first, behind, depth, apart = planes
        _, _, of_row, of_plane = self.image.steps
        with r.loop(first, behind) as plane:
            start = source + (depth + plane.index * apart) * of_plane + top * of_row
            to = plane.index * self.steps[3]
            for group in self.pairing.groups:
                offsets = sorted({offset for product in group for offset, _ in product.rows})
                filling = _Filling(r, x, panel, self)
                rows = [filling.row(start + n * of_row, top + n) for n in offsets]
                filling.group(rows, [self._sum(to, product, offsets) for product in group])

    def _sum(self, to: Value, product: Combined, offsets: list[int]) -> "_Sum":
        place = self.pairing.products.index(product) * self.steps[2]
        terms = [(offsets.index(offset), factor) for offset, factor in product.rows]
        return _Sum(to + place, terms)


@dataclass(frozen=True)
class _Row:
    """A row of the image: its first number, and which lanes of it to read.

    `full` is the mask of a whole vector and `rest` that of what is left over of a line; both are
    empty where there is no such row.
    """

    at: Value
    full: Value
    rest: Value

    def moved(self, by: Operand) -> "_Row":
        return replace(self, at=self.at + by)


@dataclass(frozen=True)
class _Sum:
    """Where a sum of rows is written, and which of the rows it has with which sign; the first +."""

    at: Value
    terms: list[tuple[int, int]]

    def moved(self, by: Operand) -> "_Sum":
        return replace(self, at=self.at + by)


@dataclass(frozen=True)
class _Filling:
    """Writes the sums that read the same rows."""

    r: Routine
    x: Buffer
    panel: Buffer
    of: RowSums

    @property
    def lanes(self) -> int:
        return host_target().lanes(self.of.item_size)

    def row(self, at: Value, place: Value) -> _Row:
        """The row of the image at a place, which begins at an index."""
        r, lanes = self.r, self.lanes
        inside, nothing = ~(place < 0) & (place < self.of.image.size[1]), r.mask([False] * lanes)
        counts = (lanes, self.of.line[1] % lanes)
        masks = [r.mask([lane < count for lane in range(lanes)]) for count in counts]
        return _Row(at, *(r.select(inside, mask, nothing) for mask in masks))

    def group(self, rows: Sequence[_Row], sums: Sequence[_Sum]) -> None:
        """The sums in all channels."""
        of, image, steps = self.of, self.of.image, self.of.steps
        if not image.last:
            with self.r.loop(0, image.wanted) as channel:
                source = [row.moved(channel.index * image.steps[0]) for row in rows]
                self.line(source, [one.moved(channel.index * steps[0]) for one in sums])
        elif image.wanted == image.channels:
            self.line(rows, sums)
        else:
            for one in sums:
                self.zeros(one.at, 0, of.low * steps[1])
                self.zeros(one.at, (of.low + of.read) * steps[1], of.columns * steps[1])
            with self.r.loop(0, of.read) as pixel:
                source = [row.moved(pixel.index * image.steps[1]) for row in rows]
                self.line(source, [one.moved((pixel.index + of.low) * steps[1]) for one in sums])

    def line(self, rows: Sequence[_Row], sums: Sequence[_Sum]) -> None:
        """Zeros, the sums of the numbers that are there, and zeros again."""
        before, count, total = self.of.line
        for one in sums:
            self.zeros(one.at, 0, before)
            self.zeros(one.at, before + count, total)
        sums = [one.moved(before) for one in sums]
        whole = count // self.lanes * self.lanes
        with self.r.loop(0, whole, self.lanes) as loop:
            self.add(rows, sums, loop.index, self.lanes)
        if count > whole:
            self.add(rows, sums, self.r.const(whole), count - whole)

    def add(self, rows: Sequence[_Row], sums: Sequence[_Sum], at: Value, count: int) -> None:
        """So many numbers of the sums, at most a vector."""
        r, whole = self.r, count == self.lanes
        exist = None if whole else r.below(count, self.lanes)
        masks = [row.full if whole else row.rest for row in rows]
        numbers = [
            r.load(self.x, row.at + at, self.lanes, mask)
            for row, mask in zip(rows, masks, strict=True)
        ]
        for one in sums:
            (first, _), *others = one.terms
            total = numbers[first]
            for row, factor in others:
                total = total + numbers[row] if factor > 0 else total - numbers[row]
            r.store(self.panel, one.at + at, total, exist)

    def zeros(self, to: Value, begin: int, end: int) -> None:
        zero = self.r.const(0, self.panel.kind, self.lanes)
        for at in range(begin, end, self.lanes):
            mask = None if at + self.lanes <= end else self.r.below(end - at, self.lanes)
            self.r.store(self.panel, to + at, zero, mask)
