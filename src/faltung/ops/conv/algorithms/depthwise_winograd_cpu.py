"""Depthwise convolution with fewer multiplications: minimal filtering along the rows of an image.

    y[4q + k] = Σ_i Aᵀ[k, i] · Σ_g U_i[g] · V_i[q + g]      k = 0 … 3,  i = 0 … 6,  lines of pixels

Four output lines, rows in 2-D and planes in 3-D, are made at a time, from groups of four taps along
that axis (`parts/channels/grouped_taps.py`): seven multiply-adds where the definition has sixteen.
The other axes stay as they are, so each of the seven is a depthwise convolution itself, of lines
V_i that were transformed once for all groups which see them, and it is recorded as that of a
channels-last image is (`parts/rows/pixels.py`), with its sums in registers over all taps. Lines
that are nothing but padding are skipped. Channels are lanes; contiguous images are turned on the
way in and out. Transformed lines are kept for as long as an output needs them.

Used for windows of about seven lines and more, stride 1 along the outermost axis, any stride and
dilation along the others. It rounds up to three times as much as a direct sum, and an infinite or
NaN input makes other outputs of the tiles that see it NaN as well. Not for windows of few lines,
whose transforms cost what they save, nor for images of few rows, where most of a large window lies
on padding.
"""

from fractions import Fraction
from math import prod

import torch

from ....lang.compile import compiled
from ....lang.ops import Buffer
from ....lang.routine import Routine, Value
from ....machine import Machine
from ....parts import activation, taps, transpose
from ....parts.channels import blocks as channel_blocks
from ....parts.channels import grouped_taps, transformed_lines, turning
from ....parts.channels.grouped_taps import PRODUCTS, TILE
from ....parts.channels.transformed_lines import Lines, TransformedLines
from ....parts.rows import pixels as pixel_rows
from ....parts.winograd import transforms
from ....planning import Algorithm, Run
from ...calling import allocator, launcher, weighted
from ...packed import packer
from ...scratch import scratch_bytes, with_scratch
from .. import filtered_lines
from ..filtered_lines import FilteredLines
from ..refusals import REGISTER_BYTES, depthwise_refusals, refusals
from ..spec import ConvSpec

_MOST_PRODUCTS = 4000  # of all tiles together; more would take longer than 0.3 s to compile
_PARTS = (activation, channel_blocks, filtered_lines, grouped_taps, pixel_rows, taps,
          transformed_lines, transforms, transpose, turning)  # fmt: skip
_CALL_SECONDS = 6e-6


class DepthwiseWinogradCpu(Algorithm):
    """One filter a channel, by minimal filtering along the outermost axis."""

    tasks = frozenset({"forward"})
    error_factor = 3.0
    weight_seconds = (220e-6, 12.0e-9)

    def unsupported(self, spec: ConvSpec) -> list[str]:
        """Anything but depthwise, strides and signals."""
        reasons = depthwise_refusals(spec) + refusals(spec, ["contiguous", "channels_last"])
        if spec.dims == 1:
            reasons.append("needs rows or planes of pixels, has a signal")
        if spec.stride[0] != 1:
            reasons.append(f"needs stride 1 along the outermost axis, has {spec.stride[0]}")
        products = pixel_rows.recorded_products(spec.axes[-1])
        if not reasons and products > _MOST_PRODUCTS:
            reasons.append(f"would unroll {products} products, more than {_MOST_PRODUCTS}")
        return reasons

    def seconds(self, spec: ConvSpec, machine: Machine) -> float:
        """Multiply-adds, transforms, turning, and the bytes: what is turned is waited for."""
        layout = FilteredLines(spec)
        used = spec.in_channels / (layout.blocks.count * layout.lanes)
        used *= layout.lanes * 8 * REGISTER_BYTES[spec.dtype] / machine.vector_bits
        work = layout.work(layout.share) * layout.parts * layout.outer.phases * layout.bands
        computing = spec.batch * spec.in_channels * work * 2 / (machine.peak * used)
        weights = layout.blocks.count * layout.lanes * layout.factors * REGISTER_BYTES[spec.dtype]
        return _CALL_SECONDS + computing + machine.moving(spec.bytes + weights)

    def workspace(self, spec: ConvSpec) -> int:
        """The transformed weight, and each thread's lines."""
        layout, item_size = FilteredLines(spec), REGISTER_BYTES[spec.dtype]
        weights = layout.blocks.count * layout.lanes * layout.factors
        return weights * item_size + scratch_bytes(item_size, *layout.scratch.values())

    def build(self, spec: ConvSpec) -> Run:
        """`run(x, w, bias=None)`."""
        layout = FilteredLines(spec)
        routine = with_scratch(compiled(
            f"{self.name} {spec}, {layout.parts} parts, {layout.bands} bands", 3 + spec.bias,
            lambda: _Recording(spec).r,
            sources=[__file__, *(str(part.__file__) for part in _PARTS)],
        ))  # fmt: skip
        make = allocator(spec.y_shape, spec.dtype, spec.layout)
        launch = launcher(routine, 2 * spec.executed_macs, spec.bytes)
        wide = torch.float64 if spec.dtype == "float64" else torch.float32
        packed = packer(lambda w: layout.pack(w, wide))
        return weighted(make, packed, launch)


class _Recording:
    """The routine for one spec."""

    def __init__(self, spec: ConvSpec) -> None:
        self.spec, layout = spec, FilteredLines(spec)
        self.layout, self.lanes = layout, layout.lanes
        self.last = spec.layout == "channels_last"
        self.kind = "f64" if spec.dtype == "float64" else "f32"
        wide = "float64" if spec.dtype == "float64" else "float32"
        self.all_rows = spec.output_size[1] if spec.dims == 3 else 1
        outer = self.outer = layout.outer
        items = spec.batch * layout.blocks.count * outer.phases * layout.parts * layout.bands
        r = self.r = Routine("depthwise_winograd", items)
        self.y = r.writes("y", spec.dtype, prod(spec.y_shape))
        x = r.reads("x", spec.dtype, prod(spec.x_shape))
        weights = r.reads("w", wide, layout.blocks.count * layout.factors * self.lanes)
        scratch = {n: r.scratch(n, wide, count) for n, count in layout.scratch.items()}
        self.sums, self.results = scratch["sums"], scratch.get("results")
        self.b = r.reads("b", spec.dtype, spec.out_channels) if spec.bias else None
        self.rows = pixel_rows.PixelRows(r, layout.axes, self.lanes, weights)
        self.lines = TransformedLines(
            r, outer, layout.blocks, self.kind,
            Lines(
                x, spec.in_channels, outer.axis.input_size, prod(spec.input_size[1:]),
                layout.inner, self.last,
            ),
            layout.kept, scratch["lines"], scratch.get("pixels"),
        )  # fmt: skip
        with r.work() as item:
            self.item(item)

    def item(self, item: Value) -> None:
        """Some tiles of one phase and band, for one block of channels of one image."""
        r, layout, outer = self.r, self.layout, self.outer
        pieces, blocks = layout.parts * layout.bands * outer.phases, layout.blocks.count
        self.image = item // (pieces * blocks)
        # pixels of neighbouring blocks of a channels-last image lie side by side, for one thread
        block = item % blocks if self.last else item // pieces % blocks
        item = item // blocks % pieces if self.last else item % pieces
        band, item = item % layout.bands, item // layout.bands
        part, self.phase = item % layout.parts, item // layout.parts
        self.channel = layout.blocks.first(r, block)
        self.first_weight = block * (layout.factors * self.lanes)
        self.start = None
        if self.b is not None:
            self.start = layout.blocks.load(r, self.b, self.channel)
        begin = part * layout.share
        end = r.minimum(begin + layout.share, outer.tiles)
        first = r.maximum(begin, outer.first)
        row = band * layout.rows
        self.row_seen = self.first_seen(row)
        pixel = self.row_seen * layout.wide.input_size
        self.lines.start(self.image, self.channel, self.phase, first, pixel)
        with r.loop(begin, end, carried=[first]) as tiles:
            done = tiles.carried[0]
            behind = r.minimum(tiles.index + outer.groups, outer.behind)
            with r.loop(done, behind) as loop:
                self.lines.fill(loop.index)
            tiles.carry(r.maximum(done, behind))
            with r.loop(row, r.minimum(row + layout.rows, self.all_rows)) as rows:
                self.sum(tiles.index, rows.index)
                self.make(tiles.index, rows.index)

    def first_seen(self, row: Value) -> Value:
        """The first row of a plane that is looked at for the results from `row` on."""
        if self.spec.dims == 2:
            return self.r.const(0)
        high = self.layout.high
        first = self.r.maximum(row * high.stride - high.padding[0], 0)
        return self.r.minimum(first, high.input_size - self.layout.seen)

    def sum(self, tile: Value, row: Value) -> None:
        """The seven convolutions of a tile, for one row of its lines."""
        r, layout, width = self.r, self.layout, self.layout.wide.output_size
        nothing, weights = r.const(0, self.kind, self.lanes), layout.factors // PRODUCTS
        asks, below = self.last and self.spec.dims == 3, row + 1
        plane, row = (tile, row) if self.spec.dims == 3 else (row, tile)
        with r.loop(0, PRODUCTS) as products:
            if asks:
                self.ask_ahead(tile, below, products.index)

            def row_of_pixels(plane: Value, row: Value) -> Value:
                if self.spec.dims == 2:
                    return self.lines.place(products.index, row) * self.lanes
                first = self.lines.place(products.index, plane)
                return (first + (row - self.row_seen) * layout.wide.input_size) * self.lanes

            def store(column: Value, values: list[Value]) -> None:
                for n, value in enumerate(values):
                    at = (products.index * width + column + n) * self.lanes
                    r.store(self.sums, at, value)

            pixels = pixel_rows.Pixels(self.lines.made, row_of_pixels, self.lanes)
            first_weight = self.first_weight + products.index * (weights * self.lanes)
            self.rows.record(pixels, first_weight, plane, row, nothing, store)

    def ask_ahead(self, tile: Value, row: Value, product: Value) -> None:
        """Have a seventh of the pixels of a row of four lines brought near, for its results.

        A block of channels has part of each pixel only; nothing fetches such places by itself.
        """
        r, width = self.r, self.layout.wide.output_size
        share = -(-width // PRODUCTS)
        first = product * share
        with r.loop(first, r.minimum(first + share, width)) as loop:
            for k in range(TILE):
                at = self.target(self.line(tile, k), row)
                r.prefetch(self.y, at + loop.index * self.spec.in_channels)

    def make(self, tile: Value, row: Value) -> None:
        """A row of the four lines of a tile, out of its sums."""
        r, blocks, width = self.r, self.layout.blocks, self.layout.wide.output_size
        with r.loop(0, width) as loop:
            values = [
                r.load(self.sums, (loop.index + i * width) * self.lanes, self.lanes)
                for i in range(PRODUCTS)
            ]
            made = transforms.mapped(r, grouped_taps.matrices().at, values, self.factor)
            for k, value in enumerate(map(self.finished, made)):
                if self.results is not None:
                    at = (loop.index + k * self.pitch) * self.lanes
                    r.store(self.results, at, value)
                    continue
                line = self.line(tile, k)
                exists = line < self.outer.axis.output_size
                mask = r.below(r.select(exists, r.const(blocks.real), r.const(0)), self.lanes)
                at = self.target(line, row) + loop.index * self.spec.in_channels
                r.store(self.y, at, value, mask)
        if self.results is not None:
            self.turn_out(self.results, tile, row)

    @property
    def pitch(self) -> int:
        """From one line of results to the next, where they are turned."""
        return TransformedLines.pitch(self.layout.wide.output_size, self.lanes)

    def line(self, tile: Value, k: Value | int) -> Value:
        """Which line of the result is line k of a tile; it may be one that does not exist."""
        return (tile * TILE + k) * self.outer.dilation + self.phase

    def finished(self, value: Value) -> Value:
        """A sum as it is stored: divided to the last bit, with bias and activation."""
        r, by = self.r, grouped_taps.denominator()
        about = r.const(1 / by, self.kind, self.lanes)
        quotient = value * about
        left = r.fma(quotient, r.const(-by, self.kind, self.lanes), value)
        value = r.fma(left, about, quotient)
        if self.start is not None:
            value = value + self.start
        return activation.activated(r, self.spec.activation, value)

    def turn_out(self, results: Buffer, tile: Value, row: Value) -> None:
        """The results of a row of four lines go to the image, those that exist."""
        r, width = self.r, self.layout.wide.output_size
        turns = turning.Turning(r, self.lanes, self.layout.blocks.real, self.kind)
        with r.loop(0, TILE) as loop:
            line = self.line(tile, loop.index)
            with r.when(line < self.outer.axis.output_size):
                turns.turn_out(
                    results, loop.index * self.pitch, r.const(width), width, self.y,
                    self.target(line, row), prod(self.spec.output_size),
                )  # fmt: skip

    def target(self, line: Value, row: Value) -> Value:
        """Where a row of results begins."""
        spec, width = self.spec, self.layout.wide.output_size
        within = (line * self.all_rows + row) * width
        if self.last:
            plane = self.image * prod(spec.output_size)
            return (plane + within) * spec.in_channels + self.channel
        images = self.image * spec.out_channels + self.channel
        return images * prod(spec.output_size) + within

    def factor(self, number: Fraction) -> Value:
        """A constant of a transform, in every lane."""
        return self.r.const(float(number), self.kind, self.lanes)


ALGORITHM = DepthwiseWinogradCpu()
