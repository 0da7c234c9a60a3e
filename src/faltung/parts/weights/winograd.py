"""The gradient of a weight by Winograd's filtering: the transpose of the filtering in the weight.

    y = Aᵀ [(G w Gᵀ) ⊙ (Bᵀ x B)] A                        forward, tile by tile
    gw = Gᵀ [ Σ_tiles (A gy Aᵀ) ⊙ (Bᵀ x B) ] G            so this is its gradient in w

An item has some input and some output channels. A block of tiles of gy, and the tiles of x that
they saw, are read into strips, transformed, and multiplied: for each product p a matrix product of
all tiles, V[p, tile, c] with vectors of input channels and S[p, tile, o] spread over the lanes. The
sums M[p, o, c] wait until all blocks have been seen, and are transformed into the gradient then.
Tiles outside of the image are zero. Each tap of a depth is a problem of its own.
"""

from collections.abc import Sequence
from fractions import Fraction
from itertools import chain
from math import prod

from ...lang.ops import Buffer
from ...lang.routine import Routine, Value
from ..interleave import interleaved
from ..taps import taps_inside
from ..winograd.strips import Channels, Image, Runs, Strip
from ..winograd.tiles import Block
from ..winograd.transforms import mapped
from .taps import TapRun
from .winograd_layout import MOST_WOVEN, WinogradWeightLayout

BUFFERS = 4
"""gw, x, gy, c."""


class WinogradWeightRoutine:
    """Records the routine.

    Buffers: gw [part, G·O, C, taps] or channels last, x, gy, `layout.factors`, strips of x and gy,
    V [product, tile, c], S [product, tile, o], M [depth tap, product, o, c].
    """

    def __init__(self, layout: WinogradWeightLayout) -> None:
        self.layout, self.p, self.cutting = layout, layout.problem, layout.cutting
        p, self.lanes = layout.problem, layout.problem.lanes
        self.high, self.wide = layout.high, layout.wide
        axes = (p.depth, p.high, p.wide)
        x_size, y_size = tuple(a.inputs for a in axes), tuple(a.outputs for a in axes)
        channels_in, channels_out = p.groups * p.inputs, p.groups * p.outputs
        r = self.r = Routine("winograd_weight", layout.items)
        self.gw = r.writes("gw", p.wide_dtype, layout.parts * p.numbers)
        x = r.reads("x", p.dtype, p.batch * channels_in * prod(x_size))
        gy = r.reads("gy", p.dtype, p.batch * channels_out * prod(y_size))
        self.x = Image(x, channels_in, (x_size[0], x_size[1], x_size[2]), p.last)
        self.gy = Image(gy, channels_out, (y_size[0], y_size[1], y_size[2]), p.last)
        self.c = r.reads("c", p.wide_dtype, len(layout.factors))
        both = (self.high, self.wide)
        seen = [b.input_runs[1] for b in both], [b.output_runs[1] for b in both]
        self.seen, self.given = (
            Strip(r, name, p.wide_dtype, lines=lines, columns=columns, vectors=vectors,
                  lanes=self.lanes)
            for name, (lines, columns), vectors in zip(
                ("seen", "given"), seen, layout.strip_vectors, strict=True
            )
        )  # fmt: skip
        self.v = r.scratch("v", p.wide_dtype, layout.scratch[2])
        self.s = r.scratch("s", p.wide_dtype, layout.scratch[3])
        self.m = r.scratch("m", p.wide_dtype, layout.scratch[4])
        with r.work() as item:
            self.item(item)

    def item(self, item: Value) -> None:
        """Some input channels × some output channels in a part of the images."""
        r, p, layout, cutting = self.r, self.p, self.layout, self.cutting
        of_inputs, of_outputs = layout.blocks
        inputs, outputs = p.vectors
        block, item = item % of_inputs, item // of_inputs
        made, item = item % of_outputs, item // of_outputs
        self.group, self.part = item % p.groups, item // p.groups
        # shares are of one size: the last one may do again what the one before has done
        self.first_in = r.minimum(block * cutting.inputs, inputs - cutting.inputs)
        self.first_out = r.minimum(made * cutting.made, outputs - cutting.made)
        if not layout.is_single:
            with r.loop(0, layout.scratch[4], self.lanes) as loop:
                r.store(self.m, loop.index, r.const(0, p.kind, self.lanes))
        each = -(-layout.visits // layout.parts)
        first = self.part * each
        with r.loop(first, r.minimum(first + each, layout.visits)) as visits:
            self.visit(visits.index)
        self.finish()

    # -- transforms -------------------------------------------------------------------------------

    def visit(self, visit: Value) -> None:
        """A block of tiles of an output plane, with all planes that it saw."""
        r, p, depth = self.r, self.p, self.p.depth
        column, visit = visit % self.wide.count, visit // self.wide.count
        row, visit = visit % self.high.count, visit // self.high.count
        plane, n = visit % depth.outputs, visit // depth.outputs * self.cutting.images
        both = [(self.high, row), (self.wide, column)]
        firsts = [(b, number * (b.groups * b.axis.span)) for b, number in both]
        high, wide = (Runs(at, *b.output_runs, b.axis.dilation) for b, at in firsts)
        made = self.cutting.made
        channels = (self.group * p.outputs, p.outputs, self.first_out, made)
        self.transform((self.given, self.s, "a"), self.gy, (n, plane), channels, (high, wide))
        high, wide = (
            Runs(at - b.axis.plain.low, *b.input_runs, b.axis.dilation) for b, at in firsts
        )
        channels = (self.group * p.inputs, p.inputs, self.first_in, self.cutting.inputs)
        begin, end = taps_inside(
            r, plane, input_size=depth.inputs, kernel_size=depth.taps, stride=1, low=depth.low,
            dilation=depth.dilation,
        )  # fmt: skip
        with r.loop(begin, end) as taps:
            seen = plane - depth.low + taps.index * depth.dilation
            self.transform((self.seen, self.v, "bt"), self.x, (n, seen), channels, (high, wide))
            self.multiply(taps.index * (self.layout.products * self.layout.sum_step))

    def transform(
        self,
        to: tuple[Strip, Buffer, str],
        image: Image,
        place: tuple[Value, Value],
        channels: tuple[Value, int, Value, int],
        runs: tuple[Runs, Runs],
    ) -> None:
        """Read what a block sees of some vectors of channels, and transform it."""
        r, (strip, _, _), (first, count, begin, vectors) = self.r, to, channels
        together, each = vectors if self.p.last else 1, self.cutting.high * self.cutting.wide
        with r.loop(0, self.cutting.images) as images, r.loop(0, vectors, together) as loop:
            n, plane = place[0] + images.index, place[1]
            of = Channels(n, plane, first, count, begin + loop.index, r.const(together))
            strip.fill(image, of, *runs)
            with self.high.each(r) as (row, line), self.wide.each(r) as (column, at):
                base = line * strip.line + at * strip.pixel
                tile = images.index * each + row * self.cutting.wide + column
                tile = tile * vectors + loop.index
                with r.loop(0, together) as inner:
                    source = base + inner.index * self.lanes
                    self.transform_tile(to, source, (tile + inner.index) * self.lanes)

    def transform_tile(self, to: tuple[Strip, Buffer, str], source: Value, at: Value) -> None:
        """Bᵀ d B or A d Aᵀ of one vector of one tile."""
        r, (strip, buffer, matrix) = self.r, to
        down, right = self.high.step * strip.line, self.wide.step * strip.pixel
        rows, columns = (
            b.axis.transform.size if matrix == "bt" else b.axis.transform.outputs
            for b in (self.high, self.wide)
        )
        values = [
            [r.load(strip.buffer, source + (i * down + j * right), self.lanes)
             for j in range(columns)] for i in range(rows)
        ]  # fmt: skip
        step = self.layout.input_step if matrix == "bt" else self.layout.made_step
        for number, value in enumerate(chain(*self.both_ways(values, matrix))):
            r.store(buffer, at + number * step, value)

    def both_ways(self, values: Sequence[Sequence[Value]], matrix: str) -> list[list[Value]]:
        """A transform of rows, then of columns."""
        rows = [self.mapped(self.wide, matrix, row) for row in values]
        columns = [self.mapped(self.high, matrix, column) for column in zip(*rows, strict=True)]
        return [list(row) for row in zip(*columns, strict=True)]

    def mapped(self, block: Block, matrix: str, values: Sequence[Value]) -> list[Value]:
        """One row or column, transformed."""
        return mapped(self.r, getattr(block.axis.transform, matrix), values, self.factor)

    def factor(self, c: Fraction) -> Value:
        """A factor in every lane; from memory, or LLVM keeps them all in registers throughout."""
        number = self.r.load(self.c, self.layout.factors.index(c))
        return self.r.splat(number, self.lanes)

    # -- products ---------------------------------------------------------------------------------

    def multiply(self, m: Value) -> None:
        """Add the products of a block to the sums that begin at m."""
        r, layout, cutting = self.r, self.layout, self.cutting
        with r.loop(0, layout.products) as products:
            at = m + products.index * layout.sum_step
            v, s = (products.index * step for step in (layout.input_step, layout.made_step))
            with r.loop(0, cutting.inputs, cutting.vectors) as vectors:
                first = vectors.index * self.lanes
                for run in layout.runs():
                    with r.loop(run.begin, run.end, run.size) as outputs:
                        place = at + outputs.index * (cutting.inputs * self.lanes) + first
                        self.tile(run, place, v + first, s + outputs.index)

    def tile(self, run: TapRun, m: Value, v: Value, s: Value) -> None:
        """Some output channels × some vectors of input channels, over all tiles of the block."""
        r, lanes, cutting = self.r, self.lanes, self.cutting
        vectors, width = range(cutting.vectors), cutting.inputs * lanes
        places = [m + (o * width + n * lanes) for o in range(run.size) for n in vectors]
        sums = [r.const(0, self.p.kind, lanes)] * len(places)
        if not self.layout.is_single:
            sums = [r.load(self.m, place, lanes) for place in places]
        step = self.layout.together(run.size)
        with r.loop(0, self.layout.tiles, step, carried=sums) as loop:
            found = list(loop.carried)
            for t in range(step):
                r.cut()  # or loads of the next tile are begun early, and registers run out
                tile = loop.index + t
                loaded = [r.load(self.v, v + tile * width + n * lanes, lanes) for n in vectors]
                for o in range(run.size):
                    number = r.load(self.s, s + tile * (cutting.made * lanes) + o)
                    spread = r.splat(number, lanes)
                    for n in vectors:
                        k = o * len(vectors) + n
                        found[k] = r.fma(spread, loaded[n], found[k])
            loop.carry(*found)
        for place, total in zip(places, loop.results, strict=True):
            r.store(self.m, place, total)

    # -- the gradient -----------------------------------------------------------------------------

    def finish(self) -> None:
        """Gᵀ M G of all sums of the item, each to its place in the gradient."""
        r, p, layout, lanes = self.r, self.p, self.layout, self.lanes
        with r.loop(0, layout.made) as outputs, r.loop(0, self.cutting.inputs) as inputs:
            vector = self.first_out + outputs.index // lanes
            first = r.minimum(vector * lanes, max(p.outputs - lanes, 0))
            output = self.group * p.outputs + first + outputs.index % lanes
            channel = r.minimum((self.first_in + inputs.index) * lanes, max(p.inputs - lanes, 0))
            source = (outputs.index * self.cutting.inputs + inputs.index) * lanes
            to = self.part * p.numbers + output * (p.inputs * p.taps)
            with r.loop(0, p.depth.taps) as taps:
                at = source + taps.index * (layout.products * layout.sum_step)
                self.store(self.gradient(at), taps.index, to, channel)

    def gradient(self, at: Value) -> list[Value]:
        """The taps of a plane of the filters, for a vector of input channels."""
        rows, columns = (b.axis.transform.size for b in (self.high, self.wide))
        values = [
            [self.r.load(self.m, at + (i * columns + j) * self.layout.sum_step, self.lanes)
             for j in range(columns)] for i in range(rows)
        ]  # fmt: skip
        return list(chain(*self.both_ways(values, "gt")))

    def store(self, taps: list[Value], plane: Value, to: Value, channel: Value) -> None:
        """Write the taps of a plane and a vector of channels in the order of the gradient."""
        r, p, lanes = self.r, self.p, self.lanes
        masked = p.inputs < lanes
        if p.last:
            mask = r.below(p.inputs, lanes) if masked else None
            for n, value in enumerate(taps):
                r.store(self.gw, to + (plane * len(taps) + n) * p.inputs + channel, value, mask)
        elif p.taps == len(taps) <= MOST_WOVEN:
            for n, woven in enumerate(interleaved(r, taps)):
                left = max(p.inputs * len(taps) - n * lanes, 0)
                mask = r.below(left, lanes) if masked else None
                r.store(self.gw, to + channel * len(taps) + n * lanes, woven, mask)
        else:  # one by one
            for n, value in enumerate(taps):
                for lane in range(min(lanes, p.inputs)):
                    place = to + (channel + lane) * p.taps + plane * len(taps) + n
                    r.store(self.gw, place, r.pick(value, value, [lane]))
