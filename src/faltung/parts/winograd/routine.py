"""The routine of Winograd's filtering: a block of tiles from its pixels to its outputs.

    V[p, t, c] = Bᵀ d B                 input transform of tile t, channel by channel
    M[p, t, o] = Σ_c V[p, t, c] · U[p, c, o]              one matrix product for each product p
    Y[t, o]    = Aᵀ M A + bias (+ residual)     output transform

Vectors run along channels throughout. An item is a block of neighbouring tiles (of all phases of a
dilation), small enough that V and M stay in the second cache: its pixels are read into a strip,
transformed, multiplied, transformed back and written. The products of some tiles × vectors of
output channels are summed in registers over all input channels; of V one number at a time is spread
over the lanes. The transformed weight lies in the order in which it is read.

A depth is summed in M. Successive output planes of an item share the transformed input planes that
both see: plane number `plane` is kept at plane mod taps.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import chain
from math import gcd, prod

from ...lang.routine import Routine, Value
from ...ops.naming import split
from ..activation import activated
from ..taps import taps_inside
from .problem import Layout
from .strips import Channels, Image, Runs, Strip
from .transforms import mapped

_LINE = 64  # bytes
_UNROLLED = 4  # input channels written down one after the other
_AHEAD = 32  # input channels ahead of which weights are asked for: what memory takes to answer
_BRIEF = ("relu", "relu6", "leaky_relu")  # activations that may be written down m² times

BUFFERS = 4
"""y, x, u, c; then the bias and the residual if there are."""


def winograd_routine(layout: Layout) -> Routine:
    """The routine for a problem that is cut; its buffers are those of `Recording`."""
    return _Recording(layout).r


class _Recording:
    """The routine being recorded.

    Buffers: y, x, the transformed weight u [group, chunk, product, tile of vectors, depth tap,
    part, input channel, vectors of output channels], `layout.factors`, strip of inputs, V [plane,
    product, tile, channel], M [product, tile, channel], strip of outputs, bias, residual.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout, self.problem, self.cutting = layout, layout.problem, layout.cutting
        p, self.lanes = layout.problem, layout.cutting.lanes
        self.high, self.wide = layout.high, layout.wide
        r = self.r = Routine("winograd", layout.items)
        sizes = [(p.depth.outputs, p.high.outputs, p.wide.outputs),
                 (p.depth.inputs, p.high.inputs, p.wide.inputs)]  # fmt: skip
        channels = [p.groups * p.outputs, p.groups * p.inputs]
        counts = [p.batch * c * prod(size) for c, size in zip(channels, sizes, strict=True)]
        counts[0] = p.outlet.numbers(p.batch) if p.outlet else counts[0]
        counts[1] = p.inlet.numbers(p.batch) if p.inlet else counts[1]
        self.y = Image(r.writes("y", p.dtype, counts[0]), channels[0], sizes[0], p.last)
        self.x = Image(r.reads("x", p.dtype, counts[1]), channels[1], sizes[1], p.last)
        self.u = r.reads("u", p.wide_dtype, layout.weights)
        self.c = r.reads("c", p.wide_dtype, len(layout.factors))
        self.pixels = self.strip("pixels", layout.input_pixels, layout.input_strip)
        self.v = r.scratch("v", p.wide_dtype, layout.scratch[1])
        self.m = r.scratch("m", p.wide_dtype, layout.scratch[2])
        self.outputs = self.strip("outputs", layout.output_pixels, layout.output_strip)
        self.b = r.reads("b", p.dtype, channels[0]) if p.bias else None
        self.residual = r.reads("residual", p.dtype, counts[0]) if p.residual else None
        with r.work() as item:
            self.item(item)

    def strip(self, name: str, pixels: tuple[int, int], vectors: int) -> Strip:
        return Strip(
            self.r, name, self.problem.wide_dtype,
            lines=pixels[0], columns=pixels[1], vectors=vectors, lanes=self.lanes,
        )  # fmt: skip

    def item(self, item: Value) -> None:
        """A block of tiles in some output planes, and a share of the output channels."""
        r, layout, p = self.r, self.layout, self.problem
        share, item = item % self.cutting.shares, item // self.cutting.shares
        column, item = item % self.wide.count, item // self.wide.count
        row, item = item % self.high.count, item // self.high.count
        planes, item = item % layout.plane_blocks, item // layout.plane_blocks
        self.group, self.n = item % p.groups, item // p.groups
        self.places = [b.place(r, at) for b, at in ((self.high, row), (self.wide, column))]
        first = planes * self.cutting.planes
        end = r.minimum(first + self.cutting.planes, p.depth.outputs)
        each = -(-layout.chunks // self.cutting.shares)
        with r.loop(first, end) as loop:
            self.plane = loop.index
            self.transform_inputs(is_first=r.apply("eq", loop.index, first))
            with r.loop(share * each, r.minimum(share * each + each, layout.chunks)) as chunks:
                self.multiply(chunks.index)
                self.transform_outputs(chunks.index)

    def depth_taps(self) -> tuple[Value, Value]:
        """The taps of the depth that read a plane which exists, for the output plane at hand."""
        depth = self.problem.depth
        if depth.reads_all:
            return self.r.const(0), self.r.const(depth.taps)
        return taps_inside(
            self.r, self.plane, input_size=depth.inputs, kernel_size=depth.taps,
            stride=depth.stride,
            low=depth.low, dilation=depth.dilation,
        )  # fmt: skip

    def kept_at(self, tap: Value) -> Value:
        """Where the transformed plane that a tap reads begins in V."""
        depth = self.problem.depth
        if depth.dilation == 1:
            tap = (self.plane * depth.stride + tap) % depth.taps if depth.taps > 1 else tap
        return tap * self.layout.plane_step

    def transform_inputs(self, is_first: Value) -> None:
        """Read and transform the planes that the output plane sees and the one before did not."""
        r, p, depth = self.r, self.problem, self.problem.depth
        begin, end = self.depth_taps()
        if depth.dilation == 1:
            known = r.const(max(depth.taps - depth.stride, 0))
            begin = r.maximum(begin, r.select(is_first, r.const(0), known))
        runs = self.input_runs()
        together = self.layout.input_strip
        with r.loop(begin, end) as taps, r.loop(0, self.layout.input_vectors, together) as strips:
            plane = self.plane * depth.stride - depth.low + taps.index * depth.dilation
            of = Channels(
                self.n, plane, self.group * p.inputs, p.inputs, strips.index, r.const(together)
            )
            if p.inlet:
                p.inlet.fill(self.pixels, self.x.buffer, self.group, of, *runs)
            else:
                self.pixels.fill(self.x, of, *runs)
            at = self.kept_at(taps.index)
            with self.high.each_read(r) as (row, line), self.wide.each_read(r) as (place, column):
                tile = row * (self.cutting.wide + self.wide.axis.halo) + place
                self.transform_tile(of, at, tile, line, column)

    def input_runs(self) -> tuple[Runs, Runs]:
        found = []
        for block, (first, _) in zip((self.high, self.wide), self.places, strict=True):
            begin = first * block.axis.plain.stride - block.axis.plain.low
            found.append(Runs(begin, *block.input_runs, block.axis.dilation))
        return found[0], found[1]

    def each_tile(self, body: Callable[[Value, Value, Value], None]) -> None:
        """Record `body(tile, line, column)` in loops over the tiles of the block."""
        with self.high.each(self.r) as (row, line), self.wide.each(self.r) as (column, place):
            body(row * self.cutting.wide + column, line, place)

    def transform_tile(
        self, of: Channels, at: Value, tile: Value, line: Value, column: Value
    ) -> None:
        """Bᵀ d B of one tile, vector by vector of channels."""
        r, strip = self.r, self.pixels
        base = line * strip.line + column * strip.pixel
        at = at + tile * self.layout.tile_step
        with r.loop(0, of.count) as loop:
            values = self.numbers(strip, base + loop.index * self.lanes)
            place = at + of.offset(r, loop.index, self.lanes)
            for number, factor in enumerate(chain(*self.both_ways(values, "bt"))):
                r.store(self.v, place + number * self.layout.input_step, factor)

    def numbers(self, strip: Strip, base: Value) -> list[list[Value]]:
        """The pixels of a tile, row by row."""
        down, right = self.high.step * strip.line, self.wide.step * strip.pixel
        rows, columns = (b.axis.transform.size for b in (self.high, self.wide))
        return [
            [self.r.load(strip.buffer, base + (i * down + j * right), self.lanes)
             for j in range(columns)] for i in range(rows)
        ]  # fmt: skip

    def both_ways(self, values: list[list[Value]], matrix: str) -> list[list[Value]]:
        """A transform of rows, then of columns."""
        along_rows = getattr(self.wide.axis.transform, matrix)
        along_columns = getattr(self.high.axis.transform, matrix)
        rows = [mapped(self.r, along_rows, row, self.factor) for row in values]
        columns = [
            mapped(self.r, along_columns, column, self.factor) for column in zip(*rows, strict=True)
        ]
        return [list(row) for row in zip(*columns, strict=True)]

    def factor(self, c: Fraction) -> Value:
        """A factor in every lane; from memory, as LLVM keeps constants in registers throughout.

        The sums of products need them all: a few constants fewer are sums that are not spilled.
        """
        number = self.r.load(self.c, self.layout.factors.index(c))
        return self.r.splat(number, self.lanes)

    def multiply(self, chunk: Value) -> None:
        """M of the block for a chunk of output channels."""
        r, layout, cutting = self.r, self.layout, self.cutting
        taps = self.depth_taps()
        one = cutting.vectors * self.lanes * layout.terms
        together = cutting.chunk // cutting.vectors
        chunk = self.group * layout.chunks + chunk
        with r.loop(0, layout.products) as products, r.loop(0, together) as vectors:
            weights = (chunk * layout.products + products.index) * together + vectors.index
            self.first, self.passes = weights * one, -(-layout.tiles // cutting.tiles)
            with r.loop(0, self.passes) as loop:
                tile = r.minimum(loop.index * cutting.tiles, layout.tiles - cutting.tiles)
                # in each pass a part of the weights is asked for that come after these
                self.following = self.first + one + loop.index * (one // self.passes)
                sums = self.over_depth(
                    taps, products.index * layout.input_step + tile * layout.tile_step,
                    self.first,
                )  # fmt: skip
                step = cutting.chunk * self.lanes
                at = products.index * layout.sum_step + tile * step
                at = at + vectors.index * (cutting.vectors * self.lanes)
                for n, value in enumerate(sums):
                    t, o = divmod(n, cutting.vectors)
                    r.store(self.m, at + (t * step + o * self.lanes), value)

    def over_depth(self, taps: tuple[Value, Value], v: Value, u: Value) -> list[Value]:
        """Sums of products over the taps of the depth and all input channels."""
        r, count = self.r, self.cutting.tiles * self.cutting.vectors
        sums = [r.const(0, self.problem.kind, self.lanes)] * count
        if self.problem.depth.taps == 1 and self.problem.depth.reads_all:
            return self.over_parts(sums, v, u)
        one = self.cutting.vectors * self.lanes * self.problem.inputs * self.wide.axis.parts
        with r.loop(*taps, carried=sums) as loop:
            at = v + self.kept_at(loop.index)
            loop.carry(*self.over_parts(loop.carried, at, u + loop.index * one))
        return list(loop.results)

    def over_parts(self, sums: Sequence[Value], v: Value, u: Value) -> list[Value]:
        """Sums of products over the parts of a filter; those of the next ones see later tiles."""
        axis = self.wide.axis
        if axis.parts == 1:
            return self.over_channels(sums, v, u)
        one = self.cutting.vectors * self.lanes * self.problem.inputs
        apart = axis.dilation * self.layout.tile_step
        with self.r.loop(0, axis.parts, carried=sums) as loop:
            at = v + loop.index * apart
            loop.carry(*self.over_channels(loop.carried, at, u + loop.index * one))
        return list(loop.results)

    def over_channels(self, sums: Sequence[Value], v: Value, u: Value) -> list[Value]:
        """Sums of products over all input channels."""
        r, lanes, vectors = self.r, self.lanes, self.cutting.vectors
        step, row = gcd(_UNROLLED, self.problem.inputs), vectors * lanes
        line = _LINE // self.problem.item_size
        with r.loop(0, self.problem.inputs, step, carried=sums) as loop:
            found = list(loop.carried)
            to = self.following + (u + loop.index * row - self.first) // self.passes
            for n in range(-(-step * row // (line * self.passes))):
                r.prefetch(self.u, to + n * line)
            for c in range(step):
                at = u + (loop.index + c) * row
                for n in range(0, row, line):
                    r.prefetch(self.u, at + (_AHEAD * row + n))
                weights = [r.load(self.u, at + o * lanes, lanes) for o in range(vectors)]
                for t in range(self.cutting.tiles):
                    number = r.load(self.v, v + loop.index + (t * self.layout.tile_step + c))
                    spread = r.splat(number, lanes)
                    for o, weight in enumerate(weights):
                        n = t * vectors + o
                        found[n] = r.fma(spread, weight, found[n])
            loop.carry(*found)
        return list(loop.results)

    def transform_outputs(self, chunk: Value) -> None:
        """Y of the block for a chunk of output channels, written to where it belongs."""
        r, p, layout = self.r, self.problem, self.layout
        first = chunk * self.cutting.chunk
        real = r.minimum(layout.output_vectors - first, self.cutting.chunk)
        with r.loop(0, real, layout.output_strip) as loop:
            of = Channels(
                self.n, self.plane, self.group * p.outputs, p.outputs, first + loop.index,
                r.minimum(real, layout.output_strip),
            )  # fmt: skip
            place = loop.index * self.lanes
            self.each_tile(lambda tile, line, column: self.make_tile(of, place, tile, line, column))
            if not _is_brief(p.activation) and not p.residual:
                self.outputs.each_vector(lambda value: activated(r, p.activation, value))
            if p.outlet:
                p.outlet.drain(self.outputs, self.y.buffer, self.group, of, *self.output_runs())
            else:
                finish = self.with_residual if p.residual else None
                self.outputs.drain(self.y, of, *self.output_runs(), finish)

    def with_residual(self, number: Value, place: Value, mask: Value | None) -> Value:
        """What is written there."""
        assert self.residual is not None
        total = number + self.r.load(self.residual, place, self.lanes, mask)
        return activated(self.r, self.problem.activation, total)

    def output_runs(self) -> tuple[Runs, Runs]:
        found = []
        for block, (first, skip) in zip((self.high, self.wide), self.places, strict=True):
            found.append(Runs(first, *block.output_runs, block.axis.dilation, skip))
        return found[0], found[1]

    def make_tile(self, of: Channels, at: Value, tile: Value, line: Value, column: Value) -> None:
        """Aᵀ M A of one tile, vector by vector of channels."""
        r, strip = self.r, self.outputs
        rows, columns = (b.axis.transform.size for b in (self.high, self.wide))
        down, right = self.high.step * strip.line, self.wide.step * strip.pixel
        at = at + tile * (self.cutting.chunk * self.lanes)
        base = line * strip.line + column * strip.pixel
        with r.loop(0, of.count) as loop:
            vector = at + loop.index * self.lanes
            values = [
                [r.load(self.m, vector + (i * columns + j) * self.layout.sum_step, self.lanes)
                 for j in range(columns)] for i in range(rows)
            ]  # fmt: skip
            bias = self.bias(of, loop.index)
            for i, row in enumerate(self.both_ways(values, "at")):
                for j, value in enumerate(row):
                    total = value if bias is None else value + bias
                    if _is_brief(self.problem.activation) and not self.problem.residual:
                        total = activated(r, self.problem.activation, total)
                    place = base + loop.index * self.lanes + (i * down + j * right)
                    r.store(strip.buffer, place, total)

    def bias(self, of: Channels, vector: Value) -> Value | None:
        if self.b is None:
            return None
        at = of.first + of.offset(self.r, vector, self.lanes)
        return self.r.load(self.b, at, self.lanes, of.mask(self.r, self.lanes))


def _is_brief(activation: str | None) -> bool:
    return activation is None or split(activation)[0] in _BRIEF
