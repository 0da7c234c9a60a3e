"""Convolution of contiguous images with few channels a group, straight from its definition.

    y[o, q] = b[o] + Σ_{c, t} w[o, c, t] · x[c, q·s − low + t·d]          c in the group of o

A tile of output channels × vectors along one row of outputs lives in registers. Each stretch of an
input row is loaded once and multiplied by the weights of all the tile's channels; with a stride of
s, s vectors are loaded and every s-th lane is picked, and the taps of one window position after
another share the loads. Input channels and kernel rows are loops that carry the sums, kernel
columns are unrolled. Taps that fall into zero padding are skipped: whole rows by the bounds of the
loops, columns by masks. Nothing is padded, copied or packed.

Where tiles do not divide the output channels, the last one overlaps the one before and computes some
channels a second time: cheaper than code for a tile of another size.

Used for grouped convolution with 2 to 16 channels a group, first layers (few input channels), last
layers (few output channels) and channel multipliers, in 1-D to 3-D. Not for many channels, where a
matrix product is better, and not for channels-last images.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod

import torch
from torch import Tensor

from ....lang.compile import compiled
from ....lang.routine import Routine, Value
from ....lang.target import host_target
from ....machine import Machine
from ....parts.taps import taps_inside
from ....planning import Algorithm, Run
from ...activations import activate
from ...geometry import Axis
from ..spec import ConvSpec

# bytes of a number in a register
_DTYPES = {"float32": 4, "float64": 8, "bfloat16": 4, "float16": 4}
_MOST_TAPS = 64  # unrolled along a row; more would take longer to compile than it is worth
_MOST_VECTORS = 8
# sums in registers, which leave some for stretches and weights: of 32 registers and of 16, without
# and with lanes to pick
_SUMS = {True: (24, 16), False: (12, 8)}
_ENOUGH_SUMS = 8  # two additions begin in each cycle, and one takes four
_TILE_CODE, _ROW_CODE = 400, 1600  # multiply-adds to write down for a tile, for a row of tiles
_ITEMS = 32  # pieces of work to share out, if there are so many

_CALL_SECONDS = 4e-6


class DirectCpu(Algorithm):
    """Few channels a group, direct."""

    tasks = frozenset({"forward"})

    def unsupported(self, spec: ConvSpec) -> list[str]:
        """Anything but contiguous images of floating-point numbers."""
        reasons = []
        if spec.dtype not in _DTYPES:
            reasons.append(f"needs one of {', '.join(_DTYPES)}, has {spec.dtype}")
        if spec.layout != "contiguous":
            reasons.append(f"needs a contiguous image, has {spec.layout}")
        if spec.padding_mode != "zeros" and any(map(any, spec.padding)):
            reasons.append(f"pads with zeros only, not {spec.padding_mode}")
        if spec.kernel_size[-1] > _MOST_TAPS:
            reasons.append(f"unrolls up to {_MOST_TAPS} taps of a row, has {spec.kernel_size[-1]}")
        if not host_target().has_fma:
            reasons.append("needs a processor with fused multiply-add")
        return reasons

    def seconds(self, spec: ConvSpec, machine: Machine) -> float:
        """The cycles that the tiles take, or the bytes at memory speed if that is slower."""
        per_cycle = 4 * host_target().vector_bits / 32  # operations of two multiply-adds on vectors
        computing = _tiling(spec).cycles(spec) * per_cycle / machine.peak
        return _CALL_SECONDS + max(computing, spec.bytes / machine.bandwidth)

    def build(self, spec: ConvSpec) -> Run:
        """`run(x, w, bias=None)`."""
        routine = compiled(
            f"{self.name} {replace(spec, activation=None)}", 3 + spec.bias,
            lambda: _Recording(spec).r, sources=[__file__, taps_inside.__code__.co_filename],
        )  # fmt: skip
        shape, dtype, activation = spec.y_shape, getattr(torch, spec.dtype), spec.activation

        def run(x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
            y = torch.empty(shape, dtype=dtype)
            w = w.contiguous()
            given = [y, x, w] if bias is None else [y, x, w, bias.contiguous()]
            routine(torch.get_num_threads(), *[t.data_ptr() for t in given])
            return activate(activation, y)

        return run


@dataclass(frozen=True)
class _Tiling:
    """A tile: `channels` outputs × `vectors` vectors of `lanes` numbers along a row."""

    lanes: int
    channels: int
    vectors: int

    def cycles(self, spec: ConvSpec) -> float:
        """Estimated cycles of one core for all of a spec."""
        outputs = spec.out_channels // spec.groups
        needed = -(-spec.output_size[-1] // self.lanes)
        whole, rest = divmod(needed, self.vectors)
        rows = prod(axis.executed for axis in _three(spec)[:2]) * spec.in_channels // spec.groups
        tiles = spec.batch * spec.groups * -(-outputs // self.channels)
        one_row = whole * self._row_cycles(spec, self.vectors)
        one_row += self._row_cycles(spec, rest) if rest else 0
        stores = prod(spec.output_size[:-1]) * needed * (self.channels + 10)
        return tiles * (rows * one_row + stores)

    def _row_cycles(self, spec: ConvSpec, vectors: int) -> float:
        """Of one kernel row of one input channel: what its busiest part of the core takes."""
        stride = spec.stride[-1]
        # a stretch lies across two cache lines, mostly, which loads twice; a pick takes the place
        # of a multiply-add
        picks = _picks(stride) * vectors
        arithmetic = (self.channels * vectors + picks) / 2
        loading = (self.channels + 2 * vectors) / 2
        return spec.kernel_size[-1] * max(arithmetic, loading, _ENOUGH_SUMS / 2) + 3


def _picks(stride: int) -> float:
    """Picks for each vector that takes every s-th lane, if the other phases are wanted too."""
    if stride % 2:
        return stride - 1
    return 1 + _picks(stride // 2)


@lru_cache(maxsize=1024)
def _tiling(spec: ConvSpec) -> _Tiling:
    """The tile that takes the fewest cycles."""
    lanes = host_target().lanes(_DTYPES[spec.dtype])
    while lanes > 4 and spec.output_size[-1] <= lanes // 2:
        lanes //= 2
    stride = spec.stride[-1]
    most = _SUMS[host_target().vector_bits == 512][stride > 1]
    most = min(most, max(_ENOUGH_SUMS, _TILE_CODE // spec.kernel_size[-1]))
    needed = min(-(-spec.output_size[-1] // lanes), _MOST_VECTORS)
    choices = [
        _Tiling(lanes, channels, vectors)
        for vectors in range(1, needed + 1)
        if vectors == 1 or stride == 1 or stride * vectors <= most // 2
        for channels in range(1, min(most // vectors, spec.out_channels // spec.groups) + 1)
    ]
    return min(choices, key=lambda tiling: tiling.cycles(spec))


def _three(spec: ConvSpec) -> tuple[Axis, Axis, Axis]:
    """The spatial axes, of which the missing ones have size 1 and lead."""
    depth, high, wide = (*[Axis(1, 1)] * (3 - spec.dims), *spec.axes)
    return depth, high, wide


class _Cover:
    """`count` things in tiles of one size, shared out in blocks; the last tile may overlap."""

    def __init__(self, count: int, size: int, wanted: int) -> None:
        self.count, self.size, self.full = count, size, count // size
        self.share = -(-self.full // min(self.full, wanted))
        self.blocks = -(-self.full // self.share)

    @contextmanager
    def loop(self, r: Routine, block: Value) -> Iterator[Value]:
        """The tiles of a block, each by its first thing."""
        if self.count == self.size:
            yield r.const(0)
            return
        first = block * self.share
        last = r.minimum(first + self.share, self.full)
        if self.count % self.size:  # one tile more, in the block of the tile that it overlaps
            is_end = r.apply("eq", last, self.full)
            last = last + r.select(is_end, r.const(1), r.const(0))
        with r.loop(first, last) as loop:
            yield r.minimum(loop.index * self.size, self.count - self.size)


class _Recording:
    """The routine for one spec; in fewer than three dimensions the leading axes have size 1."""

    def __init__(self, spec: ConvSpec) -> None:
        self.spec, (self.depth, self.high, self.wide) = spec, _three(spec)
        tiling = _tiling(spec)
        self.lanes, self.channels, self.vectors = tiling.lanes, tiling.channels, tiling.vectors
        self.kind = "f64" if spec.dtype == "float64" else "f32"
        self.inputs = spec.in_channels // spec.groups
        self.outputs = spec.out_channels // spec.groups
        planes = spec.batch * spec.groups * self.depth.output_size
        self.rows = _Cover(self.high.output_size, 1, -(-_ITEMS // max(planes, 1)))
        items = planes * self.rows.blocks
        self.tiles = _Cover(self.outputs, self.channels, -(-_ITEMS // max(items, 1)))
        r = self.r = Routine("direct", items * self.tiles.blocks)
        numbers = [prod(spec.y_shape), prod(spec.x_shape), prod(spec.w_shape)]
        self.y = r.writes("y", spec.dtype, numbers[0])
        self.x, self.w = (r.reads(n, spec.dtype, k) for n, k in zip("xw", numbers[1:], strict=True))
        self.b = r.reads("b", spec.dtype, spec.out_channels) if spec.bias else None
        with r.work() as item:
            self.item(item)

    def item(self, item: Value) -> None:
        """Some rows of some output channels of a group, at one output depth."""
        tile_block, rest = item % self.tiles.blocks, item // self.tiles.blocks
        row_block, plane = rest % self.rows.blocks, rest // self.rows.blocks
        self.od, self.group = plane % self.depth.output_size, plane // self.depth.output_size
        self.x_group = self.group * (self.inputs * prod(self.spec.input_size))
        # rows inside: a channel's rows follow each other in memory, which stores go through best
        with self.tiles.loop(self.r, tile_block) as output:
            self.w_tile = self.group % self.spec.groups * self.outputs + output
            with self.rows.loop(self.r, row_block) as row:
                self.columns(row, output)

    def columns(self, row: Value, output: Value) -> None:
        """All tiles of a row: those that stay inside in a loop, the others one by one.

        If that were too much code, the others are in loops too, and find out their masks.
        """
        step, outputs = self.vectors * self.lanes, self.wide.output_size
        begins = range(0, outputs, step)
        inside = [begin for begin in begins if self.is_inside(begin)]
        before = [begin for begin in begins if not inside or begin < inside[0]]
        after = [begin for begin in begins if inside and begin > inside[-1]]
        borders = len(before) + len(after)
        known = borders * self.channels * self.vectors * self.wide.kernel_size <= _ROW_CODE
        for some in (before, inside, after):
            if some is not inside and known:
                for begin in some:
                    vectors = min(self.vectors, -(-(outputs - begin) // self.lanes))
                    _BorderTile(self, row, output, self.r.const(begin), vectors).record()
            elif some:
                kind = _Tile if some is inside else _MaskedTile
                with self.r.loop(some[0], some[-1] + 1, step) as loop:
                    kind(self, row, output, loop.index, self.vectors).record()

    def is_inside(self, begin: int) -> bool:
        """Whether all outputs of a tile exist and all that it loads is in the image's row."""
        axis, step = self.wide, self.vectors * self.lanes
        low, high = (axis.padded_position(begin, tap) for tap in (0, axis.kernel_size - 1))
        # loads start at a multiple of the stride
        low, high = (position - position % axis.stride for position in (low, high))
        exist = begin + step <= axis.output_size
        return exist and low >= 0 and high + step * axis.stride <= axis.input_size


class _Tile:
    """The outputs of some channels at one row and some vectors of columns, all inside."""

    def __init__(
        self, recording: _Recording, row: Value, output: Value, column: Value, vectors: int
    ) -> None:
        self.of, self.r = recording, recording.r
        self.row, self.output, self.column, self.vectors = row, output, column, vectors

    def record(self) -> None:
        """Sum up and store."""
        of, r = self.of, self.r
        sums = []
        for o in range(of.channels):
            start = r.load(of.b, of.w_tile + o) if of.b else r.const(0, of.kind)
            sums += [r.splat(start, of.lanes)] * self.vectors
        self.store(self.over_channels(sums))

    def over_channels(self, sums: list[Value]) -> list[Value]:
        """The sums over input channels, and in each of them over planes and rows."""
        of = self.of
        size, kernel = of.spec.input_size, of.spec.kernel_size
        area, row_taps = prod(size[-2:]), kernel[-1]
        top = [self.first_read(of.depth, of.od), self.first_read(of.high, self.row)]
        corner = of.x_group + (top[0] * of.high.input_size + top[1]) * of.wide.input_size
        bounds = [self.taps(of.depth, of.od), self.taps(of.high, self.row)]

        def channel(c: Value, sums: list[Value]) -> list[Value]:
            x_plane = corner + c * prod(size)
            w_plane = (of.w_tile * of.inputs + c) * of.spec.taps

            def plane(kd: Value, sums: list[Value]) -> list[Value]:
                x_first = x_plane + kd * (of.depth.dilation * area)
                w_first = w_plane + kd * prod(kernel[-2:])

                def row(kh: Value, sums: list[Value]) -> list[Value]:
                    base = x_first + kh * (of.high.dilation * of.wide.input_size)
                    return self.over_columns(sums, base, w_first + kh * row_taps)

                return self.loop(bounds[1], sums, row)

            return self.loop(bounds[0], sums, plane)

        return self.loop((self.r.const(0), self.r.const(of.inputs)), sums, channel)

    def first_read(self, axis: Axis, output: Value) -> Value:
        """Where on an axis the first tap of an output looks."""
        return output * axis.stride - axis.padding[0]

    def taps(self, axis: Axis, output: Value) -> tuple[Value, Value]:
        """The first tap inside the input, and the first behind it, for an output on this axis."""
        if axis.kernel_size == 1 and axis.padding[0] == 0 and axis.executed == axis.output_size:
            return self.r.const(0), self.r.const(1)
        return taps_inside(
            self.r, output, input_size=axis.input_size, kernel_size=axis.kernel_size,
            stride=axis.stride, low=axis.padding[0], dilation=axis.dilation,
        )  # fmt: skip

    def loop(
        self,
        bounds: tuple[Value, Value],
        sums: list[Value],
        turn: Callable[[Value, list[Value]], list[Value]],
    ) -> list[Value]:
        """A loop that carries the sums; one turn is none."""
        begin, end = (bound.op.attr if bound.op.name == "const" else None for bound in bounds)
        if begin is not None and end == begin + 1:
            return turn(bounds[0], sums)
        with self.r.loop(*bounds, carried=sums) as loop:
            loop.carry(*turn(loop.index, list(loop.carried)))
        return list(loop.results)

    def over_columns(self, sums: list[Value], base: Value, weights: Value) -> list[Value]:
        """One input row's part in the sums: every column tap."""
        of, r = self.of, self.r
        sums = list(sums)
        for tap in range(of.wide.kernel_size):
            stretches = [self.stretch(base, tap, v) for v in range(self.vectors)]
            for o in range(of.channels):
                at = weights + (o * of.inputs * of.spec.taps + tap)
                weight = r.splat(r.load(of.w, at), of.lanes)
                for n, stretch in enumerate(stretches, o * self.vectors):
                    if stretch is not None:
                        sums[n] = r.fma(stretch, weight, sums[n])
        return sums

    def stretch(self, base: Value, tap: int, vector: int) -> Value | None:
        """The inputs that a vector of outputs reads through a column tap; None if only padding."""
        axis, lanes = self.of.wide, self.of.lanes
        first = axis.padded_position(vector * lanes, tap)
        phase = first % axis.stride
        parts = [self.part(base, first - phase + lanes * n) for n in range(axis.stride)]
        if all(part is None for part in parts):
            return None
        zero = self.r.const(0, self.of.kind, lanes)
        return _picked(self.r, [zero if part is None else part for part in parts], phase)

    def part(self, base: Value, offset: int) -> Value | None:
        """One vector of an input row from `offset` past the tile's first column on."""
        of = self.of
        return self.r.load(of.x, base + self.column * of.wide.stride + offset, of.lanes)

    def store(self, sums: list[Value]) -> None:
        """Write the outputs that exist."""
        of = self.of
        size = of.spec.output_size
        first = (of.group * of.outputs + self.output) * prod(size)
        first = first + (of.od * of.high.output_size + self.row) * of.wide.output_size + self.column
        for n, total in enumerate(sums):
            o, offset = n // self.vectors, n % self.vectors * of.lanes
            self.r.store(of.y, first + (o * prod(size) + offset), total, self.existing(offset))

    def existing(self, offset: int) -> Value | None:
        """The mask of a vector's outputs that exist; None if all do."""
        return None


class _BorderTile(_Tile):
    """A tile at a known column, parts of which are padding or do not exist."""

    def part(self, base: Value, offset: int) -> Value | None:
        of = self.of
        first = self.column.op.attr * of.wide.stride + offset
        real = [0 <= first + lane < of.wide.input_size for lane in range(of.lanes)]
        if not any(real):
            return None
        return self.r.load(of.x, base + first, of.lanes, None if all(real) else self.r.mask(real))

    def existing(self, offset: int) -> Value | None:
        left = self.of.wide.output_size - self.column.op.attr - offset
        return None if left >= self.of.lanes else self.r.below(left, self.of.lanes)


class _MaskedTile(_Tile):
    """A tile at a column that is not known while recording, parts of which may be anything."""

    def part(self, base: Value, offset: int) -> Value | None:
        of, r = self.of, self.r
        first = self.column * of.wide.stride + offset
        real = r.below(of.wide.input_size - first, of.lanes) & ~r.below(0 - first, of.lanes)
        return r.load(of.x, base + first, of.lanes, real)

    def existing(self, offset: int) -> Value | None:
        return self.r.below(self.of.wide.output_size - offset - self.column, self.of.lanes)


def _picked(r: Routine, parts: list[Value], phase: int) -> Value:
    """Every s-th lane, from `phase` on, of s vectors laid end to end."""
    stride, lanes = len(parts), parts[0].type.lanes
    if stride % 2 == 0:  # first every second lane, which another phase may need as well
        pairs = zip(parts[::2], parts[1::2], strict=True)
        halves = [r.pick(a, b, range(phase % 2, 2 * lanes, 2)) for a, b in pairs]
        return _picked(r, halves, phase // 2)
    found = parts[0]
    for n in range(1, stride):
        wanted = [stride * lane + phase - n * lanes for lane in range(lanes)]
        # from the part if it is in there; else it was found, or is still where it lies in the first
        kept = range(lanes) if n > 1 else [place + lanes for place in wanted]
        found = r.pick(
            found,
            parts[n],
            [
                lanes + place if 0 <= place < lanes else (keep if place < 0 else 0)
                for place, keep in zip(wanted, kept, strict=True)
            ],
        )
    return found


ALGORITHM = DirectCpu()
