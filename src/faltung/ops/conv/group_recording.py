"""Records the routine of a grouped convolution of channels-last images, as a layout cuts it.

A tile's outputs are those of one row, of a pair of rows (`parts.rows.pairs`) or of four rows
(`parts.rows.fours`); see `group_layout` for the order of tiles, and `parts.groups` for their sums.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from math import prod

from ...lang.ops import Buffer
from ...lang.routine import Routine, Value
from ...parts.activation import activated
from ...parts.channels.sums import looped
from ...parts.groups.ahead import Ahead, pixels
from ...parts.groups.fours import FourRowSums
from ...parts.groups.sums import GroupSums, Line
from ...parts.groups.tile import FEW
from ...parts.rows.fours import four_outputs
from ...parts.rows.pairs import Goal, Pairing
from ...parts.taps import taps_seen
from .group_layout import GroupLayout


class GroupRecording:
    """The routine of a layout: it is `r`."""

    def __init__(self, layout: GroupLayout, name: str) -> None:
        self.of, spec = layout, layout.spec
        self.kind = "f64" if spec.dtype == "float64" else "f32"
        r = self.r = Routine(name, layout.items)
        lanes = self.lanes = layout.lanes
        self.y = r.writes("y", spec.dtype, prod(spec.y_shape))
        self.x = r.reads("x", spec.dtype, prod(spec.x_shape))
        self.w = r.reads("w", layout.wide_name, lanes.blocks * layout.weights)
        self.b = r.reads("b", spec.dtype, spec.out_channels) if spec.bias else None
        sums = FourRowSums if layout.tile.four else GroupSums
        self.sums = sums(
            r, self.x, self.w, lanes, layout.tile, layout.high, layout.wide, spec.in_channels,
            layout.steady,
        )  # fmt: skip
        with r.work() as item:
            self.real = None if lanes.used == lanes.lanes else r.below(lanes.used, lanes.lanes)
            self.item(item)

    def item(self, item: Value) -> None:
        """Some rows of some blocks of channels at one output depth."""
        of, r = self.of, self.r
        part, item = item % of.parts.blocks, item // of.parts.blocks
        rows, item = item % of.rows.blocks, item // of.rows.blocks
        self.od, self.n = item % of.depth.output_size, item // of.depth.output_size
        self.planes = taps_seen(self.r, of.depth, self.od)
        with of.rows.loop(r, rows) as line:
            self.line = line
            if not of.tile.products:
                self.seen = taps_seen(self.r, of.high, line)
            inside = of.lines_inside
            self.at_border = len(inside) < of.lines
            if not inside or not self.at_border or of.one_way:
                self.some_blocks(part)
                return
            at_border = (line < inside.start) | ~(line < inside.stop)
            for self.at_border, here in ((True, at_border), (False, ~at_border)):
                with r.when(here):
                    self.some_blocks(part)

    def some_blocks(self, part: Value) -> None:
        """One row of outputs, or those of a tile at once, of some blocks of channels."""
        blocks, tiles = partial(self.of.parts.loop, self.r, part), self.tiles
        if self.of.blocks_inside:
            for some, outside in tiles():
                with some as column, blocks() as block:
                    self.tile(block, column, outside)
            return
        with blocks() as block:
            for some, outside in tiles():
                with some as column:
                    self.tile(block, column, outside)

    def tiles(self) -> Iterator[tuple[AbstractContextManager[Value], frozenset[int]]]:
        """The first columns of all tiles, and which of their pixels may not be there.

        Few such pixels cost less than code for tiles without any.
        """
        of, tiles = self.of, self.of.tiles
        first, behind = tiles.first_inside, tiles.behind_inside
        if len(of.outside) <= FEW or first >= behind:
            yield self.some_tiles(0, tiles.count), of.outside
            return
        yield self.some_tiles(first, behind), frozenset()
        for begin, end in ((0, first), (behind, tiles.count)):
            if begin < end:
                yield self.some_tiles(begin, end), of.outside

    @contextmanager
    def some_tiles(self, begin: int, end: int) -> Iterator[Value]:
        """Tiles one after the other, each by its first column."""
        with self.r.loop(begin, end) as loop:
            yield self.of.tiles.column(self.r, loop.index)

    def tile(self, block: Value, column: Value, outside: frozenset[int]) -> None:
        """Sum up and store the outputs from a column on, of one row, of two or of four."""
        of, r, lanes = self.of, self.r, self.lanes
        group = r.minimum(block * lanes.together, lanes.groups - lanes.together)
        self.output, size = group * lanes.outputs, of.tile.sums
        nothing = [r.const(0, self.kind, lanes.lanes)] * size
        row = self.line * (of.tile.down * of.high.stride) - of.high.padding[0]
        plane = self.n * of.depth.input_size + self.od * of.depth.stride - of.depth.padding[0]
        place = column * of.wide.stride - of.wide.padding[0]
        pixel = (plane * of.high.input_size + row) * of.wide.input_size + place
        line = Line(
            pixel * of.spec.in_channels + group * lanes.inputs, place, None, block * of.weights,
            outside,
        )  # fmt: skip
        if not of.tile.products:
            self.store(self.one_row(nothing, line), column, 0)
            return
        self.ahead = Ahead(r, self.next_pixels(line, column), of.tile.chances(lanes, of.wide))
        if isinstance(self.sums, FourRowSums):
            self.four_rows(self.sums, nothing, replace(line, row=row), column)
        elif of.pairs:
            sums = self.two_rows(of.pairs, nothing, line, row)
            self.store(sums[:size], column, 0)
            self.store(sums[size:], column, 1)

    def next_pixels(self, line: Line, column: Value) -> list[tuple[Buffer, Value]]:
        """What the tile to the right reads of rows that are new, and what one of a pair writes."""
        of, wide, size = self.of, self.of.wide, self.of.tile.columns
        inputs, outputs = of.spec.in_channels, of.spec.out_channels
        rows, x = of.new_rows, line.pixel + ((size - 1) * wide.stride + wide.span) * inputs
        read = pixels(self.x, x, rows, size * wide.stride, (wide.input_size * inputs, inputs))
        if of.tile.four:  # its results are no sooner there for being asked for
            return read
        steps = (wide.output_size * outputs, outputs)
        return read + pixels(self.y, self.target(column + size, 0), range(2), size, steps)

    def target(self, column: Value, down: int) -> Value:
        """Where an output of the tile's first row, or that below, goes."""
        of = self.of
        row = (self.n * of.depth.output_size + self.od) * of.high.output_size + down
        row = row + self.line * of.tile.down
        return (row * of.wide.output_size + column) * of.spec.out_channels + self.output

    def store(self, sums: Sequence[Value], column: Value, down: int) -> None:
        """Store the outputs of a row of the tile, where the image has such a row."""
        of = self.of
        if (of.lines - 1) * of.tile.down + down < of.high.output_size:
            self.store_row(sums, column, down)
            return
        with self.r.when(self.line < of.lines - 1):
            self.store_row(sums, column, down)

    def store_row(self, sums: Sequence[Value], column: Value, down: int) -> None:
        """Store the outputs of a row."""
        of, r, at = self.of, self.r, self.target(column, down)
        sums = self.lanes.merged(r, sums, of.tile.sets)
        if self.b:  # at the end, because every sum with it in would round to its size
            bias = r.load(self.b, self.output, of.lanes.lanes, self.real)
            sums = [total + bias for total in sums]
        for n, total in enumerate(sums):
            value = activated(r, of.spec.activation, total)
            r.store(self.y, at + n * of.spec.out_channels, value, self.real)

    def moved(self, line: Line, planes: Value, rows: Value, weights: Value) -> Line:
        """So many planes and rows of the image and rows of weights further on."""
        of = self.of
        row = of.wide.input_size * of.spec.in_channels
        pixel = line.pixel + planes * (of.high.input_size * row) + rows * row
        return replace(line, pixel=pixel, weights=line.weights + weights * self.sums.row_weights)

    def one_row(self, sums: Sequence[Value], line: Line) -> Sequence[Value]:
        """The sums over kernel planes and rows."""
        of, r, nothing = self.of, self.r, self.r.const(0)

        def plane(kd: Value, sums: Sequence[Value]) -> Sequence[Value]:
            first = self.moved(line, kd * of.depth.dilation, nothing, kd * of.kernel_rows)

            def row(kh: Value, sums: Sequence[Value]) -> Sequence[Value]:
                one = self.moved(first, nothing, kh * of.high.dilation, kh)
                size, step = of.tile.columns * of.wide.stride, of.spec.in_channels
                after = pixels(self.x, one.pixel + size * step, (0,), size, (0, step))
                chances = of.tile.chances(of.lanes, of.wide)
                return self.sums.over_columns(sums, one, Ahead(r, after, chances))

            return looped(r, self.seen, sums, row)

        return looped(r, self.planes, sums, plane)

    def four_rows(
        self, of_four: FourRowSums, nothing: list[Value], line: Line, column: Value
    ) -> None:
        """Sum up and store four rows, the two in the middle before the last products."""
        r, size = self.r, len(nothing)
        found: list[Sequence[Value]] = []
        for number in range(2):
            step = partial(of_four.twins, number=number, ahead=self.ahead)
            of_both = self.over_planes(step, [*nothing, *nothing], line)
            found += [of_both[:size], of_both[size:]]
        columns = [four_outputs(r, *of_column) for of_column in zip(*found, strict=True)]
        outputs = list(zip(*columns, strict=True))
        for down in (1, 2):
            self.store(outputs[down], column, down)
        for number, down in enumerate((0, 3)):
            step = partial(of_four.end, number=number, ahead=self.ahead)
            self.store(self.over_planes(step, outputs[down], line), column, down)

    def over_planes(
        self, add: Callable[[Sequence[Value], Line], Sequence[Value]], sums: Sequence[Value],
        line: Line,
    ) -> Sequence[Value]:  # fmt: skip
        """Add what is to be added to some sums for every kernel plane that is seen."""
        of, nothing = self.of, self.r.const(0)

        def plane(kd: Value, sums: Sequence[Value]) -> Sequence[Value]:
            return add(sums, self.moved(line, kd * of.depth.dilation, nothing, kd * of.kernel_rows))

        return looped(self.r, self.planes, sums, plane)

    def two_rows(
        self, pairs: Pairing, sums: Sequence[Value], line: Line, row: Value
    ) -> Sequence[Value]:
        """The sums of both rows; `sums` are what those of either begin with."""
        r, size = self.r, len(sums)
        nothing = [r.const(0, self.kind, self.lanes.lanes)] * size
        found = self.over_products(pairs, [*sums, *nothing], line, row, (Goal.BOTH, Goal.APART))
        both = list(zip(found[:size], found[size:], strict=True))
        if pairs.count(Goal.APART):
            found = [*(a + b for a, b in both), *(a - b for a, b in both)]
        else:
            found = [*found[:size], *found[:size]]
        return self.over_products(pairs, found, line, row, (Goal.FIRST, Goal.SECOND))

    def over_products(
        self, pairs: Pairing, sums: Sequence[Value], line: Line, row: Value,
        goals: tuple[Goal, Goal],
    ) -> Sequence[Value]:  # fmt: skip
        """Those products of all kernel planes that are added to either half of the sums."""
        of, r, size, nothing = self.of, self.r, len(sums) // 2, self.r.const(0)

        def plane(kd: Value, sums: Sequence[Value]) -> Sequence[Value]:
            halves = [list(sums[:size]), list(sums[size:])]
            for n, product in enumerate(pairs.products):
                if product.to in goals:
                    planes = kd * of.depth.dilation
                    one = self.moved(line, planes, nothing, kd * of.kernel_rows + n)
                    if self.at_border:
                        one = replace(one, row=row)
                    half = goals.index(product.to)
                    halves[half] = self.sums.product(halves[half], one, product, self.ahead)
            return [*halves[0], *halves[1]]

        return looped(r, self.planes, sums, plane)
