"""Depthwise convolution of channels-last images: vectors run along the channels.

    y[q, c] = b[c] + Σ_t w[t, c] · x[q·s − low + t·d, c]

Tiles of neighbouring outputs of a row times one vector of channels, read from the image as it lies
(`parts/rows/pixels.py`): every pixel a tile sees is loaded once, taps on padding are left out.
Tiles of all blocks of channels at a place come together, as far as the nearest cache holds what
they see.

Used for every kernel size, stride, dilation and padding in 2-D and 3-D, one output a channel. The
weight is packed when it is new or changed: vector of channels by vector of channels, tap by tap.
"""

from math import gcd, prod

import torch

from ....lang.compile import compiled
from ....lang.routine import Routine, Value
from ....machine import Machine, this_machine
from ....parts import activation, taps
from ....parts.channels import blocks as channel_blocks
from ....parts.channels.blocks import ChannelBlocks
from ....parts.rows import pixels as pixel_rows
from ....planning import Algorithm, Run
from ...calling import allocator, launcher, weighted
from ...packed import packer
from ...scratch import scratch_bytes, with_scratch
from ..refusals import REGISTER_BYTES, depthwise_refusals, refusals
from ..spec import ConvSpec

_MOST_PRODUCTS = 4000  # of all tiles together; more would take longer than 0.3 s to compile
_PIECES = 4  # for each core, if there are so many
_LINE = 64  # bytes of memory that come together
_NEAR = 44 << 10  # bytes that stay in the nearest cache
_KEPT = 640 << 10  # and of planes in the second, besides
_FAR = 1700 << 10  # more than the second holds
_MOST_SEEN = 1.5  # times what a tile makes

_CALL_SECONDS = 4e-6
_EFFICIENCY = 0.93
_WAITING = 0.3  # of the lesser of the times for arithmetic and memory: the rest goes on meanwhile
_PLACES, _LINES = 64, 768  # of the nearest cache, and lines that it holds
_FEW_PIXELS = 256  # of an image that the nearest caches hold in any case
# cycles
_TILE = 40  # that a tile takes besides its sums
_CROSSING = 0.45  # that a load across two lines takes, though multiply-adds are the bound
_WIDENED, _NARROWED = 1.0, 5.0  # that a 16-bit vector takes when it is loaded, and stored
_PLANE = 2.5  # of a pixel of several planes, for the first of the rows that see it
_AGAIN = 3.3  # of a load where pixels that are a power of two apart leave the nearest cache


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
        """Executed multiply-adds, what slows their loads, and the bytes, mostly meanwhile."""
        *outer, wide = spec.axes
        blocks, columns = _blocks(spec).count, pixel_rows.tile_columns(wide)
        rows = spec.batch * blocks * prod(axis.executed for axis in outer)
        across = -(-wide.output_size // columns)
        seen = min(columns * wide.kernel_size, (columns - 1) * wide.stride + wide.span)
        cycles, loads = rows * wide.executed / 2 / _EFFICIENCY, rows * across * seen
        lines, rest = divmod(spec.in_channels * spec.item_size, _LINE)
        if rest:
            cycles += _CROSSING * loads
        elif (
            prod(spec.input_size) > _FEW_PIXELS
            and prod(spec.kernel_size[:-1]) * seen * gcd(lines, _PLACES) > _LINES
        ):
            cycles = max(cycles, _AGAIN * loads)
        tiles = spec.batch * blocks * prod(spec.output_size[:-1]) * across
        planes = spec.kernel_size[0] if spec.dims == 3 else 0
        cycles += (_TILE + _PLANE * planes * seen) * tiles
        if spec.item_size == 2:
            cycles += _WIDENED * loads + _NARROWED * tiles * columns
        computing = cycles * machine.vector_bits / 8 / machine.peak  # 4 operations a lane
        less, more = sorted((computing, machine.moving(spec.bytes)))
        return _CALL_SECONDS + more + _WAITING * less

    def workspace(self, spec: ConvSpec) -> int:
        """The packed weight, and each thread's sums where they wait for a long activation."""
        blocks, item_size = _blocks(spec), REGISTER_BYTES[spec.dtype]
        weights = blocks.count * blocks.lanes * spec.taps
        return weights * item_size + scratch_bytes(item_size, _sums(spec))

    def build(self, spec: ConvSpec) -> Run:
        """`run(x, w, bias=None)`."""
        parts = (activation, channel_blocks, pixel_rows, taps)
        routine = with_scratch(compiled(
            f"{self.name} {spec}, {_Pieces(spec)}", 3 + spec.bias,
            lambda: _Recording(spec).r, sources=[__file__, *(str(part.__file__) for part in parts)],
        ))  # fmt: skip
        make = allocator(spec.y_shape, spec.dtype, "channels_last")
        launch = launcher(routine, 2 * spec.executed_macs, spec.bytes)
        wide = torch.float64 if spec.dtype == "float64" else torch.float32
        packed = packer(lambda w: _blocks(spec).pack(w, wide))
        return weighted(make, packed, launch)


def _blocks(spec: ConvSpec) -> ChannelBlocks:
    return ChannelBlocks.of(spec.in_channels, REGISTER_BYTES[spec.dtype])


def _sums(spec: ConvSpec) -> int:
    """Numbers of a tile that wait for a long activation."""
    numbers = pixel_rows.tile_columns(spec.axes[-1]) * _blocks(spec).lanes
    return numbers if activation.is_long(spec.activation) else 0


class _Pieces:
    """How an image is cut into pieces that threads share out.

    A piece is a band of rows of neighbouring planes, in a group of blocks of channels, made plane
    by plane. If `by_columns`, it is made tile column by tile column, from top to bottom, all blocks
    of the group at each place: what a tile reads is mostly in the nearest cache, and what planes
    share in the second. Tiles that see much more than they make go row by row.
    """

    def __init__(self, spec: ConvSpec) -> None:
        depth, high, wide = pixel_rows.three(spec.axes)
        blocks, columns = _blocks(spec).count, pixel_rows.tile_columns(wide)
        seen = (columns - 1) * wide.stride + wide.span
        pixel = spec.in_channels * spec.item_size
        near = (seen * depth.kernel_size * high.kernel_size + columns) * pixel
        near += spec.taps * blocks * _LINE
        self.by_columns = seen <= _MOST_SEEN * columns * wide.stride
        groups = blocks
        if self.by_columns and spec.bytes > _FAR:
            groups = min(blocks, -(-near // _NEAR))
        self.together = -(-blocks // groups)
        self.groups = -(-blocks // self.together)
        rows = high.output_size
        if not self.by_columns or depth.kernel_size > 1:
            kept = _KEPT / min(depth.input_size, depth.span) / wide.input_size / pixel
            rows = max(1, min(rows, int(kept - high.span) // high.stride))
        self._cut(spec.batch * self.groups, depth.output_size, high.output_size, rows)

    def __str__(self) -> str:
        order = "columns" if self.by_columns else "rows"
        return f"{self.groups} groups, {self.bands} bands, {self.parts} parts by {order}"

    def _cut(self, others: int, planes: int, height: int, rows: int) -> None:
        """Into bands of so many rows, or fewer, and parts of planes, enough for all cores."""
        wanted = _PIECES * this_machine().cores
        least = -(-wanted // max(others * planes, 1))
        self.rows = -(-height // max(-(-height // rows), min(height, least)))
        self.bands = -(-height // self.rows)
        parts = min(planes, -(-wanted // max(others * self.bands, 1)))
        self.planes = -(-planes // parts)
        self.parts = -(-planes // self.planes)


class _Recording:
    """The routine for one spec; in two dimensions the depth has size 1."""

    def __init__(self, spec: ConvSpec) -> None:
        self.spec, self.blocks = spec, _blocks(spec)
        self.lanes = self.blocks.lanes
        self.kind = "f64" if spec.dtype == "float64" else "f32"
        wide = "float64" if spec.dtype == "float64" else "float32"
        self.depth, self.high, self.wide = pixel_rows.three(spec.axes)
        cut = self.cut = _Pieces(spec)
        items = spec.batch * cut.parts * cut.bands * cut.groups
        r = self.r = Routine("depthwise_channels_last", items)
        self.y = r.writes("y", spec.dtype, prod(spec.y_shape))
        self.x = r.reads("x", spec.dtype, prod(spec.x_shape))
        weights = r.reads("w", wide, self.blocks.count * self.lanes * spec.taps)
        self.b = r.reads("b", spec.dtype, spec.out_channels) if spec.bias else None
        self.waiting = r.scratch("sums", wide, _sums(spec)) if _sums(spec) else None
        self.rows = pixel_rows.PixelRows(r, spec.axes, self.lanes, weights)
        self.mask = None
        with r.work() as item:
            self.mask = self.blocks.mask(r)
            self.item(item)

    def item(self, item: Value) -> None:
        """A piece; groups of blocks come one after the other: their pixels lie side by side."""
        r, cut = self.r, self.cut
        group, item = item % cut.groups, item // cut.groups
        band, item = item % cut.bands, item // cut.bands
        part, self.image = item % cut.parts, item // cut.parts
        first, row, plane = group * cut.together, band * cut.rows, part * cut.planes
        behind = r.minimum(first + cut.together, self.blocks.count)
        bottom = r.minimum(row + cut.rows, self.high.output_size)
        with r.loop(plane, r.minimum(plane + cut.planes, self.depth.output_size)) as planes:
            self.plane = planes.index
            if cut.by_columns:
                for tile in self.rows.tiles():
                    with r.loop(row, bottom) as rows, r.loop(first, behind) as blocks:
                        self.tile(tile, rows.index, blocks.index)
                return
            with r.loop(row, bottom) as rows:
                for tile in self.rows.tiles():
                    self.tile(tile, rows.index, first)

    def tile(self, tile: pixel_rows.Tile, row: Value, block: Value) -> None:
        """A tile's outputs of one block of channels."""
        r, spec = self.r, self.spec
        self.row, self.channel = row, self.blocks.first(r, block)
        start = r.const(0, self.kind, self.lanes)
        if self.b is not None:
            start = self.blocks.load(r, self.b, self.channel)
        pixels = pixel_rows.Pixels(self.x, self.row_of_pixels, spec.in_channels, self.mask)
        weights = block * (spec.taps * self.lanes)
        sums = self.rows.sums(tile, pixels, weights, self.plane, row, start)
        self.store(tile.column, sums)

    def row_of_pixels(self, plane: Value, row: Value) -> Value:
        """Where a row of the image begins, in this item's channels."""
        line = (self.image * self.depth.input_size + plane) * self.high.input_size + row
        return line * (self.wide.input_size * self.spec.in_channels) + self.channel

    def store(self, column: Value, sums: list[Value]) -> None:
        """Write a tile's sums, with their activation."""
        r, channels, name = self.r, self.spec.in_channels, self.spec.activation
        plane = (self.image * self.depth.output_size + self.plane) * self.high.output_size
        at = ((plane + self.row) * self.wide.output_size + column) * channels + self.channel
        if self.waiting is None:
            for output, value in enumerate(sums):
                r.store(
                    self.y, at + output * channels, activation.activated(r, name, value), self.mask
                )
            return
        # too much code for every output: a loop over sums that wait in memory
        for output, value in enumerate(sums):
            r.store(self.waiting, output * self.lanes, value)
        with r.loop(0, len(sums)) as loop:
            value = r.load(self.waiting, loop.index * self.lanes, self.lanes)
            bent = activation.activated(r, name, value)
            r.store(self.y, at + loop.index * channels, bent, self.mask)


ALGORITHM = DepthwiseChannelsLastCpu()
