"""Depthwise convolution of contiguous images in blocks of channels: the channels become the lanes.

    y[c, q] = b[c] + Σ_t w[c, t] · x[c, q·s − low + t·d]

As many channels as a vector has lanes are taken together. Their rows are transposed in registers
into a block of pixels, each a vector of channels, in memory that stays in the second cache; there
the convolution runs as in a channels-last image, with whole vectors, aligned loads and no
multiply-add for padding; the sums are transposed back on their way to the output. Turning a number
twice costs about eight picks a vector, whatever the kernel size, so this is for windows of many
taps, for strides and dilations, and for 16-bit images, whose numbers are widened only once.

Used for 1-D to 3-D, any kernel size, stride, dilation and zero padding, one output a channel. Not
for small windows on large maps, nor for fewer channels than lanes: `depthwise_cpu` has its vectors
along the rows.
"""

from math import prod

import torch

from ....lang.compile import compiled
from ....lang.routine import Routine, Value
from ....machine import Machine, this_machine
from ....parts import activation, taps, transpose
from ....parts.channels import blocks as channel_blocks
from ....parts.channels import turning
from ....parts.channels.blocks import ChannelBlocks
from ....parts.rows import pixels as pixel_rows
from ....planning import Algorithm, Run
from ...calling import allocator, launcher, weighted
from ...packed import packer
from ...scratch import scratch_bytes, with_scratch
from ..refusals import REGISTER_BYTES, depthwise_refusals, refusals
from ..spec import ConvSpec

_MOST_PRODUCTS = 4000  # of all tiles together; more would take longer than 0.3 s to compile
_NEAR = 16 << 10  # bytes of pixels that stay in the nearest cache beside all else
_FAR = 1 << 20  # bytes of pixels that do not stay in the second cache

_CALL_SECONDS = 5e-6
_EFFICIENCY = 0.9
_WAITING = 0.5  # of the time for memory, where pixels are in a ring
_STRIDED = 1.1  # times as long as by count, where a window shares few of its pixels
_TURNING = 13.0  # multiply-adds in whose time a number is turned, one way


class DepthwiseBlockedCpu(Algorithm):
    """One filter a channel, direct, channels turned into lanes."""

    tasks = frozenset({"forward"})
    weight_seconds = (20e-6, 1.5e-9)

    def unsupported(self, spec: ConvSpec) -> list[str]:
        """Anything but depthwise, on contiguous images of floating-point numbers."""
        reasons = depthwise_refusals(spec) + refusals(spec, ["contiguous"])
        products = pixel_rows.recorded_products(spec.axes[-1])
        if not reasons and products > _MOST_PRODUCTS:
            reasons.append(f"would unroll {products} products, more than {_MOST_PRODUCTS}")
        return reasons

    def seconds(self, spec: ConvSpec, machine: Machine) -> float:
        """Executed multiply-adds, turning, and the bytes, which turning mostly waits for."""
        layout = _Layout(spec)
        used = spec.in_channels / (layout.blocks.count * layout.lanes)
        used *= layout.lanes * 8 * REGISTER_BYTES[spec.dtype] / machine.vector_bits
        seen = layout.parts * layout.seen(layout.share) * layout.inner
        turned = spec.batch * spec.in_channels * (seen + prod(spec.output_size))
        computing = spec.executed_macs / _EFFICIENCY + _TURNING * turned
        computing *= 2 / (machine.peak * used)
        waiting = _WAITING if spec.dims == 2 else 1.0
        seconds = _CALL_SECONDS + computing + waiting * machine.moving(spec.bytes)
        return seconds * _STRIDED if max(spec.stride) > 1 else seconds

    def workspace(self, spec: ConvSpec) -> int:
        """The packed weight, and each thread's block of pixels and sums."""
        layout = _Layout(spec)
        item_size = REGISTER_BYTES[spec.dtype]
        weights = layout.blocks.count * layout.lanes * spec.taps
        return weights * item_size + scratch_bytes(item_size, layout.pixels, layout.sums)

    def build(self, spec: ConvSpec) -> Run:
        """`run(x, w, bias=None)`."""
        layout = _Layout(spec)
        parts = (activation, channel_blocks, pixel_rows, taps, transpose, turning)
        routine = with_scratch(compiled(
            f"{self.name} {spec}, {layout.parts} parts, {layout.kept} kept", 3 + spec.bias,
            lambda: _Recording(spec).r, sources=[__file__, *(str(part.__file__) for part in parts)],
        ))  # fmt: skip
        make = allocator(spec.y_shape, spec.dtype, "contiguous")
        launch = launcher(routine, 2 * spec.executed_macs, spec.bytes)
        wide = torch.float64 if spec.dtype == "float64" else torch.float32
        packed = packer(lambda w: layout.blocks.pack(w, wide))
        return weighted(make, packed, launch)


class _Layout:
    """How a spec is cut into blocks of channels and parts, and the memory each thread needs."""

    def __init__(self, spec: ConvSpec) -> None:
        self.spec = spec
        self.blocks = ChannelBlocks.of(spec.in_channels, REGISTER_BYTES[spec.dtype])
        self.lanes = self.blocks.lanes
        self.depth, self.high, self.wide = pixel_rows.three(spec.axes)
        self.pairs = prod(axis.executed for axis in spec.axes)
        # parts are of the outermost axis there is: what they see lies side by side in memory
        self.outer = self.depth if spec.dims == 3 else self.high
        self.inner = prod(spec.input_size[1:]) if spec.dims > 1 else spec.input_size[0]
        self.outer_lines = self.high.output_size if spec.dims == 3 else 1
        self.parts = min(range(1, self.outer.output_size + 1), key=self.makespan)
        self.share = -(-self.outer.output_size // self.parts)
        self.parts = -(-self.outer.output_size // self.share)
        self.lines = min(self.share * self.outer_lines, self._lines_together())
        self.kept = self._kept()
        self.pixels = self._squares(self.kept * self.inner)
        self.sums = self._squares(self.lines * self.wide.output_size)

    def makespan(self, parts: int) -> float:
        """Time of the thread that has most to do, in multiply-adds of one vector."""
        share = -(-self.outer.output_size // parts)
        rounds = -(-self.spec.batch * self.blocks.count * parts // this_machine().cores)
        computing = self.pairs * share / self.outer.output_size
        turned = self.seen(share) * self.inner + share * prod(self.spec.output_size[1:])
        item_size = self.lanes * REGISTER_BYTES[self.spec.dtype]
        far = 3 if self.spec.dims == 3 and self.seen(share) * self.inner * item_size > _FAR else 1
        return rounds * (computing + _TURNING * far * turned)

    def seen(self, outputs: int) -> int:
        """Positions of the outer axis that so many neighbouring outputs see."""
        return min(self.outer.input_size, (outputs - 1) * self.outer.stride + self.outer.span)

    @property
    def in_ring(self) -> bool:
        """Whether rows of pixels replace those that no output needs any more."""
        return self.kept < self.seen(self.share)

    def _kept(self) -> int:
        """Positions of the outer axis whose pixels are kept: few enough for the nearest cache."""
        seen = self.seen(self.share)
        near = seen * self.inner * self.lanes * REGISTER_BYTES[self.spec.dtype] <= _NEAR
        if self.spec.dims != 2 or near:
            return seen
        return min(seen, (self.lines - 1) * self.high.stride + self.high.span)

    def _squares(self, pixels: int) -> int:
        """Numbers of so many pixels, in whole squares of them."""
        return -(-pixels // self.lanes) * self.lanes * self.lanes

    def _lines_together(self) -> int:
        """Rows of sums to turn at once: whole squares, if they need not be many for that."""
        width = self.wide.output_size
        for lines in range(1, self.lanes + 1):
            if lines * width % self.lanes == 0 or lines * width >= 16 * self.lanes:
                return lines
        return self.lanes


class _Recording:
    """The routine for one spec; in two dimensions the depth has size 1."""

    def __init__(self, spec: ConvSpec) -> None:
        self.spec, layout = spec, _Layout(spec)
        self.layout, self.lanes = layout, layout.lanes
        self.kind = "f64" if spec.dtype == "float64" else "f32"
        wide = "float64" if spec.dtype == "float64" else "float32"
        r = self.r = Routine("depthwise_blocked", spec.batch * layout.blocks.count * layout.parts)
        self.y = r.writes("y", spec.dtype, prod(spec.y_shape))
        self.x = r.reads("x", spec.dtype, prod(spec.x_shape))
        weights = r.reads("w", wide, layout.blocks.count * spec.taps * self.lanes)
        self.pixels = r.scratch("pixels", wide, layout.pixels)
        self.sums = r.scratch("sums", wide, layout.sums)
        self.b = r.reads("b", spec.dtype, spec.out_channels) if spec.bias else None
        self.rows = pixel_rows.PixelRows(r, spec.axes, self.lanes, weights)
        self.turning = turning.Turning(r, self.lanes, layout.blocks.real, self.kind)
        with r.work() as item:
            self.item(item)

    def item(self, item: Value) -> None:
        """A part of the outer axis, for one block of channels of one image."""
        r, layout, spec = self.r, self.layout, self.spec
        part, item = item % layout.parts, item // layout.parts
        block, image = item % layout.blocks.count, item // layout.blocks.count
        channel = layout.blocks.first(r, block)
        self.channel, self.first_weight = channel, block * (spec.taps * self.lanes)
        self.first = part * layout.share
        end = r.minimum(self.first + layout.share, layout.outer.output_size)
        self.source = (image * spec.in_channels + channel) * prod(spec.input_size)
        self.begin = self.first_seen(self.first)
        done = self.begin
        if not layout.in_ring:
            done = self.behind_seen(end - 1)
            at = self.source + self.begin * layout.inner
            self.turn_in(at, (done - self.begin) * layout.inner, r.const(0))
        plane = prod(spec.output_size)
        target = (image * spec.out_channels + channel) * plane
        target = target + self.first * (layout.outer_lines * layout.wide.output_size)
        self.outputs((end - self.first) * layout.outer_lines, target, done)

    def first_seen(self, output: Value) -> Value:
        """The first position of the outer axis that an output sees."""
        axis = self.layout.outer
        first = self.r.maximum(output * axis.stride - axis.padding[0], 0)
        return self.r.minimum(first, axis.input_size)

    def behind_seen(self, output: Value) -> Value:
        """The position behind the last that an output sees."""
        axis = self.layout.outer
        behind = self.r.maximum(output * axis.stride - axis.padding[0] + axis.span, 0)
        return self.r.minimum(behind, axis.input_size)

    def outputs(self, lines: Value, target: Value, done: Value) -> None:
        """All rows of a part, a few at a time; positions before `done` are pixels already."""
        r, layout, width = self.r, self.layout, self.layout.wide.output_size
        start = r.const(0, self.kind, self.lanes)
        if self.b is not None:
            start = layout.blocks.load(r, self.b, self.channel)
        with r.loop(0, lines, layout.lines, carried=[done]) as groups:
            together = r.minimum(lines - groups.index, layout.lines)
            last = self.first + groups.index + together - 1
            groups.carry(self.fill_ring(groups.carried[0], last))
            with r.loop(0, together) as loop:
                self.line(groups.index + loop.index, start, loop.index * width)
            self.bend(together * width)
            self.turning.turn_out(
                self.sums, r.const(0), together * width, width, self.y,
                target + groups.index * width, prod(self.spec.output_size),
            )  # fmt: skip

    def turn_in(self, source: Value, count: Value, pixel: Value) -> None:
        """`count` numbers of each of the block's channels become as many pixels."""
        plane, inner = prod(self.spec.input_size), self.layout.inner
        self.turning.turn_in(self.x, source, plane, count, inner, self.pixels, pixel)

    def bend(self, pixels: Value) -> None:
        """Activations that are too much code for every place of a tile, sum by sum."""
        if not activation.is_long(self.spec.activation):
            return
        r = self.r
        with r.loop(0, pixels * self.lanes, self.lanes) as loop:
            value = r.load(self.sums, loop.index, self.lanes)
            r.store(self.sums, loop.index, activation.activated(r, self.spec.activation, value))

    def fill_ring(self, done: Value, last: Value) -> Value:
        """Turn the rows that outputs up to `last` see and that are not pixels yet."""
        if not self.layout.in_ring:
            return done
        r, inner = self.r, self.layout.inner
        behind = self.behind_seen(last)
        with r.loop(done, behind) as rows:
            at = rows.index % self.layout.kept * inner
            self.turn_in(self.source + rows.index * inner, r.const(inner), at)
        return r.maximum(done, behind)

    def line(self, line: Value, start: Value, pixel: Value) -> None:
        """One row of outputs, its sums left at `pixel` and after."""
        r, layout, name = self.r, self.layout, self.spec.activation
        name = None if activation.is_long(name) else name
        plane, row = r.const(0), self.first + line
        if self.spec.dims == 3:
            plane = self.first + line // layout.outer_lines
            row = line % layout.outer_lines

        def store(column: Value, sums: list[Value]) -> None:
            for n, value in enumerate(sums):
                at = (pixel + column + n) * self.lanes
                r.store(self.sums, at, activation.activated(r, name, value))

        pixels = pixel_rows.Pixels(self.pixels, self.row_of_pixels, self.lanes)
        self.rows.record(pixels, self.first_weight, plane, row, start, store)

    def row_of_pixels(self, plane: Value, row: Value) -> Value:
        """Where a row of inputs begins among the pixels."""
        if self.spec.dims == 3:
            row = (plane - self.begin) * self.layout.high.input_size + row
        elif self.layout.in_ring:
            row = row % self.layout.kept
        else:
            row = row - self.begin
        return row * (self.layout.wide.input_size * self.lanes)


ALGORITHM = DepthwiseBlockedCpu()
