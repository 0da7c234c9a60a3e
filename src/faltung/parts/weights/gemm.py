"""The gradient of a weight as a matrix product of all pixels, for both memory layouts.

    gw[o, t, c] = Σ_{n, q} gy[n, o, q] · x[n, c, q·s − low + t·d]

An item sums up some vectors of input channels, in some output channels. The pixels of x that a
chunk of outputs sees are copied to a panel with those channels side by side, transposed in
registers where the image is contiguous. Outputs that see padding through a tap are left out by the
bounds of its loops, so nothing is padded. The sums wait in memory while other taps and output
channels have their turn, and are woven into the order of the weight at the end.
"""

from collections.abc import Sequence
from math import prod

from ...lang.routine import Routine, Value
from ..gemm.problem import Span
from ..interleave import interleaved
from ..opaque import opaque
from ..taps import taps_inside
from ..transpose import transposed
from .gemm_layout import GemmWeightLayout
from .taps import TapRun

_MOST_WOVEN = 16  # taps that are woven in registers


class GemmWeightRoutine:
    """Records the routine: `gw`, x, gy, and two scratch buffers, panels and sums.

    `gw` is [O, C/G, K…], or channels last where the images are.
    """

    def __init__(self, name: str, layout: GemmWeightLayout) -> None:
        self.layout, self.p = layout, layout.problem
        p = self.p
        self.lanes, self.kind = p.lanes, "f64" if p.wide == "float64" else "f32"
        spans = (p.depth, p.rows, p.columns)
        self.x_size = prod(span.inputs for span in spans)
        self.y_size = prod(span.outputs for span in spans)
        r = self.r = Routine(name, p.groups * layout.blocks * layout.splits)
        self.gw = r.writes("gw", p.wide, p.numbers)
        self.x = r.reads("x", p.dtype, p.batch * p.groups * p.inputs * self.x_size)
        self.gy = r.reads("gy", p.dtype, p.batch * p.groups * p.outputs * self.y_size)
        self.panel = r.scratch("panel", p.wide, layout.panel_numbers)
        self.sums = r.scratch("sums", p.wide, layout.sum_numbers)
        with r.work() as item:
            self.item(item)

    def item(self, item: Value) -> None:
        """The weights of a block of input channels in a part of the output channels."""
        r, p, layout = self.r, self.p, self.layout
        split, item = item % layout.splits, item // layout.splits
        self.block, self.group = item % layout.blocks, item // layout.blocks
        self.output = self.group * p.outputs + split * layout.outputs
        zero = r.const(0, self.kind, self.lanes)
        with r.loop(0, layout.outputs * p.taps * layout.width, self.lanes) as loop:
            r.store(self.sums, loop.index, zero)
        with r.loop(0, layout.visits) as visits:
            self.visit(visits.index)
        self.store()

    def real(self, vector: int) -> Value | None:
        """The mask of the block's channels in a vector that exist; None if all do."""
        p, v = self.p, self.layout.tile.vectors
        if p.inputs % (v * self.lanes) == 0:
            return None
        first = self.block * (v * self.lanes) + vector * self.lanes
        return self.r.below(p.inputs - first, self.lanes)

    def visit(self, visit: Value) -> None:
        """A chunk of an output plane of an image."""
        r, p, layout = self.r, self.p, self.layout
        rows, columns = layout.chunk
        of_rows, of_columns = layout.chunks
        self.column, visit = visit % of_columns * columns, visit // of_columns
        self.row, visit = visit % of_rows * rows, visit // of_rows
        self.od, self.image = visit % p.depth.outputs, visit // p.depth.outputs
        self.rows = r.minimum(self.row + rows, p.rows.outputs)
        self.columns = r.minimum(self.column + columns, p.columns.outputs)
        if layout.copies_gy:
            self.fill_gy()
        depth = p.depth
        bounds = taps_inside(
            r, self.od, input_size=depth.inputs, kernel_size=depth.kernel_size,
            stride=depth.stride, low=depth.low, dilation=depth.dilation,
        )  # fmt: skip
        with r.loop(*bounds) as planes:
            self.fill_x(self.od * depth.stride - depth.low + planes.index * depth.dilation)
            with r.loop(0, p.rows.kernel_size) as high, r.loop(0, p.columns.kernel_size) as wide:
                tap = planes.index * p.rows.kernel_size + high.index
                self.tap = tap * p.columns.kernel_size + wide.index
                self.through(high.index, wide.index)

    # -- panels -----------------------------------------------------------------------------------

    def seen(self, span: Span, first: Value, end: Value) -> tuple[Value, Value]:
        """The inputs from the first to behind the last that some outputs see."""
        r, reach = self.r, (span.kernel_size - 1) * span.dilation
        low = r.maximum(first * span.stride - span.low, 0)
        high = (end - 1) * span.stride + (reach + 1 - span.low)
        return low, r.maximum(r.minimum(high, span.inputs), low)

    def fill_x(self, plane: Value) -> None:
        """Copy the pixels that the chunk sees: whole rows, or part of the only one."""
        r, p, layout = self.r, self.p, self.layout
        self.top, behind = self.seen(p.rows, self.row, self.rows)
        self.left = r.const(0)
        pixels = (behind - self.top) * p.columns.inputs
        if layout.chunks[1] > 1:
            self.left, right = self.seen(p.columns, self.column, self.columns)
            pixels = (right - self.left) * (behind - self.top)
        first = (plane * p.rows.inputs + self.top) * p.columns.inputs + self.left
        channel = self.group * p.inputs + self.block * (layout.tile.vectors * self.lanes)
        if p.channels_last:
            first = self.image * self.x_size + first
            channels = p.groups * p.inputs
            with r.loop(0, pixels) as loop:
                at = (first + loop.index) * channels + channel
                for v in range(layout.tile.vectors):
                    vector = r.load(self.x, at + v * self.lanes, self.lanes, self.real(v))
                    r.store(self.panel, loop.index * layout.width + v * self.lanes, vector)
            return
        first = (self.image * (p.groups * p.inputs) + channel) * self.x_size + first
        whole = pixels // self.lanes * self.lanes
        with r.loop(0, whole, self.lanes) as loop:
            self.square(first + loop.index, loop.index * layout.width, None)
        with r.when(whole < pixels):
            left = r.below(pixels - whole, self.lanes)
            self.square(first + whole, whole * layout.width, left)

    def square(self, first: Value, to: Value, mask: Value | None) -> None:
        """As many pixels as lanes, turned so that their channels lie side by side."""
        r, p, layout, lanes = self.r, self.p, self.layout, self.lanes
        every = p.inputs % layout.width == 0
        left = p.inputs - self.block * layout.width
        none = r.below(0, lanes)
        for v in range(layout.tile.vectors):
            rows = []
            for lane in range(lanes):
                channel = v * lanes + lane
                real = mask
                if not every:  # rows of channels that do not exist are zero
                    exists = r.const(channel) < left
                    real = r.select(exists, r.mask([True] * lanes) if mask is None else mask, none)
                rows.append(r.load(self.x, first + channel * self.x_size, lanes, real))
            for n, pixel in enumerate(transposed(r, rows)):
                r.store(self.panel, to + n * layout.width + v * lanes, pixel)

    def fill_gy(self) -> None:
        """Copy the chunk's numbers of gy, widened; they lie as in the image."""
        r, p, layout = self.r, self.p, self.layout
        most_rows, most_columns = layout.chunk
        width = self.columns - self.column
        with r.loop(0, self.rows - self.row) as rows:
            pixel = (self.od * p.rows.outputs + self.row + rows.index) * p.columns.outputs
            pixel = pixel + self.column
            if p.channels_last:
                pixel = self.image * self.y_size + pixel
                with r.loop(0, width) as pixels:
                    at = (pixel + pixels.index) * (p.groups * p.outputs) + self.output
                    to = (rows.index * most_columns + pixels.index) * layout.outputs
                    self.widen(at, to + layout.x_numbers, r.const(layout.outputs))
            else:
                with r.loop(0, layout.outputs) as outputs:
                    channel = self.image * (p.groups * p.outputs) + self.output + outputs.index
                    to = (outputs.index * most_rows + rows.index) * most_columns
                    self.widen(channel * self.y_size + pixel, to + layout.x_numbers, width)

    def widen(self, at: Value, to: Value, count: Value) -> None:
        """Copy some numbers of gy that lie side by side."""
        r, lanes = self.r, self.lanes
        with r.loop(0, count, lanes) as loop:
            mask = r.below(count - loop.index, lanes)
            vector = r.load(self.gy, at + loop.index, lanes, mask)
            r.store(self.panel, to + loop.index, vector, mask)

    # -- sums -------------------------------------------------------------------------------------

    def through(self, high: Value, wide: Value) -> None:
        """What is seen through one tap, for all output channels."""
        r, p = self.r, self.p
        first, end = self.inside(p.rows, high, self.row, self.rows)
        begin, behind = self.inside(p.columns, wide, self.column, self.columns)
        top = high * p.rows.dilation - p.rows.low - self.top
        left = wide * p.columns.dilation - p.columns.low - self.left
        for run in self.layout.runs():
            with r.loop(run.begin, run.end, run.size) as outputs:
                _Tile(self, run, outputs.index, (first, end), (begin, behind), (top, left))

    def inside(self, span: Span, tap: Value, first: Value, end: Value) -> tuple[Value, Value]:
        """The outputs of the chunk that see an input through a tap, and no padding."""
        r, s = self.r, span.stride
        before = r.maximum(span.low - tap * span.dilation, 0)
        behind = r.maximum(span.inputs - 1 + span.low + s - tap * span.dilation, 0)
        return r.maximum((before + (s - 1)) // s, first), r.minimum(behind // s, end)

    # -- results ----------------------------------------------------------------------------------

    def store(self) -> None:
        """Write the sums to their places in the weight."""
        r, p, layout = self.r, self.p, self.layout
        channel = self.block * layout.width
        row = p.taps * p.inputs
        with r.loop(0, layout.outputs) as outputs:
            to = (self.output + outputs.index) * row
            first = outputs.index * (p.taps * layout.width)
            for v in range(layout.tile.vectors):
                at = first + v * self.lanes
                if p.channels_last or p.taps == 1:
                    with r.loop(0, p.taps) as taps:
                        vector = r.load(self.sums, at + taps.index * layout.width, self.lanes)
                        place = to + taps.index * p.inputs + channel + v * self.lanes
                        r.store(self.gw, place, vector, self.real(v))
                else:
                    self.weave(at, to + (channel + v * self.lanes) * p.taps, v)

    def weave(self, at: Value, to: Value, vector: int) -> None:
        """The taps of a vector of channels, in the order channel, tap."""
        r, p, layout, lanes = self.r, self.p, self.layout, self.lanes
        left = p.inputs - self.block * layout.width - vector * lanes
        every = p.inputs % layout.width == 0
        if p.taps <= _MOST_WOVEN:
            sums = [r.load(self.sums, at + t * layout.width, lanes) for t in range(p.taps)]
            for n, woven in enumerate(interleaved(r, sums)):
                mask = None if every else r.below(left * p.taps - n * lanes, lanes)
                r.store(self.gw, to + n * lanes, woven, mask)
            return
        with r.loop(0, p.taps) as taps:  # one by one: nobody has so many taps and few pixels
            total = r.load(self.sums, at + taps.index * layout.width, lanes)
            for lane in range(lanes):
                number = r.pick(total, total, [lane])
                real = None if every else r.below(left - lane, 1)
                r.store(self.gw, to + lane * p.taps + taps.index, number, real)


class _Tile:
    """Some output channels of an item through one tap, over the chunk in the panel."""

    def __init__(
        self, of: GemmWeightRoutine, run: TapRun, output: Value, rows: tuple[Value, Value],
        columns: tuple[Value, Value], place: tuple[Value, Value],
    ) -> None:  # fmt: skip
        self.of, self.r, self.outputs = of, of.r, run.size
        r, p, layout = of.r, of.p, of.layout
        first = (output * p.taps + of.tap) * layout.width
        places = [
            first + (o * (p.taps * layout.width) + v * of.lanes)
            for o in range(run.size)
            for v in range(layout.tile.vectors)
        ]
        sums = [r.load(of.sums, place, of.lanes) for place in places]
        row_pixels = p.columns.inputs  # of the panel; where it holds part of a row, that is all
        x = opaque(r, (place[0] * row_pixels + place[1]) * layout.width)
        first_gy, self.apart, self.step, row_gy = self.numbers(output)
        gy = opaque(r, first_gy)
        with r.loop(*rows, carried=sums) as loop:
            at = x + loop.index * (p.rows.stride * row_pixels * layout.width)
            loop.carry(*self.row(loop.carried, columns, at, gy + loop.index * row_gy))
        for place_of, total in zip(places, loop.results, strict=True):
            r.store(of.sums, place_of, total)

    def numbers(self, output: Value) -> tuple[Value, int, int, int]:
        """Where gy's number of output row and column 0 is; and the steps from there to the next
        output channel, column and row."""
        of, p, layout = self.of, self.of.p, self.of.layout
        rows, columns = layout.chunk
        if layout.copies_gy:
            if p.channels_last:
                first = layout.x_numbers - (of.row * columns + of.column) * layout.outputs
                return first + output, 1, layout.outputs, columns * layout.outputs
            first = layout.x_numbers - of.row * columns - of.column
            return first + output * (rows * columns), rows * columns, 1, columns
        row = of.od * p.rows.outputs * p.columns.outputs
        if p.channels_last:
            channels = p.groups * p.outputs
            first = (of.image * of.y_size + row) * channels + of.output + output
            return first, 1, channels, p.columns.outputs * channels
        channel = of.image * (p.groups * p.outputs) + of.output + output
        return channel * of.y_size + row, of.y_size, 1, p.columns.outputs

    def row(
        self, sums: Sequence[Value], columns: tuple[Value, Value], x: Value, gy: Value
    ) -> Sequence[Value]:
        """The part of one row of outputs."""
        r, p, pixels = self.r, self.of.p, self.of.layout.together(self.outputs)
        begin, end = columns
        whole = begin + r.maximum(end - begin, 0) // pixels * pixels
        turns = [(begin, whole, pixels), (whole, end, 1)] if pixels > 1 else [(begin, end, 1)]
        for first, last, count in turns:
            with r.loop(first, last, count, carried=sums) as loop:
                at = x + loop.index * (p.columns.stride * self.of.layout.width)
                loop.carry(*self.turn(loop.carried, at, gy + loop.index * self.step, count))
            sums = loop.results
        return sums

    def turn(self, sums: Sequence[Value], x: Value, gy: Value, pixels: int) -> Sequence[Value]:
        """The part of some neighbouring pixels."""
        r, of, found = self.r, self.of, list(sums)
        layout, lanes = of.layout, of.lanes
        buffer, vectors = (of.panel if layout.copies_gy else of.gy), range(layout.tile.vectors)
        for pixel in range(pixels):
            r.cut()  # or loads of the next pixel are begun early, and there are no registers left
            at = x + pixel * (of.p.columns.stride * layout.width)
            loaded = [r.load(of.panel, at + v * lanes, lanes) for v in vectors]
            for o in range(self.outputs):
                number = r.load(buffer, gy + (pixel * self.step + o * self.apart))
                number = r.splat(number, lanes)
                for v in vectors:
                    n = o * len(vectors) + v
                    found[n] = r.fma(loaded[v], number, found[n])
        return found
