"""Depthwise convolution of channels-last images: vectors run along the channels.

    y[q, c] = b[c] + Σ_t w[t, c] · x[q·s − low + t·d, c]

Tiles of neighbouring outputs of a row times one vector of channels, read from the image as it lies
(`parts/rows/pixels.py`): every pixel a tile sees is loaded once, taps on padding are left out.

Used for every kernel size, stride, dilation and padding in 2-D and 3-D, one output a channel. The
weight is packed when it is new or changed: vector of channels by vector of channels, tap by tap.
"""

from math import prod

import torch
from torch import Tensor

from ....lang.compile import compiled
from ....lang.routine import Routine, Value
from ....machine import Machine
from ....parts import activation, taps
from ....parts.channels import blocks as channel_blocks
from ....parts.channels.blocks import ChannelBlocks
from ....parts.rows import pixels as pixel_rows
from ....planning import Algorithm, Run
from ...calling import allocator, launcher
from ...packed import Packed
from ..refusals import REGISTER_BYTES, depthwise_refusals, refusals
from ..spec import ConvSpec

_MOST_PRODUCTS = 4000  # of all tiles together; more would take longer than 0.3 s to compile
_ITEMS = 32  # pieces of work to share out, if there are so many

_BAND_BYTES = 1 << 20  # that stay in a core's second cache from one block of channels to the next
_CALL_SECONDS = 4e-6
_EFFICIENCY = 0.9


class DepthwiseChannelsLastCpu(Algorithm):
    """One filter a channel, direct, vectors along the channels."""

    tasks = frozenset({"forward"})
    weight_seconds = (20e-6, 1.5e-9)

    def unsupported(self, spec: ConvSpec) -> list[str]:
        """Anything but depthwise, on channels-last images of floating-point numbers."""
        reasons = depthwise_refusals(spec) + refusals(spec, ["channels_last"])
        products = pixel_rows.recorded_products(spec.axes[-1])
        if not reasons and products > _MOST_PRODUCTS:
            reasons.append(f"would unroll {products} products, more than {_MOST_PRODUCTS}")
        return reasons

    def seconds(self, spec: ConvSpec, machine: Machine) -> float:
        """Executed multiply-adds, and the bytes: most of the time of those that no cache holds."""
        blocks = _blocks(spec)
        used = spec.in_channels / (blocks.count * blocks.lanes)
        used *= blocks.lanes * 8 * REGISTER_BYTES[spec.dtype] / machine.vector_bits
        computing = 2 * spec.executed_macs / (machine.peak * _EFFICIENCY * used)
        return _CALL_SECONDS + computing + machine.moving(spec.bytes)

    def workspace(self, spec: ConvSpec) -> int:
        """The packed weight, and each thread's sums where they wait for a long activation."""
        blocks = _blocks(spec)
        weights = blocks.count * blocks.lanes * spec.taps
        return (weights + torch.get_num_threads() * _sums(spec)) * REGISTER_BYTES[spec.dtype]

    def build(self, spec: ConvSpec) -> Run:
        """`run(x, w, bias=None)`."""
        sums, parts = _sums(spec), (activation, channel_blocks, pixel_rows, taps)
        routine = compiled(
            f"{self.name} {spec}", 3 + spec.bias + bool(sums),
            lambda: _Recording(spec).r, sources=[__file__, *(str(part.__file__) for part in parts)],
        )  # fmt: skip
        make = allocator(spec.y_shape, spec.dtype, "channels_last")
        launch = launcher(routine, 2 * spec.executed_macs, spec.bytes)
        wide = torch.float64 if spec.dtype == "float64" else torch.float32
        packed = Packed(lambda w: _blocks(spec).pack(w, wide))

        def run(x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
            y, weights = make(), packed(w)
            if bias is None and not sums:
                launch(y.data_ptr(), x.data_ptr(), weights.data_ptr())
                return y
            given = [y, x, weights]
            if bias is not None:
                given.append(bias.contiguous())
            if sums:
                given.append(torch.empty(torch.get_num_threads() * sums, dtype=wide))
            launch(*[tensor.data_ptr() for tensor in given])
            return y

        return run


def _blocks(spec: ConvSpec) -> ChannelBlocks:
    return ChannelBlocks.of(spec.in_channels, REGISTER_BYTES[spec.dtype])


def _sums(spec: ConvSpec) -> int:
    """Numbers of a tile that wait for a long activation; whole cache lines of them."""
    numbers = pixel_rows.tile_columns(spec.output_size[-1]) * _blocks(spec).lanes
    return -(-numbers // 16) * 16 if activation.is_long(spec.activation) else 0


def _bands(spec: ConvSpec) -> int:
    """Bands of rows of which a cache holds all channels, inputs and outputs together."""
    _, high, wide = pixel_rows.three(spec.axes)
    pixels = high.stride * wide.input_size + wide.output_size  # that a row of outputs adds
    row = pixels * spec.in_channels * spec.item_size
    return min(high.output_size, -(-high.output_size * row // _BAND_BYTES))


class _Recording:
    """The routine for one spec; in two dimensions the depth has size 1."""

    def __init__(self, spec: ConvSpec) -> None:
        self.spec, self.blocks = spec, _blocks(spec)
        self.lanes = self.blocks.lanes
        self.kind = "f64" if spec.dtype == "float64" else "f32"
        wide = "float64" if spec.dtype == "float64" else "float32"
        self.depth, self.high, self.wide = pixel_rows.three(spec.axes)
        planes = spec.batch * self.depth.output_size * self.blocks.count
        self.bands = max(_bands(spec), min(self.high.output_size, -(-_ITEMS // max(planes, 1))))
        r = self.r = Routine("depthwise_channels_last", planes * self.bands)
        self.y = r.writes("y", spec.dtype, prod(spec.y_shape))
        self.x = r.reads("x", spec.dtype, prod(spec.x_shape))
        weights = r.reads("w", wide, self.blocks.count * self.lanes * spec.taps)
        self.b = r.reads("b", spec.dtype, spec.out_channels) if spec.bias else None
        self.sums = r.scratch("sums", wide, _sums(spec)) if _sums(spec) else None
        self.rows = pixel_rows.PixelRows(r, spec.axes, self.lanes, weights)
        self.mask = None
        with r.work() as item:
            self.mask = self.blocks.mask(r)
            self.item(item)

    def item(self, item: Value) -> None:
        """A band of rows of one block of channels in one output plane.

        One block after the other, then the next band: its pixels come from memory once.
        """
        r, spec = self.r, self.spec
        block, item = item % self.blocks.count, item // self.blocks.count
        band, item = item % self.bands, item // self.bands
        self.plane, self.image = item % self.depth.output_size, item // self.depth.output_size
        self.channel = self.blocks.first(r, block)
        start = r.const(0, self.kind, self.lanes)
        if self.b is not None:
            start = self.blocks.load(r, self.b, self.channel)
        pixels = pixel_rows.Pixels(self.x, self.row_of_pixels, spec.in_channels, self.mask)
        first_weight = block * (spec.taps * self.lanes)
        share = -(-self.high.output_size // self.bands)
        end = r.minimum((band + 1) * share, self.high.output_size)
        with r.loop(band * share, end) as loop:
            self.row = loop.index
            self.rows.record(pixels, first_weight, self.plane, self.row, start, self.store)

    def row_of_pixels(self, plane: Value, row: Value) -> Value:
        """Where a row of the image begins, in this item's channels."""
        line = (self.image * self.depth.input_size + plane) * self.high.input_size + row
        return line * (self.wide.input_size * self.spec.in_channels) + self.channel

    def store(self, column: Value, sums: list[Value]) -> None:
        """Write a tile's sums, with their activation."""
        r, channels, name = self.r, self.spec.in_channels, self.spec.activation
        plane = (self.image * self.depth.output_size + self.plane) * self.high.output_size
        at = ((plane + self.row) * self.wide.output_size + column) * channels + self.channel
        if self.sums is None:
            for output, value in enumerate(sums):
                r.store(
                    self.y, at + output * channels, activation.activated(r, name, value), self.mask
                )
            return
        # too much code for every output: a loop over sums that wait in memory
        for output, value in enumerate(sums):
            r.store(self.sums, output * self.lanes, value)
        with r.loop(0, len(sums)) as loop:
            value = r.load(self.sums, loop.index * self.lanes, self.lanes)
            bent = activation.activated(r, name, value)
            r.store(self.y, at + loop.index * channels, bent, self.mask)


ALGORITHM = DepthwiseChannelsLastCpu()
