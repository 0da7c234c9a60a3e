"""Grouped convolution of channels-last images with few channels a group.

    y[q, o] = b[o] + Σ_{c, t} x[q·s − low + t·d, c] · w[t, c, o]          c in the group of o

Lanes are the output channels of several whole groups (see `parts.groups.lanes`). The inputs of
these groups at one pixel are loaded together; each turn picks one input of its group for every lane
and multiplies it by the weights of all taps through which an output of the tile reads the pixel.
Groups are not filled up with zeros, and stride and dilation cost nothing.

Where kernel rows see what others see for the next output row (stride and dilation 1 in height), two
rows are computed together from fewer products: see `parts.rows.pairs`. Sums of rows are added up in
registers there, and picked from instead of pixels.

Used for 2 to 8 channels a group, channel multipliers, and every number of inputs and outputs of
which two groups fit into a vector, in 2-D and 3-D. Not for contiguous images, and not for depthwise
convolution, which needs no picks.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from math import prod

from torch import Tensor

from ....lang.compile import compiled
from ....lang.ops import Buffer
from ....lang.routine import Routine, Value
from ....lang.target import host_target, unavailable
from ....machine import Machine
from ....parts import activation, cover, taps
from ....parts.activation import activated
from ....parts.channels import sums as channel_sums
from ....parts.channels.sums import looped
from ....parts.gemm import gather_panel
from ....parts.groups import ahead as groups_ahead
from ....parts.groups import borders as group_borders
from ....parts.groups import lanes as group_lanes
from ....parts.groups import sums as group_sums
from ....parts.groups import tile as group_tile
from ....parts.groups import weights as group_weights
from ....parts.groups.ahead import Ahead, pixels
from ....parts.groups.sums import GroupSums, Line
from ....parts.groups.tile import FEW, MOST_CODE
from ....parts.rows import pairs as row_pairs
from ....parts.rows import tiles as row_tiles
from ....parts.rows.pairs import Goal, Pairing
from ....parts.taps import taps_inside
from ....planning import Algorithm, Run
from ...calling import allocator, launcher
from ...geometry import Axis
from ...packed import packer
from .. import group_layout
from ..group_layout import GroupLayout
from ..refusals import REGISTER_BYTES, refusals
from ..spec import ConvSpec

_CALL_SECONDS = 6e-6
_WAITING = 0.4  # of the time that moving more than that takes; the rest goes on meanwhile
_EFFICIENCY = 0.75  # of the cycles that arithmetic and picks take by count
# as many times as long as by count for one channel a group: `depthwise_channels_last_cpu` shares
# more of the loads; seen on two threads, layers of 32 to 144 channels
_DEPTHWISE, _DEPTHWISE_VOLUME = 1.5, 1.9
_DEPTHWISE_FEW = 0.8  # the same where a pixel's channels are fewer than a vector has lanes
_SPILLING = 0.5  # the same for one channel a group in sixteen registers
_PARTS = (
    activation, channel_sums, cover, gather_panel, group_borders, group_lanes, group_layout,
    group_sums, group_tile, group_weights, groups_ahead, row_pairs, row_tiles, taps,
)  # fmt: skip


class GroupedChannelsLastCpu(Algorithm):
    """Few channels a group, direct, vectors along several groups."""

    tasks = frozenset({"forward"})
    weight_seconds = (40e-6, 2.0e-9)

    def unsupported(self, spec: ConvSpec) -> list[str]:
        """Anything but channels-last images of floating-point numbers in small groups."""
        reasons = refusals(spec, ["channels_last"])
        if unavailable() is not None:
            return reasons
        lanes = host_target().lanes(REGISTER_BYTES.get(spec.dtype, 4))
        outputs = spec.out_channels // spec.groups
        if spec.groups < 2 or 2 * outputs > lanes:
            reasons.append(
                f"needs two groups to a vector of {lanes} channels, has {spec.groups} of {outputs}"
            )
        elif not reasons and (code := GroupLayout(spec).code) > 2 * MOST_CODE:
            reasons.append(f"would write down {code} operations, more than {2 * MOST_CODE}")
        return reasons

    def seconds(self, spec: ConvSpec, machine: Machine) -> float:
        """The cycles that tiles take, and part of what moving the bytes takes."""
        per_cycle = 4 * host_target().vector_bits / 32  # operations of two multiply-adds on vectors
        spilling = spec.groups == spec.in_channels and machine.vector_bits < 512
        efficiency = _SPILLING if spilling else _EFFICIENCY
        computing = GroupLayout(spec).cycles * per_cycle / (machine.peak * efficiency)
        seconds = _CALL_SECONDS + computing + _WAITING * machine.moving(spec.bytes)
        lanes = host_target().lanes(REGISTER_BYTES[spec.dtype])
        if not spec.groups == spec.in_channels == spec.out_channels:
            return seconds
        if spec.groups < lanes:
            return seconds * _DEPTHWISE_FEW
        return seconds * (_DEPTHWISE_VOLUME if spec.dims == 3 else _DEPTHWISE)

    def workspace(self, spec: ConvSpec) -> int:
        """The packed weight."""
        layout = GroupLayout(spec)
        return layout.lanes.blocks * layout.weights * layout.item_size

    def build(self, spec: ConvSpec) -> Run:
        """`run(x, w, bias=None)`."""
        layout = GroupLayout(spec)
        routine = compiled(
            f"{self.name} {spec}", 3 + spec.bias, lambda: _Recording(layout).r,
            sources=[__file__, *(str(part.__file__) for part in _PARTS)],
        )  # fmt: skip
        make = allocator(spec.y_shape, spec.dtype, spec.layout)
        launch = launcher(routine, 2 * spec.executed_macs, spec.bytes)
        pack = packer(layout.packing())

        def run(x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
            y, packed = make(), pack(w)
            if bias is None:
                launch(y.data_ptr(), x.data_ptr(), packed.data_ptr())
            else:
                given = bias.contiguous()
                launch(y.data_ptr(), x.data_ptr(), packed.data_ptr(), given.data_ptr())
            return y

        return run


class _Recording:
    """The routine for one spec."""

    def __init__(self, layout: GroupLayout) -> None:
        self.of, spec = layout, layout.spec
        self.kind = "f64" if spec.dtype == "float64" else "f32"
        r = self.r = Routine("grouped_channels_last", layout.items)
        lanes = self.lanes = layout.lanes
        self.y = r.writes("y", spec.dtype, prod(spec.y_shape))
        self.x = r.reads("x", spec.dtype, prod(spec.x_shape))
        self.w = r.reads("w", layout.wide_name, lanes.blocks * layout.weights)
        self.b = r.reads("b", spec.dtype, spec.out_channels) if spec.bias else None
        self.sums = GroupSums(
            r, self.x, self.w, lanes, layout.tile, layout.high, layout.wide, spec.in_channels,
            layout.steady,
        )  # fmt: skip
        with r.work() as item:
            self.real = None if lanes.used == lanes.lanes else r.below(lanes.used, lanes.lanes)
            self.item(item)

    def item(self, item: Value) -> None:
        """Some rows of some blocks of channels at one output depth."""
        of, r = self.of, self.r
        part, item = item % of.parts.blocks, item // of.parts.blocks
        rows, item = item % of.rows.blocks, item // of.rows.blocks
        self.od, self.n = item % of.depth.output_size, item // of.depth.output_size
        self.planes = self.bounds(of.depth, self.od)
        with of.rows.loop(r, rows) as line:
            self.line = line
            if of.pairs is None:
                self.seen = self.bounds(of.high, line)
            inside = of.lines_inside
            self.at_border = len(inside) < of.lines
            if not inside or not self.at_border or of.one_way:
                self.some_blocks(part)
                return
            at_border = (line < inside.start) | ~(line < inside.stop)
            for self.at_border, here in ((True, at_border), (False, ~at_border)):
                with r.when(here):
                    self.some_blocks(part)

    def some_blocks(self, part: Value) -> None:
        """One line, or a pair of them, of some blocks of channels."""
        blocks, tiles = partial(self.of.parts.loop, self.r, part), self.tiles
        if self.of.blocks_inside:
            for some, outside in tiles():
                with some as column, blocks() as block:
                    self.tile(block, column, outside)
            return
        with blocks() as block:
            for some, outside in tiles():
                with some as column:
                    self.tile(block, column, outside)

    def bounds(self, axis: Axis, output: Value) -> tuple[Value, Value]:
        """The first tap through which an output sees the input, and the end of them."""
        if axis.executed == axis.output_size * axis.kernel_size:
            return self.r.const(0), self.r.const(axis.kernel_size)
        return taps_inside(
            self.r, output, input_size=axis.input_size, kernel_size=axis.kernel_size,
            stride=axis.stride, low=axis.padding[0], dilation=axis.dilation,
        )  # fmt: skip

    def tiles(self) -> Iterator[tuple[AbstractContextManager[Value], frozenset[int]]]:
        """The first columns of all tiles, and which of their pixels may not be there.

        Few such pixels cost less than code for tiles without any.
        """
        of, tiles = self.of, self.of.tiles
        first, behind = tiles.first_inside, tiles.behind_inside
        if len(of.outside) <= FEW or first >= behind:
            yield self.some_tiles(0, tiles.count), of.outside
            return
        yield self.some_tiles(first, behind), frozenset()
        for begin, end in ((0, first), (behind, tiles.count)):
            if begin < end:
                yield self.some_tiles(begin, end), of.outside

    @contextmanager
    def some_tiles(self, begin: int, end: int) -> Iterator[Value]:
        with self.r.loop(begin, end) as loop:
            yield self.of.tiles.column(self.r, loop.index)

    def tile(self, block: Value, column: Value, outside: frozenset[int]) -> None:
        """Sum up and store the outputs from a column on, of one row or of two."""
        of, r, lanes = self.of, self.r, self.lanes
        group = r.minimum(block * lanes.together, lanes.groups - lanes.together)
        self.output, size = group * lanes.outputs, of.tile.sums
        nothing = [r.const(0, self.kind, lanes.lanes)] * size
        row = self.line * ((2 if of.pairs else 1) * of.high.stride) - of.high.padding[0]
        plane = self.n * of.depth.input_size + self.od * of.depth.stride - of.depth.padding[0]
        place = column * of.wide.stride - of.wide.padding[0]
        pixel = (plane * of.high.input_size + row) * of.wide.input_size + place
        line = Line(
            pixel * of.spec.in_channels + group * lanes.inputs, place, None, block * of.weights,
            outside,
        )  # fmt: skip
        if of.pairs is None:
            self.store(self.one_row(nothing, line), column, 0)
            return
        self.ahead = Ahead(r, self.next_pixels(line, column), of.tile.chances(lanes, of.wide))
        sums = self.two_rows(of.pairs, nothing, line, row)
        self.store(sums[:size], column, 0)
        if of.high.output_size % 2 == 0:
            self.store(sums[size:], column, 1)
        else:
            with r.when(self.line < of.lines - 1):
                self.store(sums[size:], column, 1)

    def next_pixels(self, line: Line, column: Value) -> list[tuple[Buffer, Value]]:
        """What the tile to the right of a pair's reads of rows that are new, and what it writes."""
        of, wide, size = self.of, self.of.wide, self.of.tile.columns
        inputs, outputs = of.spec.in_channels, of.spec.out_channels
        last = of.pairs.last_row if of.pairs else 0
        rows = range(max(0, last + 1 - 2 * of.high.stride), last + 1)
        x = line.pixel + ((size - 1) * wide.stride + wide.span) * inputs
        return [
            *pixels(self.x, x, rows, size * wide.stride, (wide.input_size * inputs, inputs)),
            *pixels(
                self.y, self.target(column + size, 0), range(2), size,
                (wide.output_size * outputs, outputs),
            ),
        ]  # fmt: skip

    def target(self, column: Value, down: int) -> Value:
        """Where an output of the tile's first row, or that below, goes."""
        of = self.of
        row = (self.n * of.depth.output_size + self.od) * of.high.output_size + down
        row = row + self.line * (2 if of.pairs else 1)
        return (row * of.wide.output_size + column) * of.spec.out_channels + self.output

    def store(self, sums: Sequence[Value], column: Value, down: int) -> None:
        """Store the outputs of a row."""
        of, r, at = self.of, self.r, self.target(column, down)
        sums = self.lanes.merged(r, sums, of.tile.sets)
        if self.b:  # at the end, because every sum with it in would round to its size
            bias = r.load(self.b, self.output, of.lanes.lanes, self.real)
            sums = [total + bias for total in sums]
        for n, total in enumerate(sums):
            value = activated(r, of.spec.activation, total)
            r.store(self.y, at + n * of.spec.out_channels, value, self.real)

    def moved(self, line: Line, planes: Value, rows: Value, weights: Value) -> Line:
        """So many planes and rows of the image and rows of weights further on."""
        of = self.of
        row = of.wide.input_size * of.spec.in_channels
        pixel = line.pixel + planes * (of.high.input_size * row) + rows * row
        return replace(line, pixel=pixel, weights=line.weights + weights * self.sums.row_weights)

    def one_row(self, sums: Sequence[Value], line: Line) -> Sequence[Value]:
        """The sums over kernel planes and rows."""
        of, r, nothing = self.of, self.r, self.r.const(0)

        def plane(kd: Value, sums: Sequence[Value]) -> Sequence[Value]:
            first = self.moved(line, kd * of.depth.dilation, nothing, kd * of.kernel_rows)

            def row(kh: Value, sums: Sequence[Value]) -> Sequence[Value]:
                one = self.moved(first, nothing, kh * of.high.dilation, kh)
                size, step = of.tile.columns * of.wide.stride, of.spec.in_channels
                after = pixels(self.x, one.pixel + size * step, (0,), size, (0, step))
                chances = of.tile.chances(of.lanes, of.wide)
                return self.sums.over_columns(sums, one, Ahead(r, after, chances))

            return looped(r, self.seen, sums, row)

        return looped(r, self.planes, sums, plane)

    def two_rows(
        self, pairs: Pairing, sums: Sequence[Value], line: Line, row: Value
    ) -> Sequence[Value]:
        """The sums of both rows; `sums` are what those of either begin with."""
        r, size = self.r, len(sums)
        nothing = [r.const(0, self.kind, self.lanes.lanes)] * size
        found = self.over_products(pairs, [*sums, *nothing], line, row, (Goal.BOTH, Goal.APART))
        both = list(zip(found[:size], found[size:], strict=True))
        if pairs.count(Goal.APART):
            found = [*(a + b for a, b in both), *(a - b for a, b in both)]
        else:
            found = [*found[:size], *found[:size]]
        return self.over_products(pairs, found, line, row, (Goal.FIRST, Goal.SECOND))

    def over_products(
        self, pairs: Pairing, sums: Sequence[Value], line: Line, row: Value,
        goals: tuple[Goal, Goal],
    ) -> Sequence[Value]:  # fmt: skip
        """Those products of all kernel planes that are added to either half of the sums."""
        of, r, size, nothing = self.of, self.r, len(sums) // 2, self.r.const(0)

        def plane(kd: Value, sums: Sequence[Value]) -> Sequence[Value]:
            halves = [list(sums[:size]), list(sums[size:])]
            for n, product in enumerate(pairs.products):
                if product.to in goals:
                    planes = kd * of.depth.dilation
                    one = self.moved(line, planes, nothing, kd * of.kernel_rows + n)
                    if self.at_border:
                        one = replace(one, row=row)
                    half = goals.index(product.to)
                    halves[half] = self.sums.product(halves[half], one, product, self.ahead)
            return [*halves[0], *halves[1]]

        return looped(r, self.planes, sums, plane)


ALGORITHM = GroupedChannelsLastCpu()
