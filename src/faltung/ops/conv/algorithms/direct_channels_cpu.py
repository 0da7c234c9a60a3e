"""Convolution straight from its definition, with output channels as lanes.

    y[q, o] = b[o] + Σ_{c, t} x[q·s − low + t·d, c] · w[t, c, o]          c in the group of o

A tile of vectors of output channels × neighbouring outputs of a row lives in registers. A number of
an input row is spread over the lanes once and multiplied by the weights of all taps through which
an output of the tile reads it; the weights of those taps are in registers meanwhile. No lane is
lost where rows are narrow, and stride and dilation cost nothing. Kernel planes and rows and input
channels are loops; those that fall into padding are left out by their bounds. The few tiles that
see padding beside a row read a copy with zeros, in memory of the thread's own; where numbers have
16 bits or a group's channels lie far apart, all do.

In contiguous images a tile is transposed in registers before it is stored.

Used for first layers (few input channels, strides) and for groups of some 16 channels and more, in
1-D to 3-D, contiguous and channels last. Not for groups of few channels, which leave most lanes
empty, and not for thousands of terms a sum, whose weights stream through the near cache.
"""

from collections.abc import Sequence
from functools import cached_property
from math import prod

from ....lang.compile import compiled
from ....lang.routine import Routine, Value
from ....lang.target import host_target
from ....machine import Machine
from ....parts import activation, cover, taps, tile_walk, transpose
from ....parts.channels import sums as channel_sums
from ....parts.channels import tile as channel_tile
from ....parts.channels.sums import ChannelSums, OutputBlocks, Place, Results, looped
from ....parts.channels.tile import ChannelRow, ChannelTile, best_tile
from ....parts.cover import Cover
from ....parts.gemm import gather_panel
from ....parts.rows import panel as row_panel
from ....parts.rows import tiles as row_tiles
from ....parts.rows.panel import RowPanel, Rows, Stretch, stretches
from ....parts.rows.tiles import RowTiles
from ....parts.taps import taps_seen
from ....parts.tile_walk import Here, TileWalk
from ....planning import Algorithm, Run
from ...calling import allocator, launcher, weighted
from ...gathered import Gathered
from ...geometry import Axis
from ...packed import packer
from ...scratch import scratch_bytes, with_scratch
from ..refusals import REGISTER_BYTES, refusals
from ..spec import ConvSpec

# bytes of a number in a register
_LINE = 64  # bytes
_ITEMS = 32  # pieces of work to share out, if there are so many
_MOST_PANEL = 512 << 10  # bytes: a part of the second cache
_NEAR_CACHE = 40 << 10  # bytes: most of the first cache

_CALL_SECONDS = 6e-6
_SECOND_CACHE = 2 << 20  # bytes of a core
_WAITING = 0.4  # of the time that moving more than that takes; the rest goes on meanwhile
_COPY_CYCLES = 3  # for a vector of the panel
_PARTS = (
    activation, channel_sums, channel_tile, cover, gather_panel, row_panel, row_tiles, taps,
    tile_walk, transpose,
)  # fmt: skip


class DirectChannelsCpu(Algorithm):
    """Direct, vectors along the output channels."""

    tasks = frozenset({"forward"})
    weight_seconds = (30e-6, 1.2e-9)

    def unsupported(self, spec: ConvSpec) -> list[str]:
        """Anything but images of floating-point numbers in one of the two orders."""
        return refusals(spec, ["contiguous", "channels_last"])

    def seconds(self, spec: ConvSpec, machine: Machine) -> float:
        """The cycles that tiles and panels take, and part of what moving the bytes takes."""
        per_cycle = 4 * host_target().vector_bits / 32  # operations of two multiply-adds on vectors
        computing = _Layout(spec).cycles * per_cycle / machine.peak
        far = max(0, spec.bytes - machine.cores * _SECOND_CACHE)
        return _CALL_SECONDS + computing + _WAITING * far / machine.bandwidth

    def workspace(self, spec: ConvSpec) -> int:
        """The packed weight and every thread's panel."""
        layout = _Layout(spec)
        packed = layout.packed_numbers * layout.item_size
        return packed + scratch_bytes(layout.item_size, layout.panel_numbers)

    def build(self, spec: ConvSpec) -> Run:
        """`run(x, w, bias=None)`."""
        layout = _Layout(spec)
        routine = with_scratch(compiled(
            f"{self.name} {spec}", 3 + spec.bias,
            lambda: _Recording(layout).r, sources=[__file__, *(str(p.__file__) for p in _PARTS)],
        ))  # fmt: skip
        make = allocator(spec.y_shape, spec.dtype, spec.layout)
        launch = launcher(routine, 2 * spec.executed_macs, spec.bytes)
        pack = packer(layout.packing())
        return weighted(make, pack, launch)


class _Layout:
    """How a spec is cut, and where everything lies; leading axes it has not have size 1."""

    def __init__(self, spec: ConvSpec) -> None:
        self.spec, self.last = spec, spec.layout == "channels_last"
        self.depth, self.high, self.wide = (*[Axis(1, 1)] * (3 - spec.dims), *spec.axes)
        self.inputs = spec.in_channels // spec.groups
        self.outputs = spec.out_channels // spec.groups
        self.item_size = REGISTER_BYTES[spec.dtype]
        self.wide_name = "float64" if spec.dtype == "float64" else "float32"
        self.lanes = host_target().lanes(self.item_size)
        while self.lanes > 4 and self.outputs <= self.lanes // 2:
            self.lanes //= 2
        self.image = Rows(
            last=self.last, channels=spec.in_channels, wanted=self.inputs,
            size=(self.depth.input_size, self.high.input_size, self.wide.input_size),
        )  # fmt: skip
        self.tile = self._tile()
        self.blocks = OutputBlocks(spec.groups, self.outputs, self.tile.vectors * self.lanes)
        wide = self.wide
        self.tiles = RowTiles(
            wide.output_size, self.tile.columns, wide.stride, wide.padding[0], wide.span,
            wide.input_size,
        )  # fmt: skip
        self._cut()
        self.panel = self._panel()

    def _tile(self) -> ChannelTile:
        wide = self.wide
        row = ChannelRow(
            columns=wide.output_size, channels=self.outputs, taps=wide.kernel_size,
            stride=wide.stride, dilation=wide.dilation, lanes=self.lanes,
            item_size=self.item_size, turned=not self.last,
        )  # fmt: skip
        return best_tile(row, self.terms)

    @property
    def terms(self) -> float:
        """Kernel rows in all input channels that an output row sees, on average."""
        rows = [axis.executed / axis.output_size for axis in (self.depth, self.high)]
        return prod(rows) * self.inputs

    @cached_property
    def is_copied(self) -> bool:
        """Whether all tiles read a panel: where none is inside, or it is better so."""
        far = self.last and self.spec.groups > 1
        widened = self.spec.item_size != self.item_size
        return far or widened or self.tiles.first_inside == self.tiles.count

    def _cut(self) -> None:
        """Into items: rows first, then what costs the least."""
        planes = max(self.spec.batch, 1) * self.spec.groups * self.depth.output_size
        wanted = -(-_ITEMS // planes)
        self.rows = Cover(self.high.output_size, 1, wanted)
        copied = self.is_copied
        while copied and self.rows.share > 1 and self._row_bytes * self.rows.share > _MOST_PANEL:
            self.rows = Cover(self.high.output_size, 1, 2 * self.rows.blocks)
        least = -(-self._row_bytes * self.rows.share // _MOST_PANEL) if copied else 1
        left = max(1, wanted // self.rows.blocks)
        # parts of the channels copy the same panel
        parts = 1 if copied else left
        self.parts = Cover(self.outputs, self.blocks.size, parts)
        tiles = self.tiles.count
        self.share = -(-tiles // min(tiles, max(least, left // self.parts.blocks)))
        self.column_blocks = -(-tiles // self.share)
        if copied:
            self.parts = Cover(self.outputs, self.blocks.size, max(1, left // self.column_blocks))
        blocks = self.rows.blocks * self.column_blocks * self.parts.blocks
        self.items = self.spec.batch * self.spec.groups * self.depth.output_size * blocks

    @property
    def _row_bytes(self) -> int:
        """Of what a row of outputs and those below it add to a panel."""
        rows = self.depth.kernel_size * self.high.stride
        return self.inputs * self.wide.padded_size * rows * self.item_size

    @cached_property
    def stretches(self) -> list[Stretch]:
        """The columns of the panel."""
        return stretches(self.tiles, self.share if self.is_copied else None)

    def _panel(self) -> RowPanel | None:
        columns = sum(stretch.columns for stretch in self.stretches)
        rows = (self.rows.share - 1) * self.high.stride + self.high.span
        panel = RowPanel(self.image, self.depth.kernel_size, rows, columns, self.item_size)
        return panel if columns else None

    @property
    def panel_numbers(self) -> int:
        """Numbers of one thread's panel."""
        return self.panel.numbers if self.panel else 0

    @property
    def rows_inside(self) -> bool:
        """Whether tiles go down the rows first: where a block's weights stay near only so.

        Otherwise they go along the rows, as results are written best.
        """
        kernel_rows = self.inputs * self.depth.kernel_size * self.high.kernel_size
        weights, one, all_of_them = (
            numbers * self.item_size
            for numbers in (
                self.weights, self.tiles.read(self.tiles.size) * kernel_rows,
                self.wide.padded_size * kernel_rows,
            )
        )  # fmt: skip
        return weights + one <= _NEAR_CACHE < weights + all_of_them

    @property
    def cycles(self) -> float:
        """Cycles of one core that everything takes."""
        rows = self.spec.batch * self.spec.groups * prod(self.spec.output_size[:-1])
        vectors = self.items * self.panel_numbers / self.lanes
        return rows * self.tile.cycles(self.terms) + vectors * _COPY_CYCLES

    @property
    def weights(self) -> int:
        """Numbers of the weight for one block of output channels."""
        return self.inputs * self.spec.taps * self.tile.vectors * self.lanes

    @property
    def packed_numbers(self) -> int:
        """Numbers of the packed weight."""
        return self.spec.groups * self.blocks.count * self.weights

    def packing(self) -> Gathered:
        """What packs a weight: by groups and blocks of output channels, then kernel plane, kernel
        row, channel, column, lane."""
        kernel = (self.depth.kernel_size, self.high.kernel_size, self.wide.kernel_size)
        return Gathered(
            (self.spec.groups, self.outputs, self.inputs, *kernel),
            lambda w: self.blocks.packed(w.permute(0, 3, 4, 2, 5, 1)),
        )


class _Recording:
    """The routine for one spec."""

    def __init__(self, layout: _Layout) -> None:
        self.of, spec = layout, layout.spec
        self.kind = "f64" if spec.dtype == "float64" else "f32"
        r = self.r = Routine("direct_channels", layout.items)
        self.y = r.writes("y", spec.dtype, prod(spec.y_shape))
        self.x = r.reads("x", spec.dtype, prod(spec.x_shape))
        self.w = r.reads("w", layout.wide_name, layout.packed_numbers)
        if layout.panel:
            self.panel = r.scratch("panel", layout.wide_name, layout.panel_numbers)
        self.b = r.reads("b", spec.dtype, spec.out_channels) if spec.bias else None
        self.sums = ChannelSums(r, self.w, layout.tile, layout.inputs)
        self.results = Results(
            r, self.y, layout.last, spec.out_channels, prod(spec.output_size),
            layout.blocks.size, layout.lanes, spec.activation, self.b,
        )  # fmt: skip
        with r.work() as item:
            self.item(item)

    def item(self, item: Value) -> None:
        """Some rows and columns of some output channels of a group, at one output depth."""
        of = self.of
        part, item = item % of.parts.blocks, item // of.parts.blocks
        columns, item = item % of.column_blocks, item // of.column_blocks
        rows, item = item % of.rows.blocks, item // of.rows.blocks
        self.od, item = item % of.depth.output_size, item // of.depth.output_size
        self.group, self.n = item % of.spec.groups, item // of.spec.groups
        self.planes, self.top = taps_seen(self.r, of.depth, self.od), rows * of.rows.share
        begin = columns * of.share
        self.walk = TileWalk(
            self.r, of.tiles, of.stretches, of.is_copied, begin,
            self.r.minimum(begin + of.share, of.tiles.count), whole=of.column_blocks == 1,
        )  # fmt: skip
        if of.panel:
            self.fill(of.panel)
        with of.parts.loop(self.r, part) as output:
            self.output = output
            self.weights = of.blocks.index(self.group, output) * of.weights
            if of.rows_inside:
                for tiles in self.walk.loops():
                    with tiles as here, of.rows.loop(self.r, rows) as row:
                        self.tile(row, taps_seen(self.r, of.high, row), here)
            else:
                with of.rows.loop(self.r, rows) as row:
                    seen = taps_seen(self.r, of.high, row)
                    for tiles in self.walk.loops():
                        with tiles as here:
                            self.tile(row, seen, here)

    @property
    def source(self) -> Value:
        """The first number of the group in its image."""
        channel = self.of.image.steps[0]
        return self.n * prod(self.of.spec.x_shape[1:]) + self.group * (self.of.inputs * channel)

    def fill(self, panel: RowPanel) -> None:
        """Fill the panel for the block's rows, and its columns if all tiles read it."""
        of = self.of
        depth = self.od * of.depth.stride - of.depth.padding[0]
        panel.fill(
            self.r, self.x, self.panel, host_target().lanes(of.item_size), source=self.source,
            planes=(*self.planes, depth, of.depth.dilation),
            top=self.top * of.high.stride - of.high.padding[0], stretches=self.walk.filled(),
        )  # fmt: skip

    def tile(self, row: Value, seen: tuple[Value, Value], here: Here) -> None:
        """Sum up and store the outputs of a tile of a row."""
        of, r = self.of, self.r
        nothing = [r.const(0, self.kind, of.lanes)] * (of.tile.vectors * of.tile.columns)
        channel = self.group * of.outputs + self.output
        sums = self.over_planes(nothing, row, seen, here)
        pixel = (self.od * of.high.output_size + row) * of.wide.output_size + here.column
        self.results.store([sums], self.n, channel, [pixel])

    def over_planes(
        self, sums: Sequence[Value], row: Value, seen: tuple[Value, Value], here: Here
    ) -> Sequence[Value]:
        """The sums over kernel planes and rows."""
        of, depth, high = self.of, self.of.depth, self.of.high
        if here.in_panel and of.panel:
            source, steps, apart = self.panel, of.panel.steps, 1
            first = (row - self.top) * high.stride * steps[2]
        else:
            source, steps, apart = self.x, of.image.steps, depth.dilation
            first = self.source + (self.od * depth.stride - depth.padding[0]) * steps[3]
            first = first + (row * high.stride - high.padding[0]) * steps[2]
        first = first + here.read * steps[1]
        weights = self.sums.row_weights

        def plane(kd: Value, sums: Sequence[Value]) -> Sequence[Value]:
            x_plane = first + kd * (apart * steps[3])
            w_plane = self.weights + kd * (high.kernel_size * weights)

            def kernel_row(kh: Value, sums: Sequence[Value]) -> Sequence[Value]:
                x = x_plane + kh * (high.dilation * steps[2])
                place = Place(source, x, steps[0], steps[1], w_plane + kh * weights)
                return self.sums.over_channels(sums, [place])

            return looped(self.r, seen, sums, kernel_row)

        return looped(self.r, self.planes, sums, plane)


ALGORITHM = DirectChannelsCpu()
