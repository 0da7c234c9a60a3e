"""Convolution of contiguous images with few channels a group, straight from its definition.

    y[o, q] = b[o] + Σ_{c, t} w[o, c, t] · x[c, q·s − low + t·d]          c in the group of o

A tile of output channels × vectors along one row of outputs lives in registers. Each stretch of an
input row is loaded once and multiplied by the weights of all the tile's channels; with a stride of
s, s vectors are loaded and every s-th lane picked, shared by the taps of one phase. Input channels
and kernel rows are loops that carry the sums, kernel columns are unrolled. Taps that fall into zero
padding are skipped: whole rows by the bounds of the loops, columns by masks, which are known while
the routine is recorded unless there are too many tiles at the borders. Nothing is padded or copied.

Where the tiles do not divide the output channels, the last one overlaps the one before and computes
some channels again: cheaper than code for another size of tile.

Used for grouped convolution with 2 to 16 channels a group, first layers (few input channels), and
channel multipliers, in 1-D to 3-D. Not for many channels (the weights of a tile would leave the
nearest cache: that is a matrix product's work) and not for channels-last images.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor

from ....lang.compile import compiled
from ....lang.routine import Routine, Value
from ....lang.target import host_target
from ....machine import Machine
from ....planning import Algorithm, Run
from ...activations import activate
from ...geometry import Axis
from ..spec import ConvSpec

# bytes of a number in a register
_DTYPES = {"float32": 4, "float64": 8, "bfloat16": 4, "float16": 4}
_MOST_UNROLLED_TAPS = 64  # a wider kernel would take longer to compile than it is worth
_TAPS_TOGETHER = 8
_MOST_BORDERS = 4  # tiles with code of their own
_ITEMS = 32  # pieces of work to share out, if there are so many

_CALL_SECONDS = 4e-6


@dataclass(frozen=True)
class _Tiling:
    """How a row of outputs is cut: tiles of `channels` × `vectors` vectors of `lanes` numbers."""

    lanes: int
    channels: int
    rows: int
    vectors: int
    unrolled: bool


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
        if spec.kernel_size[-1] > _MOST_UNROLLED_TAPS:
            most = _MOST_UNROLLED_TAPS
            reasons.append(f"unrolls up to {most} taps of a row, has {spec.kernel_size[-1]}")
        if not host_target().has_fma:
            reasons.append("needs a processor with fused multiply-add")
        return reasons

    def seconds(self, spec: ConvSpec, machine: Machine) -> float:
        """Cycles"""
        return _CALL_SECONDS + 2 * spec.macs / machine.peak

    def build(self, spec: ConvSpec) -> Run:
        """`run(x, w, bias=None)`."""
        routine = compiled(
            f"{self.name} {replace(spec, activation=None)} {TILE} {CUT} {ORDER}", 3 + spec.bias,
            lambda: _Recording(spec).r, sources=[__file__],
        )  # fmt: skip
        shape, dtype, activation = spec.y_shape, getattr(torch, spec.dtype), spec.activation

        def run(x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
            y = torch.empty(shape, dtype=dtype)
            w = w.contiguous()
            given = [y, x, w] if bias is None else [y, x, w, bias.contiguous()]
            routine(torch.get_num_threads(), *[t.data_ptr() for t in given])
            return activate(activation, y)

        return run


import os
TILE = os.environ.get("TILE", "")
CUT = int(os.environ.get("CUT", "0"))
ORDER = os.environ.get("ORDER", "A")

def _tiling(spec: ConvSpec) -> _Tiling:
    lanes = host_target().lanes(_DTYPES[spec.dtype])
    while lanes > 4 and spec.output_size[-1] <= lanes // 2:
        lanes //= 2
    needed = -(-spec.output_size[-1] // lanes)
    channels, rows, vectors = map(int, (TILE or "6x1x4").split("x"))
    vectors = min(vectors, needed)
    vectors = -(-needed // -(-needed // vectors))
    channels = min(channels, spec.out_channels // spec.groups)
    rows = min(rows, spec.output_size[-2]) if spec.dims > 1 else 1
    unrolled = rows > 1 or prod(spec.kernel_size[-2:]) * channels * vectors <= 400
    return _Tiling(lanes, channels, rows, vectors, unrolled)


class _Cover:
    """`count` things in tiles of one size, shared out in blocks; the last tile may overlap."""

    def __init__(self, count: int, size: int, wanted: int) -> None:
        self.count, self.size = count, size
        self.full = count // size
        self.share = -(-self.full // min(self.full, wanted))
        self.blocks = -(-self.full // self.share)

    @contextmanager
    def loop(self, r: Routine, block: Value) -> Iterator[Value]:
        """The tiles of a block, by their first thing."""
        first = block * self.share
        last = r.minimum(first + self.share, self.full)
        if self.count % self.size:  # one tile more, in the block of the tile that it overlaps
            more = r.apply("eq", last, self.full)
            last = last + r.select(more, r.const(1), r.const(0))
        with r.loop(first, last) as loop:
            yield r.minimum(loop.index * self.size, self.count - self.size)


class _Recording:
    """The routine for one spec; in fewer than three dimensions the leading axes have size 1."""

    def __init__(self, spec: ConvSpec) -> None:
        axes = (*[Axis(1, 1)] * (3 - spec.dims), *spec.axes)
        self.spec, (self.depth, self.high, self.wide) = spec, axes
        tiling = _tiling(spec)
        self.lanes, self.channels, self.vectors = tiling.lanes, tiling.channels, tiling.vectors
        self.rows, self.unrolled = tiling.rows, tiling.unrolled
        self.kind = "f64" if spec.dtype == "float64" else "f32"
        self.inputs = spec.in_channels // spec.groups
        self.outputs = spec.out_channels // spec.groups
        planes = spec.batch * spec.groups * self.depth.output_size
        self.row_tiles = _Cover(self.high.output_size, self.rows, -(-_ITEMS // max(planes, 1)))
        blocks = planes * self.row_tiles.blocks
        self.channel_tiles = _Cover(self.outputs, self.channels, -(-_ITEMS // max(blocks, 1)))
        blocks *= self.channel_tiles.blocks
        r = self.r = Routine("direct", blocks)
        numbers = [prod(spec.y_shape), prod(spec.x_shape), prod(spec.w_shape)]
        self.y = r.writes("y", spec.dtype, numbers[0])
        self.x, self.w = (r.reads(n, spec.dtype, k) for n, k in zip("xw", numbers[1:], strict=True))
        self.b = r.reads("b", spec.dtype, spec.out_channels) if spec.bias else None
        with r.work() as item:
            self.item(item)

    def item(self, item: Value) -> None:
        """Some rows of some output channels of a group, at one output depth."""
        r, spec = self.r, self.spec
        channel_block, rest = item % self.channel_tiles.blocks, item // self.channel_tiles.blocks
        row_block, plane = rest % self.row_tiles.blocks, rest // self.row_tiles.blocks
        self.od, group = plane % self.depth.output_size, plane // self.depth.output_size
        self.first_output = group % spec.groups * self.outputs  # counted in one image
        self.image = group // spec.groups
        self.x_group = group * (self.inputs * prod(spec.input_size))
        if ORDER == "A":
            with self.row_tiles.loop(r, row_block) as row:
                with self.channel_tiles.loop(r, channel_block) as output:
                    self.columns(row, output)
        else:
            with self.channel_tiles.loop(r, channel_block) as output:
                with self.row_tiles.loop(r, row_block) as row:
                    self.columns(row, output)

    def columns(self, row: Value, output: Value) -> None:
        """All tiles of a row: those at its ends one by one, the rest in a loop."""
        step, outputs = self.vectors * self.lanes, self.wide.output_size
        begins = range(0, outputs, step)
        whole = [c for c in begins if c + step <= outputs and self.is_inside(c, step)]
        borders = [c for c in begins if c not in whole]
        if len(borders) > _MOST_BORDERS:
            before = [c for c in borders if not whole or c < whole[0]]
            after = borders[len(before) :]
            for some in (before, whole, after):
                if some:
                    with self.r.loop(some[0], some[-1] + 1, step) as loop:
                        kind = _Tile if some is whole else _MaskedTile
                        kind(self, row, output, loop.index, self.vectors).record()
            return
        for column in begins:
            if column in whole[1:]:
                continue
            if whole and column == whole[0]:
                with self.r.loop(column, whole[-1] + 1, step) as loop:
                    _Tile(self, row, output, loop.index, self.vectors).record()
            else:
                vectors = min(self.vectors, -(-(outputs - column) // self.lanes))
                _BorderTile(self, row, output, self.r.const(column), vectors).record()

    def is_inside(self, column: int, step: int) -> bool:
        """Whether every load of a full tile from this column on stays in the image's row."""
        axis = self.wide
        low, high = (axis.padded_position(column, tap) for tap in (0, axis.kernel_size - 1))
        s = axis.stride
        return (
            low // s * s >= axis.padded_position(0, 0) * 0
            and low - low % s >= 0
            and high - high % s + step * s <= axis.input_size
        )


class _Tile:
    """The outputs of some channels at one row and `vectors` vectors of columns."""

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
            start = r.const(0, of.kind)
            if of.b:
                start = r.load(of.b, of.first_output + (self.output + o))
            sums += [r.splat(start, of.lanes)] * (of.rows * self.vectors)
        self.store(self.over_channels(sums))

    def over_channels(self, sums: list[Value]) -> list[Value]:
        """The sums over input channels, planes and rows."""
        of, r = self.of, self.r
        depths = self.taps_inside(of.depth, of.od)
        weights = (of.first_output + self.output) * (of.inputs * of.spec.taps)
        with r.loop(0, of.inputs, carried=sums) as c:
            x_plane = of.x_group + c.index * prod(of.spec.input_size)
            w_plane = weights + c.index * of.spec.taps
            if of.depth.kernel_size == of.depth.input_size == of.depth.output_size == 1:
                c.carry(*self.over_rows(list(c.carried), x_plane, w_plane))
            else:
                with r.loop(*depths, carried=c.carried) as kd:
                    depth = of.od * of.depth.stride - of.depth.padding[0]
                    depth = depth + kd.index * of.depth.dilation
                    x_at = x_plane + depth * (of.high.input_size * of.wide.input_size)
                    w_at = w_plane + kd.index * (of.high.kernel_size * of.wide.kernel_size)
                    kd.carry(*self.over_rows(list(kd.carried), x_at, w_at))
                c.carry(*kd.results)
        return list(c.results)

    def over_rows(self, sums: list[Value], plane: Value, weights: Value) -> list[Value]:
        """The sums over the rows of one input plane that the tile sees."""
        of, r, axis = self.of, self.r, self.of.high
        top = self.row * axis.stride - axis.padding[0]
        width, taps = of.wide.input_size, of.wide.kernel_size
        if not of.unrolled:
            with r.loop(*self.taps_inside(axis, self.row), carried=sums) as loop:
                base = plane + (top + loop.index * axis.dilation) * width
                users = {0: weights + loop.index * taps}
                loop.carry(*self.over_columns(list(loop.carried), base, users))
            return list(loop.results)
        readers: dict[int, dict[int, int]] = {}
        for row in range(of.rows):
            for tap in range(axis.kernel_size):
                readers.setdefault(row * axis.stride + tap * axis.dilation, {})[row] = tap
        for offset in sorted(readers):
            users = {row: weights + tap * taps for row, tap in readers[offset].items()}
            first, end = top + offset, top + (offset + 1)
            may_be_above = offset < axis.padding[0]
            lowest = (axis.output_size - of.rows) * axis.stride - axis.padding[0] + offset
            may_be_below = lowest >= axis.input_size
            if not may_be_above and not may_be_below:
                sums = self.over_columns(sums, plane + first * width, users)
                continue
            if may_be_above:
                first = r.maximum(first, 0)
            if may_be_below:
                end = r.minimum(end, axis.input_size)
            # one turn if the input row exists, none if it is padding
            with r.loop(first, end, carried=sums) as loop:
                base = plane + loop.index * width
                loop.carry(*self.over_columns(list(loop.carried), base, users))
            sums = list(loop.results)
        return sums

    def taps_inside(self, axis: Axis, output: Value) -> tuple[Value, Value]:
        """The first tap inside the input, and the first behind it, for an output on this axis."""
        r, d = self.r, axis.dilation
        before = r.maximum(axis.padding[0] - output * axis.stride, 0)
        reach = axis.input_size + axis.padding[0] - output * axis.stride + (d - 1)
        return (before + (d - 1)) // d, r.minimum(r.maximum(reach, 0) // d, axis.kernel_size)

    def over_columns(
        self, sums: list[Value], base: Value, users: dict[int, Value]
    ) -> list[Value]:
        """One input row's part in the sums."""
        of, r = self.of, self.r
        sums = list(sums)
        for tap in range(of.wide.kernel_size):
            if CUT and tap and tap % CUT == 0:
                r.cut()
            stretch = [self.stretch(base, tap, v) for v in range(self.vectors)]
            for row, weights in users.items():
                for o in range(of.channels):
                    at = weights + (o * of.inputs * of.spec.taps + tap)
                    weight = r.splat(r.load(of.w, at), of.lanes)
                    for v, numbers in enumerate(stretch):
                        if numbers is not None:
                            n = (o * of.rows + row) * self.vectors + v
                            sums[n] = r.fma(numbers, weight, sums[n])
        return sums

    def stretch(self, base: Value, tap: int, vector: int) -> Value | None:
        """The inputs that a vector of outputs reads through a column tap; None if only padding."""
        of, axis, lanes = self.of, self.of.wide, self.of.lanes
        s = axis.stride
        position = axis.padded_position(vector * lanes, tap)
        phase = position % s
        parts = [self.part(base, position - phase + lanes * n) for n in range(s)]
        return self.phase(parts, phase)

    def phase(self, parts: list[Value | None], phase: int) -> Value | None:
        """Every s-th lane, from `phase` on, of s vectors laid end to end; None stands for zeros."""
        s, lanes, r = len(parts), self.of.lanes, self.r
        if all(part is None for part in parts):
            return None
        if s == 1:
            return parts[0]
        zero = r.const(0, self.of.kind, lanes)
        if s % 2 == 0:
            halved = []
            for a, b in zip(parts[::2], parts[1::2], strict=True):
                if a is None and b is None:
                    halved.append(None)
                else:
                    halved.append(
                        r.pick(
                            zero if a is None else a,
                            zero if b is None else b,
                            range(phase % 2, 2 * lanes, 2),
                        )
                    )
            return self.phase(halved, phase // 2)
        found = zero if parts[0] is None else parts[0]
        # lane i is number s·i + phase of all; what is found so far stays where it belongs
        places = [s * i + phase for i in range(lanes)]
        for n in range(1, s):
            part = parts[n]
            if part is None:
                part = zero
            chosen = []
            for i, place in enumerate(places):
                if place // lanes == n:
                    chosen.append(lanes + place % lanes)
                elif n == 1:
                    chosen.append(place % lanes)
                else:
                    chosen.append(i)
            found = r.pick(found, part, chosen)
        return found

    def part(self, base: Value, offset: int) -> Value | None:
        """One vector of an input row from `offset` past the tile's first column on."""
        of = self.of
        return self.r.load(of.x, base + self.column * of.wide.stride + offset, of.lanes)

    def store(self, sums: list[Value]) -> None:
        """Write the outputs that exist."""
        of, r = self.of, self.r
        plane = of.wide.output_size * of.high.output_size
        volume = plane * of.depth.output_size
        first = (of.image * of.spec.out_channels + of.first_output + self.output) * volume
        first = first + of.od * plane + self.row * of.wide.output_size + self.column
        for n, total in enumerate(sums):
            v, rest = n % self.vectors, n // self.vectors
            o, row = rest // of.rows, rest % of.rows
            at = first + (o * volume + row * of.wide.output_size + v * of.lanes)
            r.store(of.y, at, total, self.existing(v * of.lanes))

    def existing(self, offset: int) -> Value | None:
        """The mask of the outputs that exist; None if all do."""
        return None


class _BorderTile(_Tile):
    """A tile of known columns, parts of which read padding or do not exist."""

    def part(self, base: Value, offset: int) -> Value | None:
        of = self.of
        first = self.column.op.attr * of.wide.stride + offset
        real = [0 <= first + lane < of.wide.input_size for lane in range(of.lanes)]
        if not any(real):
            return None
        mask = None if all(real) else self.r.mask(real)
        return self.r.load(of.x, base + first, of.lanes, mask)

    def existing(self, offset: int) -> Value | None:
        of = self.of
        left = of.wide.output_size - self.column.op.attr - offset
        return None if left >= of.lanes else self.r.below(left, of.lanes)


class _MaskedTile(_Tile):
    """A tile of columns that are not known while recording."""

    def part(self, base: Value, offset: int) -> Value | None:
        of, r = self.of, self.r
        first = self.column * of.wide.stride + offset
        real = r.below(of.wide.input_size - first, of.lanes) & ~r.below(-1 * first, of.lanes)
        return r.load(of.x, base + first, of.lanes, real)

    def existing(self, offset: int) -> Value | None:
        of = self.of
        return self.r.below(of.wide.output_size - offset - self.column, of.lanes)


ALGORITHM = DirectCpu()
