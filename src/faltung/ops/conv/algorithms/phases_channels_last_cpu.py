"""Depthwise transposed convolution of channels-last images: vectors run along the channels.

    gx[i, c] = b[c] + Σ { w[t, c] · gy[q, c] : i = q·s − low + t·d }

A tile of neighbouring results in a row times one vector of channels lives in registers. Each pixel
of a row of gy that the tile reads is loaded once and multiplied by the weight of every tap through
which it reaches a result of the tile; all places are known while recording, so that phases along
the row and its borders cost nothing. Rows and planes of one phase are loops over the taps that
reach it, which leave out those outside gy.

Used for the gradient of depthwise convolution and for depthwise transposed convolution in 2-D and
3-D, one channel a group: every kernel size, stride, dilation and padding. The weight is packed when
it is new or changed: vector of channels by vector of channels, tap by tap.
"""

from functools import cached_property
from math import prod

import torch
from torch import Tensor

from ....lang.compile import compiled
from ....lang.routine import Operand, Routine, Value
from ....lang.target import host_target
from ....machine import Machine
from ....parts import activation
from ....parts.activation import activated
from ....parts.phases import classes as phases
from ....parts.phases.classes import PhaseAxis
from ....planning import Algorithm, Run
from ...calling import allocator, launcher
from ...packed import packer
from ..refusals import REGISTER_BYTES, depthwise_refusals, refusals
from ..spec import ConvSpec

_SUMS = {16: 10, 32: 16}  # results of a tile, by the number of vector registers
_MOST_PRODUCTS = 4000  # of all tiles together; more would take longer than 0.3 s to compile
_MOST_WEIGHTS, _NEAR = 24 << 10, 16 << 10  # bytes that the near cache has for them, and for a row
_SMALL_PIXEL = 128  # bytes
_ITEMS = 32  # pieces of work to share out, if there are so many

_CALL_SECONDS = 5e-6
_HELD = 2.0  # how much faster than memory the second cache is, at least
_EFFICIENCY = 0.6  # share of peak
_ROW, _STORE = 8.0, 4.0  # cycles of a row of gy that a tile reads, and of a vector of results
_PARTS = (activation, phases)


class PhasesChannelsLastCpu(Algorithm):
    """One filter a channel, vectors along the channels."""

    tasks = frozenset({"grad_input"})
    weight_seconds = (30e-6, 1.0e-9)

    def unsupported(self, spec: ConvSpec) -> list[str]:
        """Anything but depthwise, on channels-last images of floating-point numbers."""
        reasons = depthwise_refusals(spec) + refusals(spec, ["channels_last"])
        if 0 in (spec.in_channels, *spec.input_size):
            reasons.append(f"has nothing to compute: the result is {spec.x_shape}")
        if not reasons and (products := _Layout(spec).products) > _MOST_PRODUCTS:
            reasons.append(f"would unroll {products} products, more than {_MOST_PRODUCTS}")
        return reasons

    def seconds(self, spec: ConvSpec, machine: Machine) -> float:
        """Multiply-adds, rows and stores, or the bytes at memory speed if that is slower."""
        per_cycle = 4 * host_target().vector_bits / 32  # operations of two multiply-adds on vectors
        moving = spec.bytes / machine.bandwidth
        if spec.bytes <= dict(machine.caches).get("L2", 0):
            moving /= _HELD
        return _CALL_SECONDS + max(_Layout(spec).cycles * per_cycle / machine.peak, moving)

    def workspace(self, spec: ConvSpec) -> int:
        """The packed weight."""
        layout = _Layout(spec)
        return layout.blocks * layout.lanes * spec.taps * spec.item_size

    def build(self, spec: ConvSpec) -> Run:
        """`run(gy, w, bias=None)`."""
        layout = _Layout(spec)
        routine = compiled(
            f"{self.name} {spec}", 3 + spec.bias, lambda: _Recording(layout).r,
            sources=[__file__, *(str(part.__file__) for part in _PARTS)],
        )  # fmt: skip
        make = allocator(spec.x_shape, spec.dtype, spec.layout)
        launch = launcher(routine, 2 * spec.executed_macs, spec.bytes)
        packed = packer(layout.packed)

        def run(gy: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
            gx = make()
            given = [gx, gy, packed(w)]
            if bias is not None:
                given.append(bias.contiguous())
            launch(*[t.data_ptr() for t in given])
            return gx

        return run


class _Layout:
    """How a spec is cut; in two dimensions the depth has size 1."""

    def __init__(self, spec: ConvSpec) -> None:
        self.spec = spec
        one = PhaseAxis(1, 1, 1, 0, 1, 1)
        found = [
            PhaseAxis(
                a.input_size, a.kernel_size, a.stride, a.padding[0], a.dilation, a.output_size
            )
            for a in spec.axes
        ]
        self.depth, self.high, self.wide = (*[one] * (3 - spec.dims), *found)
        self.lanes = host_target().lanes(REGISTER_BYTES[spec.dtype])
        while self.lanes > 4 and spec.in_channels <= self.lanes // 2:
            self.lanes //= 2
        self.blocks = -(-spec.in_channels // self.lanes)
        # vectors of channels follow each other in memory and are best done together, unless their
        # weights would crowd the images out of the near cache; then each is a piece of work
        crowded = spec.taps * self.blocks * self.lanes * spec.item_size > _MOST_WEIGHTS
        self.shared = self.blocks if crowded else 1
        most = _SUMS[32 if host_target().vector_bits == 512 else 16]
        # tiles of equal size, and whole phases, so that all of them look alike
        results, stride = self.wide.results, self.wide.stride
        equal = -(-results // -(-results // most))
        whole = -(-equal // stride) * stride
        if whole > most >= stride:
            whole -= stride
        self.columns = min(whole, results)

    def readers(self, begin: int, count: int) -> dict[int, list[tuple[int, int]]]:
        """What each pixel is for: its place in the row of gy -> (result of the tile, tap)."""
        wide, found = self.wide, dict[int, list[tuple[int, int]]]()
        for result in range(count):
            for tap in range(wide.kernel_size):
                q, rest = divmod(begin + result + wide.low - tap * wide.dilation, wide.stride)
                if rest == 0:
                    found.setdefault(q, []).append((result, tap))
        return dict(sorted(found.items()))

    @cached_property
    def inside(self) -> tuple[int, int]:
        """First and end of the tiles that look alike and stay inside, as multiples of a tile."""
        wide, step = self.wide, self.columns
        if step % wide.stride:
            return 0, 0
        reach = (wide.kernel_size - 1) * wide.dilation
        first = max(0, -(-(reach - wide.low) // step)) * step
        last = wide.sources * wide.stride - wide.low - step  # where a tile may begin at most
        end = max(0, min(last, wide.results - step) // step + 1) * step
        return (first, end) if first < end else (0, 0)

    @property
    def borders(self) -> list[tuple[int, int]]:
        """The other tiles: where they begin, and their results."""
        first, end = self.inside
        results, step = self.wide.results, self.columns
        begins = [*range(0, first, step), *range(end, results, step)]
        return [(begin, min(step, results - begin)) for begin in begins]

    @property
    def products(self) -> int:
        """Multiply-adds that are recorded one by one, all kinds of tiles together."""
        first, end = self.inside
        tiles = self.borders + ([(first, self.columns)] if end > first else [])
        both = self.spec.in_channels > self.lanes and self.spec.in_channels % self.lanes > 0
        count = sum(len(uses) for tile in tiles for uses in self.readers(*tile).values())
        return count * (2 if both else 1)

    @property
    def cycles(self) -> float:
        """Estimated cycles of one core for everything."""
        pairs = self.spec.axes[-1].executed
        tiles = -(-self.wide.results // self.columns)
        rows = self.high.sums(1)[1] * self.depth.sums(1)[1]
        stores = self.high.results * self.depth.results * self.wide.results * _STORE
        each = rows * (pairs / 2 / _EFFICIENCY + tiles * _ROW) + stores
        return self.spec.batch * self.blocks * each

    def packed(self, w: Tensor) -> Tensor:
        """The weight, vector of channels by vector of channels, tap by tap."""
        flat = w.reshape(self.spec.in_channels, self.spec.taps)
        missing = self.blocks * self.lanes - self.spec.in_channels
        if missing:
            flat = torch.nn.functional.pad(flat, (0, 0, 0, missing))
        return flat.view(self.blocks, self.lanes, self.spec.taps).transpose(1, 2).contiguous()


class _Recording:
    """The routine for one spec."""

    def __init__(self, layout: _Layout) -> None:
        self.of, spec = layout, layout.spec
        self.depth, self.high, self.wide = layout.depth, layout.high, layout.wide
        self.spec, self.lanes = spec, layout.lanes
        self.kind = "f64" if spec.dtype == "float64" else "f32"
        # where results will be written soon, to be brought near: in the next row or the next tile,
        # unless pixels are so small that the processor sees by itself what follows
        row, tile = self.wide.results * spec.in_channels, layout.columns * spec.in_channels
        self.ahead = row if row * spec.item_size <= _NEAR else tile
        if spec.in_channels * spec.item_size <= _SMALL_PIXEL:
            self.ahead = 0
        planes = spec.batch * self.depth.results * layout.shared
        self.row_blocks = max(1, min(self.high.most, -(-_ITEMS // max(planes, 1))))
        r = self.r = Routine("phases_channels_last", planes * self.row_blocks)
        self.gx = r.writes("gx", spec.dtype, prod(spec.x_shape))
        self.gy = r.reads("gy", spec.dtype, prod(spec.y_shape))
        self.w = r.reads("w", spec.dtype, layout.blocks * layout.lanes * spec.taps)
        self.b = r.reads("b", spec.dtype, spec.in_channels) if spec.bias else None
        with r.work() as item:
            self.item(item)

    def item(self, item: Value) -> None:
        """A block of rows in one plane of results, of one vector of channels or of all."""
        r, share = self.r, -(-self.high.most // self.row_blocks) * self.high.stride
        # one block after the other: threads that share rows would write to the same cache lines
        block, item = item % self.of.shared, item // self.of.shared
        rows, item = item % self.row_blocks, item // self.row_blocks
        self.id, self.n = item % self.depth.results, item // self.depth.results
        begin = rows * share
        with r.loop(begin, r.minimum(begin + share, self.high.results)) as loop:
            self.row = loop.index
            first, end = (block, block + 1) if self.of.shared > 1 else (0, self.of.blocks)
            self.vectors(first, end)

    def vectors(self, first: Operand, end: Operand) -> None:
        """One row in some vectors of channels; the last of all is not full."""
        r, of, rest = self.r, self.of, self.spec.in_channels % self.lanes
        with r.loop(first, r.minimum(end, of.blocks - 1) if rest else end) as loop:
            self.columns(loop.index, None)
        if rest:
            with r.when(r.const(0) + end > of.blocks - 1):
                mask = r.mask([lane < rest for lane in range(self.lanes)])
                self.columns(r.const(of.blocks - 1), mask)

    def columns(self, block: Value, mask: Value | None) -> None:
        """All tiles of a row; `mask` leaves out channels that do not exist."""
        self.channel, self.mask = block * self.lanes, mask
        self.weights = block * (self.spec.taps * self.lanes)
        first, behind = self.of.inside
        self.border([tile for tile in self.of.borders if tile[0] < first])
        if behind > first:
            with self.r.loop(first, behind, self.of.columns) as tiles:
                readers = self.of.readers(first, self.of.columns)
                self.tile(tiles.index, self.of.columns, first, readers)
        self.border([tile for tile in self.of.borders if tile[0] >= first])

    def border(self, tiles: list[tuple[int, int]]) -> None:
        """Tiles whose place is known, so that it is known which of their pixels exist."""
        for begin, count in tiles:
            real = {
                place: uses
                for place, uses in self.of.readers(begin, count).items()
                if 0 <= place < self.wide.sources
            }
            self.tile(self.r.const(begin), count, begin, real)

    def tile(
        self, column: Value, count: int, like: int, readers: dict[int, list[tuple[int, int]]]
    ) -> None:
        """Neighbouring results of a row, which read as those from column `like` on do."""
        r, spec = self.r, self.spec
        start = r.const(0, self.kind, self.lanes)
        if self.b is not None:
            start = r.load(self.b, self.channel, self.lanes, self.mask)
        # a multiple of the stride further right, results read as much further in gy
        shift = (column - like) // self.wide.stride
        sums = self.over_planes([start] * count, shift, readers)
        line = (self.n * self.depth.results + self.id) * self.high.results + self.row
        at = (line * self.wide.results + column) * spec.in_channels + self.channel
        for result, total in enumerate(sums):
            done = activated(r, spec.activation, total)
            to = at + result * spec.in_channels
            if self.ahead:
                r.prefetch(self.gx, to + self.ahead)
            r.store(self.gx, to, done, self.mask)

    def over_planes(
        self, sums: list[Value], shift: Value, readers: dict[int, list[tuple[int, int]]]
    ) -> list[Value]:
        """The sums over the planes and rows of gy that reach the tile."""
        (deep, k_deep, planes), (tall, k, rows) = (
            self.turns(axis, at) for axis, at in ((self.depth, self.id), (self.high, self.row))
        )
        with self.r.loop(*planes, carried=sums) as outer:
            place = k_deep + deep.base + outer.index * self.depth.step
            plane = (self.n * self.depth.sources + place) * self.high.sources
            tap = deep.residue + (self.depth.turns - 1 - outer.index) * self.depth.period
            with self.r.loop(*rows, carried=outer.carried) as inner:
                row = plane + (k + tall.base + inner.index * self.high.step)
                line = tall.residue + (self.high.turns - 1 - inner.index) * self.high.period
                taps = (tap * self.high.kernel_size + line) * self.wide.kernel_size
                pixels = (row * self.wide.sources + shift) * self.spec.in_channels + self.channel
                weights = self.weights + taps * self.lanes
                inner.carry(*self.over_pixels(list(inner.carried), pixels, weights, readers))
            outer.carry(*inner.results)
        return list(outer.results)

    def turns(
        self, axis: PhaseAxis, result: Value
    ) -> tuple[phases.Phase, Value, tuple[Value, Value]]:
        """The phase of a result, which one of that it is, and the turns that reach it."""
        phase, k = axis.phase(result % axis.stride), result // axis.stride
        return phase, k, axis.inside(self.r, phase, k, k)

    def over_pixels(
        self,
        sums: list[Value],
        pixels: Value,
        weights: Value,
        readers: dict[int, list[tuple[int, int]]],
    ) -> list[Value]:
        """One row of gy's part in the sums: each pixel once, for all results that it reaches."""
        r, channels = self.r, self.spec.in_channels
        for place, uses in readers.items():
            pixel = r.load(self.gy, pixels + place * channels, self.lanes, self.mask)
            for result, tap in uses:
                weight = r.load(self.w, weights + tap * self.lanes, self.lanes)
                sums[result] = r.fma(pixel, weight, sums[result])
        return sums


ALGORITHM = PhasesChannelsLastCpu()
