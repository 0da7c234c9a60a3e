"""The gradient of a weight with channels as lanes, for channels-last images.

    gw[o, c, t] = Σ_{n, q} gy[n, o, q] · x[n, c, q·s − low + t·d]

An item sums up a few vectors of channels: some rows of outputs for each, before the next rows, so
that pixels come from memory whole. The pixels of x that these rows see are copied to a panel, where
zeros stand for the padding, so a tile never asks where it is; rows and columns of outputs that see
only padding through a tile's taps are left out. The numbers of gy are read where they lie, and
arranged in registers so that each group's are in that group's lanes. Every weight of a channel has
its lane of a vector in memory, in which images, planes and rows add up one after the other.

The gradient of a bias, Σ_{n, q} gy[n, o, q], is added up on the way: the rows of gy that the tiles
read next are read once before.

A second routine adds up the parts of the sum and turns the vectors, since the taps of a channel lie
side by side. Done by each item at its end, that took 40 of 400 µs.
"""

from collections.abc import Sequence
from math import prod

from ...lang.ops import Buffer
from ...lang.routine import Operand, Routine, Value
from ..gemm.gather_panel import when
from ..gemm.problem import Span
from ..opaque import opaque
from ..taps import taps_inside
from ..transpose import transposed
from .channels_layout import ChannelsLayout
from .gy_sums import with_sum
from .taps import TapRun

_ASKED = 2  # the cache into which pixels are brought that are used later


class ChannelSums:
    """Records what sums up: `sums`, x, gy, and a scratch buffer for panels."""

    def __init__(self, name: str, layout: ChannelsLayout) -> None:
        self.layout, self.p = layout, layout.problem
        p = self.p
        self.lanes, self.kind = p.lanes, "f64" if p.wide == "float64" else "f32"
        spans = (p.depth, p.rows, p.columns)
        self.x_size = prod(span.inputs for span in spans)
        self.y_size = prod(span.outputs for span in spans)
        r = self.r = Routine(name, layout.shares * layout.parts)
        self.sums = r.writes("sums", p.wide, layout.parts * layout.sum_numbers)
        self.x = r.reads("x", p.dtype, p.batch * p.channels * self.x_size)
        self.gy = r.reads("gy", p.dtype, p.batch * p.groups * p.outputs * self.y_size)
        self.panel = r.scratch("panel", p.wide, layout.panel_numbers)
        with r.work() as item:
            self.zero = r.const(0, self.kind, self.lanes)
            self.item(item)

    def item(self, item: Value) -> None:
        """The weights of some vectors of channels, from a part of the sum."""
        r, p, layout = self.r, self.p, self.layout
        self.part, share = item % layout.parts, item // layout.parts
        first = share * layout.blocks
        behind = r.minimum(first + layout.blocks, p.blocks)
        self.zeros(self.sums, self.first_sum(first), self.first_sum(behind))
        self.zeros(self.panel, 0, layout.panel_numbers)
        each = -(-layout.visits // layout.parts)
        with (
            r.loop(self.part * each, r.minimum((self.part + 1) * each, layout.visits)) as visits,
            r.loop(first, behind) as blocks,
        ):
            self.visit(visits.index, blocks.index)

    def first_sum(self, block: Value) -> Value:
        """Where the sums of a vector of channels begin."""
        layout = self.layout
        return self.part * layout.sum_numbers + block * layout.block_numbers

    def below(self, count: Value) -> Value:
        """The mask of the first lanes."""
        return self.r.below(count, self.lanes)

    def visit(self, visit: Value, block: Value) -> None:
        """A chunk of rows of an output plane of an image, for a vector of channels."""
        r, p, layout = self.r, self.p, self.layout
        self.block, self.channel = block, block * p.used
        self.real = None
        if p.used < self.lanes or p.channels % p.used:
            self.real = self.below(r.minimum(p.channels - self.channel, p.used))
        chunk, visit = visit % layout.chunks, visit // layout.chunks
        self.od, self.image = visit % p.depth.outputs, visit // p.depth.outputs
        self.row = chunk * layout.chunk
        self.rows = r.minimum(layout.chunk, p.rows.outputs - self.row)
        self.add_up()
        depth = p.depth
        bounds = taps_inside(
            r, self.od, input_size=depth.inputs, kernel_size=depth.kernel_size,
            stride=depth.stride, low=depth.low, dilation=depth.dilation,
        )  # fmt: skip
        with r.loop(*bounds) as taps:
            self.fill_x(self.od * depth.stride - depth.low + taps.index * depth.dilation)
            first_tap = taps.index * (p.rows.kernel_size * p.columns.kernel_size)
            self.sum = self.first_sum(block) + first_tap * self.lanes
            for outputs, rows, columns in layout.passes():
                with (
                    r.loop(rows.begin, rows.end, rows.size) as first,
                    r.loop(columns.begin, columns.end, columns.size) as second,
                ):
                    _Pass(self, outputs, rows, first.index, columns, second.index)

    def add_up(self) -> None:
        """Add the chunk's numbers of gy to the sums of their channels."""
        r, p, lanes = self.r, self.p, self.lanes
        step, together = p.groups * p.outputs, p.together * p.outputs
        line = (self.image * p.depth.outputs + self.od) * p.rows.outputs + self.row
        first = line * p.columns.outputs * step + self.block * together
        count = self.rows * p.columns.outputs
        sums = self.first_sum(self.block) + self.layout.weight_numbers
        exist = r.minimum((p.groups - self.block * p.together) * p.outputs, together)
        with r.loop(0, p.gy_vectors * lanes, lanes) as vectors:
            at, real = first + vectors.index, self.below(exist - vectors.index)
            total = r.load(self.sums, sums + vectors.index, lanes)

            def pixel(n: Value, at: Value = at, real: Value = real) -> Value:
                return r.load(self.gy, at + n * step, lanes, real)

            r.store(self.sums, sums + vectors.index, with_sum(r, total, count, pixel))

    def zeros(self, buffer: Buffer, begin: Operand, end: Operand) -> None:
        """Zeros from one place of a buffer up to another."""
        with self.r.loop(begin, end, self.lanes) as loop:
            self.r.store(buffer, loop.index, self.zero)

    def fill_x(self, plane: Value) -> None:
        """Copy the pixels of x that the chunk sees; those of padding are zero."""
        r, p, layout = self.r, self.p, self.layout
        self.plane = plane
        row = layout.x_columns * self.lanes
        top = self.row * p.rows.stride - p.rows.low
        first, end = r.maximum(top, 0), r.minimum(top + layout.x_rows, p.rows.inputs)
        if layout.chunks > 1:  # else they have been zero from the beginning
            self.zeros(self.panel, 0, (first - top) * row)
            self.zeros(self.panel, r.maximum(end - top, 0) * row, layout.panel_numbers)
        source = (self.image * p.depth.inputs + plane) * p.rows.inputs
        low = min(p.columns.low, layout.x_columns)
        count = max(0, min(p.columns.inputs, layout.x_columns - low))
        with r.loop(first, end) as rows:
            at = (source + rows.index) * (p.columns.inputs * p.channels) + self.channel
            to = (rows.index - top) * row + low * self.lanes
            with r.loop(0, count) as pixels:
                vector = r.load(self.x, at + pixels.index * p.channels, self.lanes, self.real)
                r.store(self.panel, to + pixels.index * self.lanes, vector)

    def spread(self, pixel: Value, outputs: range) -> list[Value]:
        """For some output channels, in the lanes of each group that group's number of gy."""
        r, p, lanes = self.r, self.p, self.lanes
        if p.inputs == p.outputs == 1:
            return [r.load(self.gy, pixel + self.channel, lanes, self.real)]
        first = pixel + self.block * (p.together * p.outputs)
        if p.together == 1:
            return [r.splat(r.load(self.gy, first + n), lanes) for n in outputs]
        count = p.together * p.outputs
        exist = (p.groups - self.block * p.together) * p.outputs
        vectors = []
        for at in range(0, count, lanes):
            left = r.minimum(exist, count) - at
            whole = self.real is None and at + lanes <= count
            mask = None if whole else self.below(left)
            vectors.append(r.load(self.gy, first + at, lanes, mask))
        places = [min(lane // p.inputs, p.together - 1) * p.outputs for lane in range(lanes)]
        return [self.picked(vectors, [at + n for at in places]) for n in outputs]

    def picked(self, vectors: Sequence[Value], places: Sequence[int]) -> Value:
        """Numbers of some vectors laid end to end, by their places."""
        r, lanes = self.r, self.lanes
        found = r.pick(vectors[0], vectors[0], [place % lanes for place in places])
        for number, vector in enumerate(vectors[1:], 1):
            if any(place // lanes == number for place in places):
                mine = [
                    lanes + place % lanes if place // lanes == number else lane
                    for lane, place in enumerate(places)
                ]
                found = r.pick(found, vector, mine)
        return found


class AddedSums:
    """Records what adds up the parts of the sums, and writes the gradients: `gw`, `gb`, `sums`.

    The parts are added one after the other, so that threads make no difference.
    """

    def __init__(self, name: str, layout: ChannelsLayout) -> None:
        self.layout, p = layout, layout.problem
        r = self.r = Routine(f"{name}_added", p.blocks * p.outputs)
        self.gw = r.writes("gw", p.wide, p.numbers)
        self.gb = r.writes("gb", p.wide, p.groups * p.outputs)
        self.sums = r.reads("sums", p.wide, layout.parts * layout.sum_numbers)
        with r.work() as item:
            block, output = item // p.outputs, item % p.outputs
            with r.loop(0, p.taps, p.lanes) as taps:
                self.store(block, output, taps.index)
            with r.when(output < 1), r.loop(0, p.gy_vectors * p.lanes, p.lanes) as vectors:
                self.store_of_gy(block, vectors.index)

    def store_of_gy(self, block: Value, vector: Value) -> None:
        """Write the sums of a vector of output channels."""
        r, layout, p = self.r, self.layout, self.layout.problem
        first = block * layout.block_numbers + layout.weight_numbers + vector
        total = r.load(self.sums, first, p.lanes)
        with r.loop(1, layout.parts, carried=[total]) as loop:
            more = r.load(self.sums, first + loop.index * layout.sum_numbers, p.lanes)
            loop.carry(loop.carried[0] + more)
        together = p.together * p.outputs
        exist = r.minimum((p.groups - block * p.together) * p.outputs, together)
        to, real = block * together + vector, r.below(exist - vector, p.lanes)
        r.store(self.gb, to, loop.results[0], real)

    def store(self, block: Value, output: Value, tap: Value) -> None:
        """Write some weights of all channels of a vector: those of a channel lie tap by tap."""
        r, layout, p = self.r, self.layout, self.layout.problem
        first = block * layout.block_numbers + (output * p.taps + tap) * p.lanes
        rows = [r.load(self.sums, first + n * p.lanes, p.lanes) for n in range(p.lanes)]
        with r.loop(1, layout.parts, carried=rows) as loop:
            at = first + loop.index * layout.sum_numbers
            more = [r.load(self.sums, at + n * p.lanes, p.lanes) for n in range(p.lanes)]
            loop.carry(*(a + b for a, b in zip(loop.carried, more, strict=True)))
        left, channel = r.below(p.taps - tap, p.lanes), block * p.used
        for lane, row in enumerate(transposed(r, loop.results)[: p.used]):
            group = block * p.together + lane // p.inputs
            weight = (group * p.outputs + output) * p.inputs + lane % p.inputs
            with when(r, p.groups % p.together == 0 or channel + lane < p.channels):
                r.store(self.gw, weight * p.taps + tap, row, left)


class _Pass:
    """Some output channels × row taps × column taps, over the chunk in the panels."""

    def __init__(
        self, of: ChannelSums, outputs: range, rows: TapRun, row: Value, columns: TapRun,
        column: Value,
    ) -> None:  # fmt: skip
        self.of, self.r, self.lanes = of, of.r, of.lanes
        self.outputs, self.rows, self.columns = outputs, rows, columns
        r, p, layout = self.r, of.p, of.layout
        self.is_first = layout.blocks > 1 and not outputs.start + rows.begin + columns.begin
        places = [
            of.sum + ((row + n) * p.columns.kernel_size + column + (o * p.taps + k)) * self.lanes
            for o in outputs
            for n in range(rows.size)
            for k in range(columns.size)
        ]
        sums = [r.load(of.sums, place, self.lanes) for place in places]
        self.pitch = layout.x_columns * self.lanes
        first_row, end_row = self.seen(p.rows, row, rows.size)
        self.bounds = self.seen(p.columns, column, columns.size)
        x = row * p.rows.dilation * self.pitch + column * (p.columns.dilation * self.lanes)
        self.x = opaque(r, x)
        line = (of.image * p.depth.outputs + of.od) * p.rows.outputs + of.row
        self.gy = opaque(r, line * (p.columns.outputs * p.groups * p.outputs))
        begin = r.maximum(first_row - of.row, 0)
        with r.loop(begin, r.minimum(end_row - of.row, of.rows), carried=sums) as loop:
            loop.carry(*self.row_of_pixels(loop.carried, loop.index))
        for place, total in zip(places, loop.results, strict=True):
            r.store(of.sums, place, total)

    def seen(self, span: Span, tap: Value, size: int) -> tuple[Value, Value]:
        """The outputs that see the input through any of some taps."""
        r, s = self.r, span.stride
        before = r.maximum(span.low - (tap + (size - 1)) * span.dilation, 0)
        behind = r.maximum(span.inputs - 1 + span.low + s - tap * span.dilation, 0)
        return (before + (s - 1)) // s, r.minimum(behind // s, span.outputs)

    def row_of_pixels(self, sums: Sequence[Value], row: Value) -> Sequence[Value]:
        """The part of one row of outputs."""
        r, p, pixels = self.r, self.of.p, self.of.layout.tile.pixels
        x = self.x + row * (p.rows.stride * self.pitch)
        step = p.groups * p.outputs
        gy = self.gy + row * (p.columns.outputs * step)
        begin, end = self.bounds
        whole = begin + r.maximum(end - begin, 0) // pixels * pixels
        for first, last, count in ((begin, whole, pixels), (whole, end, 1)):
            if count == 1 and pixels == 1 and first is whole:
                break
            with r.loop(first, last, count, carried=sums) as loop:
                at = x + loop.index * (p.columns.stride * self.lanes), gy + loop.index * step
                if count > 1 and self.is_first:
                    self.ask(at[1], row, loop.index, count)
                loop.carry(*self.turn(loop.carried, *at, step, count))
            sums = loop.results
        return sums

    def ask(self, gy: Value, row: Value, column: Value, pixels: int) -> None:
        """Have the next vector of channels of these pixels brought near, of gy and of x.

        Vectors of a pixel follow each other, but are used some rows later; what fetches memory by
        itself in a core does little for pixels that lie apart.
        """
        r, of, p = self.r, self.of, self.of.p
        for pixel in range(pixels):
            after = (of.block + 1) * (p.together * p.outputs)
            r.prefetch(of.gy, gy + pixel * (p.groups * p.outputs) + after, _ASKED)
        line = (of.image * p.depth.inputs + of.plane) * p.rows.inputs
        line = line + (of.row + row) * p.rows.stride
        first = line * p.columns.inputs + column * p.columns.stride
        for down in range(p.rows.stride):
            for place in range(pixels * p.columns.stride):
                pixel_after = first + (down * p.columns.inputs + place)
                r.prefetch(of.x, pixel_after * p.channels + of.channel + p.used, _ASKED)

    def turn(
        self, sums: Sequence[Value], x: Value, gy: Value, step: int, pixels: int
    ) -> Sequence[Value]:
        """The part of some neighbouring pixels of gy."""
        r, of, lanes, found = self.r, self.of, self.lanes, list(sums)
        r.cut()  # or loads of the next turn are begun early, and there are no registers left
        kept = [of.spread(gy + pixel * step, self.outputs) for pixel in range(pixels)]
        dilation, taps = of.p.rows.dilation, self.columns.size
        for row in range(self.rows.size):
            for place, readers in of.layout.readers(pixels, taps).items():
                at = x + (row * dilation * self.pitch + place * lanes)
                vector = r.load(of.panel, at, lanes)
                for pixel, tap in readers:
                    for o, number in enumerate(kept[pixel]):
                        n = (o * self.rows.size + row) * taps + tap
                        found[n] = r.fma(number, vector, found[n])
        return found
