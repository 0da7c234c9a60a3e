"""The routine of a transposed convolution that runs phase by phase, lanes along result channels.

    x[first + s·k, c] = b[c] + Σ_{j, o} w[phase, j, o, c] · panel[k + base + j·d/g, o]

For a block of results: fill the panel; for every block of channels, row of results and strip of
columns, compute the tiles of all phases; and then store them. Where phases lie side by side, they
are channels here, the width axis has a stride of 1, and a place of it is stored as one.
"""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ...lang.routine import Operand, Routine, Value
from ...lang.target import host_target
from ..activation import activated
from ..gemm.gather_panel import known
from ..gemm.tile import Factor, GemmTile, Stream, SumAxis
from ..transpose import transposed
from .classes import Phase, PhaseAxis
from .layout import PhaseLayout
from .panel import Filling
from .tiling import SideBySide

_LINE = 64  # bytes
_MOST_EXPECTED = 4096  # results whose places in memory are asked for before they are computed


@dataclass(frozen=True)
class _Stretch:
    """Results of a tile along one axis: the first of them, how far apart, and how many exist."""

    first: Value
    apart: int
    count: Value


class PhaseRoutine:
    """`r` takes the result, the image, the packed weight, a panel, perhaps lines and the bias."""

    def __init__(self, layout: PhaseLayout) -> None:
        self.of, self.p = layout, layout.problem
        p, wide = layout.problem, "float64" if layout.problem.item_size == 8 else "float32"
        self.kind = "f64" if p.item_size == 8 else "f32"
        r = self.r = Routine("phases", layout.items)
        self.x = r.writes("x", p.dtype, layout.results)
        self.y = r.reads("y", p.dtype, layout.sources)
        self.w = r.reads("w", wide, layout.packed_numbers)
        self.panel = r.scratch("panel", wide, layout.panel.numbers)
        if layout.line_numbers:
            self.lines = r.scratch("lines", wide, layout.line_numbers)
        self.b = r.reads("b", p.dtype, p.groups * p.channels) if p.bias else None
        with r.work() as item:
            self.item(item)

    def item(self, item: Value) -> None:
        """A block of results in one plane and a part of a group's channels."""
        of, t = self.of, self.of.tiling
        block, item = item % of.column_blocks, item // of.column_blocks
        self.column = block * t.block_columns
        block, item = item % of.row_blocks, item // of.row_blocks
        self.row = block * t.block_rows
        part, item = item % of.parts, item // of.parts
        self.id, item = item % of.depth.results, item // of.depth.results
        self.group, self.n = item % self.p.groups, item // self.p.groups
        self.deep = of.depth.phase(self.id % of.depth.stride)
        filling = Filling(
            of.panel, self.r, self.y, self.panel, host_target().lanes(self.p.item_size),
            self.p.last, self.p.groups, self.n, self.group,
        )  # fmt: skip
        self.planes = filling.fill(self.row, self.column, self.deep, self.id // of.depth.stride)
        begin = part * of.share
        with self.r.loop(begin, self.r.minimum(begin + of.share, of.blocks)) as loop:
            self.channels(loop.index)

    def channels(self, block: Value) -> None:
        """All results of the item in one block of channels."""
        of, r, lanes = self.of, self.r, self.p.lanes
        self.channel, self.block = block * of.width, block % of.share
        self.weights = (self.group * of.blocks + block) * of.block_numbers
        self.start = [r.const(0, self.kind, lanes)] * of.tiling.vectors
        if self.b:
            at = self.group * self.p.channels + self.channel
            self.start = [
                r.load(self.b, at + v * lanes, lanes, self.existing(v))
                for v in range(of.tiling.vectors)
            ]
        with self.each(of.high) as first:
            phase = of.high.phase(first)
            end = r.minimum(of.high.count(first), self.row + of.tiling.block_rows)
            with r.loop(self.row, end, of.tiling.rows) as loop:
                self.rows(first, phase, loop.index, end)

    @contextmanager
    def each(self, axis: PhaseAxis) -> Iterator[Value]:
        """Every phase of an axis, by its first result."""
        if axis.phases == 1:
            yield self.r.const(0)
            return
        with self.r.loop(0, axis.phases) as loop:
            yield loop.index

    def existing(self, vector: int) -> Value | None:
        """The mask of the channels of one of a tile's vectors that exist; None if all do."""
        if self.p.channels % self.of.width == 0:
            return None
        left = self.p.channels - (self.channel + vector * self.p.lanes)
        return self.r.below(left, self.p.lanes)

    def rows(self, first: Value, high: Phase, k: Value, end: Value) -> None:
        """As many rows of one phase as a tile has, from result k of it on, strip by strip."""
        of, r, t, wide = self.of, self.r, self.of.tiling, self.of.wide
        turns = of.high.inside(r, high, k, k + (t.rows - 1))
        rows = _Stretch(first + k * of.high.stride, of.high.stride, end - k)
        behind = r.minimum(self.column + t.block_columns, wide.most)
        with r.loop(self.column, behind, t.strip) as strip:
            begin = strip.index
            self.origin = begin * wide.stride
            if self.p.turned and of.pitch * of.width <= _MOST_EXPECTED:
                self.expect(rows.first)
            with self.each(wide) as column:
                phase = wide.phase(column)
                last = r.minimum(wide.count(column), begin + t.strip)
                with r.loop(begin, last, t.columns) as loop:
                    sums = self.sums((high, k, turns), phase, loop.index)
                    at = column + loop.index * wide.stride
                    self.store(sums, rows, _Stretch(at, wide.stride, last - loop.index))
            if self.p.turned:
                with r.loop(0, r.minimum(rows.count, t.rows)) as row:
                    self.turn(row.index, rows.first + row.index * rows.apart)

    # -- the sums ---------------------------------------------------------------------------------

    def sums(
        self, row: tuple[Phase, Value, tuple[Value, Value]], wide: Phase, column: Value
    ) -> list[Value]:
        """A tile: place by place and in each vector by vector."""
        of, t, panel = self.of, self.of.tiling, self.of.panel
        high, k, turns = row
        places = itertools.product(range(t.rows), range(t.columns))
        offsets = tuple(i * panel.row + j * panel.pixel for i, j in places)
        vectors = tuple(v * self.p.lanes for v in range(t.vectors))
        phases = (self.deep.first * of.high.phases + high.first) * of.wide.phases
        weights = self.weights + phases * of.phase_numbers
        tile = GemmTile(
            Factor(self.panel, offsets, 1), Factor(self.w, vectors, self.p.lanes),
            (*self.following(weights, k, wide.first, column), *self.ahead(high, k, wide, column)),
        )  # fmt: skip
        columns = of.wide.inside(self.r, wide, column, column + (t.columns - 1))
        steps = (panel.plane, of.high.step * panel.row, of.wide.step * panel.pixel)
        bounds = (self.planes, turns, columns)
        axes = [
            SumAxis(axis.turns, step, some if axis.sums(size)[2] else None)
            for axis, step, some, size in zip(
                self.p.axes, steps, bounds, (1, t.rows, t.columns), strict=True
            )
        ]
        y = (k - self.row + high.base - of.high.reads[0]) * panel.row
        y = y + (column - self.column + wide.base - of.wide.reads[0]) * panel.pixel
        axes.append(SumAxis(self.p.terms, 1))
        return tile.sums(self.r, self.start, axes, y, weights + wide.first * of.phase_numbers)

    def following(self, row: Value, k: Value, first: Value, column: Value) -> tuple[Stream, ...]:
        """A tile's share of the weights that come after those of its phase or row of phases."""
        of, t, phases = self.of, self.of.tiling, self.of.wide.phases
        if not of.is_large:
            return ()
        down, across = -(-t.block_rows // t.rows), -(-t.block_columns // t.columns)
        done = (column - self.column) // t.columns
        if down == 1 and t.strip == t.block_columns:
            chunk = -(-of.phase_numbers // across)
            return (Stream(self.w, row + (first + 1) * of.phase_numbers + done * chunk, chunk),)
        chunk = -(-of.phase_numbers // (down * across))
        done = (((k - self.row) // t.rows) * across + done) * phases + first
        return (Stream(self.w, row + phases * of.phase_numbers + done * chunk, chunk),)

    def ahead(self, high: Phase, k: Value, wide: Phase, column: Value) -> tuple[Stream, ...]:
        """A tile's share of the pixels that come after those of the panel, channel by channel."""
        of, t, p = self.of, self.of.tiling, self.p
        if not of.is_far:
            return ()
        down, across = -(-t.block_rows // t.rows), -(-t.block_columns // t.columns)
        number = self.block * of.high.phases + high.first
        number = (number * down + (k - self.row) // t.rows) * of.wide.phases + wide.first
        number = number * across + (column - self.column) // t.columns
        tiles = of.share * of.high.phases * down * of.wide.phases * across
        plane = (self.n * p.groups + self.group) * p.terms * of.depth.sources
        row = (plane + self.id // of.depth.stride) * of.high.sources + self.row
        if of.column_blocks > 1:
            count, first = t.block_columns, row * of.wide.sources + self.column + t.block_columns
        else:
            count, first = t.block_rows * of.wide.sources, (row + t.block_rows) * of.wide.sources
        share = -(-p.terms * count // tiles)
        return (Stream(self.y, first, share, count, of.plane, number * share),)

    # -- the results ------------------------------------------------------------------------------

    def store(self, sums: list[Value], rows: _Stretch, columns: _Stretch) -> None:
        """Those of a tile that exist: into the result, or into lines to be transposed."""
        of, r, t = self.of, self.r, self.of.tiling
        for n in range(t.rows * t.columns):
            i, j = divmod(n, t.columns)
            mine = sums[n * t.vectors : (n + 1) * t.vectors]
            row, column = rows.first + i * rows.apart, columns.first + j * columns.apart
            exists = [rows.count > i] if i else []
            exists += [columns.count > j] if j and of.is_ragged else []
            if not exists:
                self.place(mine, i, row, column)
                continue
            with r.when(exists[0] if len(exists) == 1 else exists[0] & exists[1]):
                self.place(mine, i, row, column)

    def place(self, sums: list[Value], line: int, row: Value, column: Value) -> None:
        """All channels of a tile at one place."""
        of, r, p = self.of, self.r, self.p
        if p.turned:
            to = (line * of.pitch + (column - self.origin)) * of.width
            for vector, total in enumerate(sums):
                r.store(self.lines, to + vector * p.lanes, total)
            return
        plane = (self.n * of.depth.results + self.id) * of.high.results
        to = ((plane + row) * of.wide.results + column) * (p.groups * p.channels)
        to = to + self.group * p.channels + self.channel
        for vector, total in enumerate(sums):
            done = activated(r, p.activation, total)
            if p.side:
                self.unit(p.side, done, vector, row, column)
            else:
                r.store(self.x, to + vector * p.lanes, done, self.existing(vector))

    def unit(self, side: SideBySide, total: Value, vector: int, row: Value, k: Value) -> None:
        """A vector of one unit of a row: what exists of it."""
        of, r, lanes = self.of, self.r, self.p.lanes
        number = self.channel + vector * lanes
        inside, line = number % side.padded, (self.id * of.high.results + row) * side.length
        image = self.n * self.p.groups + self.group
        if not self.p.last:
            image = image * (self.p.channels // side.padded) + number // side.padded
        line = line + image * (of.depth.results * of.high.results * side.length)
        at = k * side.unit + side.shift + inside
        end = r.minimum(side.unit - inside, side.length - at)
        mask = r.below(end, lanes) & ~r.below(0 - at, lanes)
        with r.when(number < self.p.channels):
            r.store(self.x, line + at, total, mask)

    def first_of(self, row: Value) -> Value:
        """The place of a strip's first result in a row, in channel 0 of the block."""
        of = self.of
        channel = (self.n * self.p.groups + self.group) * self.p.channels + self.channel
        rows = channel * (of.depth.results * of.high.results) + self.id * of.high.results + row
        return rows * of.wide.results + self.origin

    @property
    def apart(self) -> int:
        """From a channel of a contiguous result to the next."""
        return self.of.depth.results * self.of.high.results * self.of.wide.results

    def expect(self, row: Value) -> None:
        """Have the lines of memory brought near that a strip of results will be written to."""
        of, r, to = self.of, self.r, self.first_of(row)
        with r.loop(0, of.width) as loop:
            at = to + loop.index * self.apart
            for i in range(of.tiling.rows):
                for n in range(0, of.pitch, _LINE // self.x.item_size):
                    r.prefetch(self.x, at + (i * of.high.stride * of.wide.results + n))

    def turn(self, line: Value, row: Value) -> None:
        """One of the lines into a row of the result."""
        of, r, lanes = self.of, self.r, self.p.lanes
        count: Operand = r.minimum(of.wide.results - self.origin, of.pitch)
        if of.wide.results % of.pitch == 0:
            count = of.pitch
        to, whole = self.first_of(row), r.const(0) + count // lanes * lanes
        with r.loop(0, of.tiling.vectors) as loop:
            vector = loop.index * lanes
            source = line * (of.pitch * of.width) + vector
            at, left = to + vector * self.apart, self.p.channels - (self.channel + vector)
            with r.loop(0, whole, lanes) as some:
                self.square(source + some.index * of.width, at + some.index, left, None)
            if known(count) is None or known(count) != known(whole):
                rest = r.below(count - whole, lanes)
                with r.when(whole < count):
                    self.square(source + whole * of.width, at + whole, left, rest)

    def square(self, source: Value, to: Value, left: Value, mask: Value | None) -> None:
        """As many results as a vector has lanes, in one vector of channels."""
        of, r, lanes = self.of, self.r, self.p.lanes
        places = (r.load(self.lines, source + n * of.width, lanes) for n in range(lanes))
        made = transposed(r, [activated(r, self.p.activation, place) for place in places])
        sure = self.p.channels % lanes or lanes  # channels that any vector with channels has
        for begin, end in ((0, sure), (sure, lanes)):
            if begin < end:
                with r.when(left >= end):
                    for lane in range(begin, end):
                        r.store(self.x, to + lane * self.apart, made[lane], mask)
