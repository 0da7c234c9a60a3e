"""Convolution of two output rows at a time, with up to a third fewer multiplications.

    y[2k],  y[2k + 1]  =  sums of products  (± rows of x) ∗ (combined rows of w)

Taps that see rows a stride apart are taken by threes or twos, for which two output rows need four
or three products of a row of the image with a row of the kernel, not six or four (see
`parts.rows.pairs`). The sums of the image's rows are written to memory of the thread's own, with
zeros beside them; there they are read as by `direct_channels_cpu`: output channels are lanes, and a
tile of outputs lives in registers. Adding rows up costs little where many output channels use them.

    times fewer products: 7×7, stride 2: 1.4   11×11, stride 4: 1.47   3×3 and 6×6, stride 2: 1.5

Used for first layers and groups of some 16 channels and more, in 2-D and 3-D, contiguous and
channels last. Not where no tap sees another's row (strides beyond the kernel, most dilations), and
not for one dimension.
"""

from collections.abc import Sequence
from math import prod

from ....lang.compile import compiled
from ....lang.routine import Routine, Value
from ....lang.target import host_target
from ....machine import Machine
from ....parts import activation, cover, taps, transpose
from ....parts.channels import sums as channel_sums
from ....parts.channels import tile as channel_tile
from ....parts.channels.sums import ChannelSums, OutputBlocks, Place, Results, looped
from ....parts.channels.tile import ChannelRow, best_tile
from ....parts.cover import Cover
from ....parts.gemm import gather_panel
from ....parts.rows import pairs as row_pairs
from ....parts.rows import panel as row_panel
from ....parts.rows import sums as row_sums
from ....parts.rows.pairs import Goal, pairing
from ....parts.rows.panel import Rows
from ....parts.rows.sums import RowSums
from ....parts.taps import taps_inside
from ....planning import Algorithm, Run
from ...calling import allocator, launcher, weighted
from ...gathered import Gathered
from ...geometry import Axis
from ...packed import packer
from ...scratch import scratch_bytes, with_scratch
from ..refusals import REGISTER_BYTES, refusals
from ..spec import ConvSpec

# bytes of a number in a register
_ITEMS = 32  # pieces of work to share out, if there are so many
_MOST_PRODUCTS = 48  # of a pair: each is written down
_LEAST_SAVED = 1.1

_CALL_SECONDS = 6e-6
_FEW_INPUTS = 1.1  # times as long as by count, where a tile has few terms to sum: first layers
_SECOND_CACHE = 2 << 20  # bytes of a core
_WAITING = 0.4  # of the time that moving more than that takes; the rest goes on meanwhile
_SUM_CYCLES = 4  # for a vector of a sum of rows
_PARTS = (
    activation, channel_sums, channel_tile, cover, gather_panel, row_pairs, row_panel, row_sums,
    taps, transpose,
)  # fmt: skip


class RowPairsCpu(Algorithm):
    """Two rows at a time, vectors along the output channels."""

    tasks = frozenset({"forward"})
    weight_seconds = (40e-6, 3.0e-9)

    def unsupported(self, spec: ConvSpec) -> list[str]:
        """What has no pairs of rows, or none that save anything."""
        reasons = refusals(spec, ["contiguous", "channels_last"])
        if spec.dims == 1 or spec.output_size[-2] < 2:
            reasons.append(f"needs two rows of outputs, has {spec.output_size}")
        elif (saved := _pairing(spec).saved) < _LEAST_SAVED:
            reasons.append(
                f"saves nothing with kernel size {spec.kernel_size[-2]}, stride {spec.stride[-2]} "
                f"and dilation {spec.dilation[-2]} in height (factor {saved:.2f})"
            )
        elif (products := len(_pairing(spec).products)) > _MOST_PRODUCTS:
            reasons.append(f"would write down {products} sums of rows, more than {_MOST_PRODUCTS}")
        return reasons

    def seconds(self, spec: ConvSpec, machine: Machine) -> float:
        """The cycles that tiles and sums of rows take, and part of what moving the bytes takes."""
        per_cycle = 4 * host_target().vector_bits / 32  # operations of two multiply-adds on vectors
        computing = _Layout(spec).cycles * per_cycle / machine.peak
        far = max(0, spec.bytes - machine.cores * _SECOND_CACHE)
        seconds = _CALL_SECONDS + computing + _WAITING * far / machine.bandwidth
        return seconds * _FEW_INPUTS if spec.in_channels // spec.groups < 4 else seconds

    def workspace(self, spec: ConvSpec) -> int:
        """The packed weight and every thread's panel."""
        layout = _Layout(spec)
        packed = layout.packed_numbers * layout.item_size
        return packed + scratch_bytes(layout.item_size, layout.sums.numbers)

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


def _pairing(spec: ConvSpec) -> row_pairs.Pairing:
    return pairing(spec.kernel_size[-2], spec.stride[-2], spec.dilation[-2])


class _Layout:
    """How a spec is cut, and where everything lies; in two dimensions the depth has size 1."""

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
        self.pairing = _pairing(spec)
        planes_of_taps = self.depth.executed / self.depth.output_size
        self.terms = len(self.pairing.products) * self.inputs * planes_of_taps
        wide = self.wide
        self.tile = best_tile(
            ChannelRow(
                columns=wide.output_size, channels=self.outputs, taps=wide.kernel_size,
                stride=wide.stride, dilation=wide.dilation, lanes=self.lanes,
                item_size=self.item_size, turned=not self.last, sets=2,
            ),
            self.terms,
        )  # fmt: skip
        self.blocks = OutputBlocks(spec.groups, self.outputs, self.tile.vectors * self.lanes)
        image = Rows(
            last=self.last, channels=spec.in_channels, wanted=self.inputs,
            size=(self.depth.input_size, self.high.input_size, wide.input_size),
        )  # fmt: skip
        self.sums = RowSums(
            image, self.pairing, self.depth.kernel_size, wide.padding[0], wide.padded_size,
            self.item_size,
        )  # fmt: skip
        self.pairs = -(-self.high.output_size // 2)
        planes = max(spec.batch, 1) * spec.groups * self.depth.output_size
        wanted = -(-_ITEMS // planes)
        self.rows = Cover(self.pairs, 1, wanted)
        self.parts = Cover(self.outputs, self.blocks.size, max(1, wanted // self.rows.blocks))
        planes = spec.batch * spec.groups * self.depth.output_size
        self.items = planes * self.rows.blocks * self.parts.blocks

    @property
    def cycles(self) -> float:
        """Cycles of one core that everything takes."""
        planes = self.spec.batch * self.spec.groups * self.depth.output_size
        vectors = self.terms * self.wide.padded_size / self.lanes * self.parts.blocks
        pair = self.tile.cycles(self.terms) + vectors * _SUM_CYCLES
        return planes * self.pairs * pair

    @property
    def weights(self) -> int:
        """Numbers of the weight for one block of output channels."""
        taps = self.depth.kernel_size * len(self.pairing.products) * self.wide.kernel_size
        return taps * self.inputs * self.tile.vectors * self.lanes

    @property
    def packed_numbers(self) -> int:
        """Numbers of the packed weight."""
        return self.spec.groups * self.blocks.count * self.weights

    def packing(self) -> Gathered:
        """What packs a weight: by groups and blocks of output channels, then plane, product, input
        channel, column, lane."""
        kernel = (self.depth.kernel_size, self.high.kernel_size, self.wide.kernel_size)
        return Gathered(
            (self.spec.groups, self.outputs, self.inputs, *kernel),
            lambda w: self.blocks.packed(w.permute(0, 3, 4, 2, 5, 1)),
            [product.factors(kernel[1]) for product in self.pairing.products], axis=3,
        )  # fmt: skip


class _Recording:
    """The routine for one spec."""

    def __init__(self, layout: _Layout) -> None:
        self.of, spec = layout, layout.spec
        self.kind = "f64" if spec.dtype == "float64" else "f32"
        r = self.r = Routine("row_pairs", layout.items)
        self.y = r.writes("y", spec.dtype, prod(spec.y_shape))
        self.x = r.reads("x", spec.dtype, prod(spec.x_shape))
        self.w = r.reads("w", layout.wide_name, layout.packed_numbers)
        self.panel = r.scratch("panel", layout.wide_name, layout.sums.numbers)
        self.b = r.reads("b", spec.dtype, spec.out_channels) if spec.bias else None
        self.sums = ChannelSums(r, self.w, layout.tile, layout.inputs)
        self.results = Results(
            r, self.y, layout.last, spec.out_channels, prod(spec.output_size),
            layout.blocks.size, layout.lanes, spec.activation, self.b,
        )  # fmt: skip
        with r.work() as item:
            self.item(item)

    def item(self, item: Value) -> None:
        """Some pairs of rows of some output channels of a group, at one output depth."""
        of, r = self.of, self.r
        part, item = item % of.parts.blocks, item // of.parts.blocks
        rows, item = item % of.rows.blocks, item // of.rows.blocks
        self.od, item = item % of.depth.output_size, item // of.depth.output_size
        self.group, self.n = item % of.spec.groups, item // of.spec.groups
        self.planes = taps_inside(
            r, self.od, input_size=of.depth.input_size, kernel_size=of.depth.kernel_size,
            stride=of.depth.stride, low=of.depth.padding[0], dilation=of.depth.dilation,
        )  # fmt: skip
        if of.depth.kernel_size == 1 and not any(of.depth.padding):
            self.planes = r.const(0), r.const(1)
        size = of.tile.columns
        tiles = -(-of.wide.output_size // size)
        with of.rows.loop(r, rows) as pair:
            self.fill(pair)
            with of.parts.loop(r, part) as output:
                block = of.blocks.index(self.group, output)
                with r.loop(0, tiles) as tile:
                    column = r.minimum(tile.index * size, of.wide.output_size - size)
                    self.tile(pair, output, column, block * of.weights)

    def fill(self, pair: Value) -> None:
        """Write all sums of rows that the pair needs."""
        of, spec = self.of, self.of.spec
        first = self.group * of.inputs
        first = first if of.last else first * prod(spec.input_size)
        depth = self.od * of.depth.stride - of.depth.padding[0]
        of.sums.fill(
            self.r, self.x, self.panel, source=self.n * prod(spec.x_shape[1:]) + first,
            planes=(*self.planes, depth, of.depth.dilation),
            top=pair * (2 * of.high.stride) - of.high.padding[0],
        )  # fmt: skip

    def tile(self, pair: Value, output: Value, column: Value, weights: Value) -> None:
        """Sum up and store the outputs of two rows from a column on."""
        of, r = self.of, self.r
        channel = self.group * of.outputs + output
        sums = nothing = [r.const(0, self.kind, of.lanes)] * (of.tile.vectors * of.tile.columns)
        half, x = len(sums), column * (of.wide.stride * of.sums.steps[1])
        both, apart, each = (of.pairing.count(to) for to in (Goal.BOTH, Goal.APART, Goal.FIRST))
        if both:
            found = self.over([*sums, *nothing], x, weights, 0, apart, 2)
            more = self.over(found[:half], x, weights, 2 * apart, both - apart, 1)
            found = [*more, *found[half:]]
            sums = [a + b for a, b in zip(found[:half], found[half:], strict=True)]
            other = [a - b for a, b in zip(found[:half], found[half:], strict=True)]
        else:
            other = sums
        found = self.over([*sums, *other], x, weights, both + apart, each, 2)
        row = (self.od * of.high.output_size + pair * 2) * of.wide.output_size + column
        rows = [found[:half], found[half:]]
        self.store(rows, pair, channel, row)

    def store(
        self, rows: Sequence[Sequence[Value]], pair: Value, channel: Value, first: Value
    ) -> None:
        of, pixels = self.of, [first, first + self.of.wide.output_size]
        if of.high.output_size % 2 == 0:
            self.results.store(rows, self.n, channel, pixels)
            return
        with self.r.when(pair < of.pairs - 1):
            self.results.store(rows, self.n, channel, pixels)
        with self.r.when(self.r.apply("eq", pair, of.pairs - 1)):
            self.results.store(rows[:1], self.n, channel, pixels[:1])

    def over(
        self, sums: Sequence[Value], x: Value, weights: Value, begin: int, count: int, sets: int
    ) -> Sequence[Value]:
        """Products from the `begin`-th on, by ones or twos, each of them for its own sums."""
        of, r = self.of, self.r
        if not count:
            return sums
        products, row = len(of.pairing.products), self.sums.row_weights

        def plane(kd: Value, sums: Sequence[Value]) -> Sequence[Value]:
            x_plane = x + kd * of.sums.steps[3] + begin * of.sums.steps[2]
            w_plane = weights + kd * (products * row) + begin * row

            def some(n: Value, sums: Sequence[Value]) -> Sequence[Value]:
                places = [
                    Place(
                        self.panel, x_plane + (n * sets + k) * of.sums.steps[2], of.sums.steps[0],
                        of.sums.steps[1], w_plane + (n * sets + k) * row,
                    )
                    for k in range(sets)
                ]  # fmt: skip
                return self.sums.over_channels(sums, places)

            return looped(r, (r.const(0), r.const(count)), sums, some)

        return looped(r, self.planes, sums, plane)


ALGORITHM = RowPairsCpu()
