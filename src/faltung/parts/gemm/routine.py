"""Recording a convolution as a matrix product: blocks, panels, tiles, and where their sums go."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from math import prod

from ...lang.routine import Routine, Value
from ..taps import taps_inside
from .columns import ColumnTiles
from .gather_panel import Copying, Run, Turning, when
from .layout import GemmLayout
from .problem import Span
from .results import Results
from .tile import Factor, GemmTile, Stream, SumAxis


def gemm_routine(name: str, layout: GemmLayout) -> Routine:
    """The routine: writes y, reads x, the packed weight, and a bias and a residual if there are.

    Its buffers are y, x, w, then the layout's panel and waiting sums, if it has those, then b and
    the residual.
    """
    return _Recording(name, layout).r


class _Recording:
    """The routine while it is recorded."""

    def __init__(self, name: str, layout: GemmLayout) -> None:
        self.of, self.p = layout, layout.problem
        p = self.p
        r = self.r = Routine(name, layout.items)
        spans = (p.depth, p.rows, p.columns)
        channels = p.batch * p.groups
        self.y = r.writes("y", p.dtype, channels * p.outputs * prod(s.outputs for s in spans))
        self.x = r.reads("x", p.dtype, channels * p.inputs * prod(s.inputs for s in spans))
        self.w = r.reads("w", p.wide, layout.packed_numbers)
        self.source = self.x
        if layout.has_panel:
            self.source = r.scratch("panel", p.wide, layout.panel_numbers)
        waiting = layout.waiting_numbers
        self.waiting = r.scratch("waiting", p.wide, waiting) if waiting else None
        self.b = r.reads("b", p.dtype, p.groups * p.outputs) if p.bias else None
        self.residual = r.reads("residual", p.dtype, self.y.count) if p.residual else None
        with r.work() as item:
            self.item(item)

    def item(self, item: Value) -> None:
        """A block of outputs in a part of a group's channels."""
        of, p, r = self.of, self.p, self.r
        block, item = item % of.row_blocks, item // of.row_blocks
        self.row = block * of.block.rows
        self.column_block, item = item % of.column_blocks, item // of.column_blocks
        self.column = self.column_block * of.block.columns
        self.plane, item = item % p.depth.outputs, item // p.depth.outputs
        self.group, item = item % p.groups, item // p.groups
        self.n, part = item % max(p.batch, 1), item // max(p.batch, 1)
        self.results = Results(
            r, of, self.y, self.residual, self.waiting, self.n, self.group, self.plane
        )
        self.planes = self.bounds(p.depth, self.plane, self.plane)
        if of.has_panel:
            self.fill_panel()
        first = part * of.share
        last = r.minimum(first + of.share, of.full)
        size = of.tile.channels
        with r.loop(first, last) as loop:
            weights = (self.group * of.full + loop.index) * (p.terms * size)
            self.tiles(size, loop.index * size, weights)
        if of.rest:
            with when(r, r.apply("eq", part, of.parts - 1) if of.parts > 1 else True):
                weights = self.group * (p.terms * of.rest)
                weights = weights + p.groups * of.full * p.terms * size
                self.tiles(of.rest, r.const(of.full * size), weights)

    def bounds(self, span: Span, first: Value, last: Value) -> tuple[Value, Value] | None:
        """The taps through which any output from first to last sees the input; None for all."""
        if not span.is_padded:
            return None
        begin, end = (
            taps_inside(
                self.r, output, input_size=span.inputs, kernel_size=span.kernel_size,
                stride=span.stride, low=span.low, dilation=span.dilation,
            )[number]
            for number, output in enumerate((last, first))
        )  # fmt: skip
        return begin, end

    # -- the panel --------------------------------------------------------------------------------

    def fill_panel(self) -> None:
        """Copy what the block's windows see."""
        of, p, r = self.of, self.p, self.r
        first = self.column * p.columns.stride - p.columns.low
        columns = of.panel_columns
        before = r.minimum(r.maximum(0 - first, 0), columns)
        end = r.maximum(r.minimum(p.columns.inputs - first, columns), before)
        self.run = Run(before, end - before, columns - end)
        last = p.channels_last or of.turns_panel
        with r.loop(0, 1 if last else p.inputs) as channel:
            begin, end = self.planes or (r.const(0), r.const(p.depth.kernel_size))
            with r.loop(begin, end) as tap:
                plane = self.plane * p.depth.stride - p.depth.low + tap.index * p.depth.dilation
                at = self.n
                if not p.channels_last:
                    at = (at * p.groups + self.group) * p.inputs + channel.index
                at = (at * p.depth.inputs + plane) * (p.rows.inputs * p.columns.inputs)
                to = channel.index * of.steps.channel + tap.index * of.steps.plane
                self.fill_plane(at + (first + before), to)

    def fill_plane(self, source: Value, to: Value) -> None:
        """All rows of a plane; `source` is where in its row 0 the pixels begin."""
        of, rows = self.of, self.p.rows
        start = self.row * rows.stride - rows.low
        if not of.by_tap:
            self.fill_rows(source, start, 1, rows.reach(of.block.rows), to)
            return
        with self.r.loop(0, rows.kernel_size) as tap:
            at = to + tap.index * of.steps.taps[1]
            self.fill_rows(
                source, start + tap.index * rows.dilation, rows.stride, of.block.rows, at
            )

    def fill_rows(self, source: Value, start: Value, apart: int, count: int, to: Value) -> None:
        """`count` rows of the image from row `start` on, so far apart."""
        of, p, r, row = self.of, self.p, self.r, self.of.steps.row
        begin = r.minimum((r.maximum(0 - start, 0) + (apart - 1)) // apart, count)
        end = r.minimum((r.maximum(p.rows.inputs - start, 0) + (apart - 1)) // apart, count)
        end = r.maximum(begin, end)
        copying = Copying(r, self.x, self.source, p.lanes)
        if of.pads_rows:
            copying.zeros(to, begin * row)
            copying.zeros(to + end * row, (count - end) * row)
        with r.loop(begin, end) as loop:
            line = source + (start + loop.index * apart) * p.columns.inputs
            self.fill_row(copying, line, to + loop.index * row)

    def fill_row(self, copying: Copying, source: Value, to: Value) -> None:
        """A row of the panel."""
        of, p, pixel, channels = self.of, self.p, self.of.steps.pixel, self.p.inputs * self.p.groups
        if of.turns_panel:
            self.turn_row(source, to)
            return
        if not p.channels_last:
            copying.run(source, to, self.run)
            return
        source = source * channels + self.group * p.inputs
        if pixel == channels:
            copying.run(source, to, self.run.times(pixel))
            return
        copying.zeros(to, self.run.before * pixel)
        with self.r.loop(0, self.run.count) as loop:
            at = to + (self.run.before + loop.index) * pixel
            copying.run(source + loop.index * channels, at, Run(0, p.inputs, 0))
        copying.zeros(to + (self.run.before + self.run.count) * pixel, self.run.after * pixel)

    def turn_row(self, source: Value, to: Value) -> None:
        """A row of the panel whose pixels have their channels side by side, as the image has not.

        Zeros stand beside the image only where tiles read them.
        """
        of, p, run, pixel = self.of, self.p, self.run, self.of.steps.pixel
        if of.pads_columns:
            copying = Copying(self.r, self.x, self.source, p.lanes)
            copying.zeros(to, run.before * pixel)
            copying.zeros(to + (run.before + run.count) * pixel, run.after * pixel)
        apart = p.depth.inputs * p.rows.inputs * p.columns.inputs
        turning = Turning(self.r, self.x, self.source, p.lanes, p.inputs, pixel, apart)
        turning.pixels(source, run.count, to + run.before * pixel)

    # -- the tiles --------------------------------------------------------------------------------

    def tiles(self, channels: int, output: Value, weights: Value) -> None:
        """The block's tiles in so many channels, from `output` of the group on."""
        r, p, t = self.r, self.p, self.of.tile
        self.output, self.weights, self.width = output, weights, channels
        self.start = [r.const(0, p.kind, t.lanes)] * (channels // t.unit)
        if self.b:
            first = self.group * p.outputs + output
            places = range(0, channels, t.unit)
            masks = [self.results.existing(output, n, channels) for n in places]
            starts = [
                r.load(self.b, first + n, t.unit, mask)
                for n, mask in zip(places, masks, strict=True)
            ]
            self.start = [r.splat(s, t.lanes) for s in starts] if t.along_row else starts
        for height, rows in self.row_tiles():
            with rows as row:
                for tiles in self.of.columns:
                    with self.over_columns(tiles) as column:
                        self.tile(row, column, height, tiles)

    def row_tiles(self) -> Iterator[tuple[int, AbstractContextManager[Value]]]:
        """Tiles of a block down the image: so high, in this loop; what is left over is the last."""
        count, size, block = self.p.rows.outputs, self.of.tile.rows, self.of.block.rows
        whole = count // size * size
        yield size, self.over(self.row, self.r.minimum(self.row + block, whole), size)
        if count % size:
            is_last = self.row + block > whole if block < count else True
            yield count - whole, self.at(is_last, whole)

    def over_columns(self, tiles: ColumnTiles) -> AbstractContextManager[Value]:
        """Those of the tiles that are in the block."""
        r, block, blocks = self.r, self.of.block.columns, self.of.column_blocks
        if tiles.end - tiles.first > tiles.width:
            begin, end = self.column, self.column + block
            return self.over(r.maximum(begin, tiles.first), r.minimum(end, tiles.end), tiles.width)
        number = tiles.first // block
        is_here = r.apply("eq", self.column_block, number) if blocks > 1 else True
        return self.at(is_here, tiles.first)

    @contextmanager
    def over(self, first: Value, end: Value, step: int) -> Iterator[Value]:
        with self.r.loop(first, end, step) as loop:
            yield loop.index

    @contextmanager
    def at(self, condition: Value | bool, place: int) -> Iterator[Value]:
        with when(self.r, condition):
            yield self.r.const(place)

    def tile(self, row: Value, column: Value, height: int, tiles: ColumnTiles) -> None:
        """So many outputs from row and column on, in all vectors of the block."""
        of, p, steps, width = self.of, self.p, self.of.steps, tiles.width
        places = tiles.places and tuple(
            tuple(i * width + j for i in range(height) for j in some) for some in tiles.places
        )
        rows = self.bounds(p.rows, row, row + (height - 1))
        axes = {
            "d": SumAxis(p.depth.kernel_size, steps.taps[0], self.planes),
            "h": SumAxis(p.rows.kernel_size, steps.taps[1], rows),
            "w": SumAxis(p.columns.kernel_size, steps.taps[2], places=places),
            "c": SumAxis(p.inputs, steps.channel),
        }
        x = (row - self.row) * steps.outputs[0] + (column - self.column) * steps.outputs[1]
        if not of.has_panel:
            x = self.first_read(row, column)
        order = [axes[name] for name in of.order]
        pixel = row * p.columns.outputs + column
        later = self.results.ahead(self.output, self.width, pixel, height * width)
        tile = GemmTile(*self.factors(height, width), (*self.streams(row, column, x), *later))
        sums = tile.sums(self.r, self.start, order, x, self.weights)
        self.results.put(sums, self.output, self.width, pixel, width)

    def factors(self, height: int, width: int) -> tuple[Factor, Factor]:
        """What a tile multiplies: the image and the weight, one of them in vectors."""
        of, r, lanes = self.of, self.r, self.of.tile.lanes
        down, along = of.steps.outputs
        if of.tile.along_row:
            vectors = tuple(range(0, width, lanes))
            tail = r.below(width % lanes, lanes) if width % lanes and not of.has_panel else None
            channels = tuple(range(self.width))
            return Factor(self.source, vectors, lanes, tail), Factor(self.w, channels, 1)
        offsets = tuple(i * down + j * along for i in range(height) for j in range(width))
        vectors = tuple(range(0, self.width, lanes))
        return Factor(self.source, offsets, 1), Factor(self.w, vectors, lanes)

    def streams(self, row: Value, column: Value, x: Value) -> tuple[Stream, ...]:
        """What a tile has fetched for later: the next channels' weights, the next pixels."""
        of, p, t, block = self.of, self.p, self.of.tile, self.of.block
        found = []
        if of.fetches_weights:
            along = -(-block.columns // t.columns)
            tiles = along * -(-block.rows // t.rows)
            done = (row - self.row) // t.rows * along + (column - self.column) // t.columns
            share = p.terms * self.width // tiles
            first = self.weights + p.terms * self.width + done * share
            found.append(Stream(self.w, first, share))
        if of.fetches_pixels:
            pixels = t.columns * self.of.steps.pixel
            found.append(Stream(self.x, x + pixels, pixels))
        if of.fetches_rows:
            found += self.rows_ahead(column, x)
        return tuple(found)

    def rows_ahead(self, column: Value, x: Value) -> list[Stream]:
        """A share of the next block's pixels, in the tile's columns; and where results will be."""
        of, p, width = self.of, self.p, self.of.tile.columns
        each = -(-p.inputs // (of.share + bool(of.rest)))
        first = self.output // of.tile.channels % of.share * each if of.full else self.r.const(0)
        apart = of.steps.channel
        at = x + of.block.columns + self.r.minimum(first, p.inputs - each) * apart
        found = [Stream(self.x, at, each * width, width, apart)]
        if p.outputs >= p.inputs:
            to = self.results.in_channel(self.output) + column + width
            size = self.results.channel_size
            found.append(Stream(self.y, to, self.width * width, width, size))
        return found

    def first_read(self, row: Value, column: Value) -> Value:
        """Where in the image the first tap of an output reads the group's first channel."""
        p, steps = self.p, self.of.steps
        image = p.groups * p.inputs * p.depth.inputs * p.rows.inputs * p.columns.inputs
        at = self.n * image + self.group * (p.inputs * steps.channel)
        at = at + (self.plane * p.depth.stride - p.depth.low) * steps.plane
        at = at + (row * p.rows.stride - p.rows.low) * steps.row
        return at + (column * p.columns.stride - p.columns.low) * steps.pixel
