"""Convolution of contiguous images with few channels a group, straight from its definition.

    y[o, q] = b[o] + Σ_{c, t} w[o, c, t] · x[c, q·s − low + t·d]          c in the group of o

A tile of output channels × vectors along one row of outputs lives in registers. Each stretch of an
input row is loaded once and multiplied by the weights of all the tile's channels; with a stride of
s, s vectors are loaded and every s-th lane is picked, and neighbouring taps pick the other lanes.
Input channels and kernel rows are loops that carry the sums, kernel columns are unrolled (long rows
of them in pieces). Taps that fall into zero padding are skipped: whole rows by the bounds of the
loops, columns by masks. Nothing is padded, copied or packed.

Where tiles do not divide the output channels, the last one overlaps the one before and computes
some channels a second time: cheaper than code for a tile of another size.

Used for grouped convolution with 2 to 16 channels a group, first layers (few input channels), last
layers (few output channels) and channel multipliers, in 1-D to 3-D. Not for many channels, where a
matrix product is better, and not for channels-last images.
"""

from collections.abc import Callable
from dataclasses import replace
from math import gcd, prod

import torch
from torch import Tensor

from ....lang.compile import compiled
from ....lang.routine import Routine, Value
from ....lang.target import host_target, unavailable
from ....machine import Machine
from ....parts.cover import Cover
from ....parts.lanes import every
from ....parts.row_tile import UNROLLED_TAPS, Row, RowTile, row_tile
from ....parts.taps import taps_inside
from ....planning import Algorithm, Run
from ...activations import activate
from ...geometry import Axis
from ..spec import ConvSpec

# bytes of a number in a register
_DTYPES = {"float32": 4, "float64": 8, "bfloat16": 4, "float16": 4}
_MOST_STRIDE = 16  # along a row: vectors to pick lanes from
_TAPS_TOGETHER = 8  # a vector's taps repeat its neighbour's loads `lanes` taps later
_BORDER_CODE = 2500  # operations to write down for all tiles at the borders of a row
_ITEMS = 32  # pieces of work to share out, if there are so many

_CALL_SECONDS = 4e-6
# how much faster PyTorch was seen to be than its estimate, where layers suit it; an honest estimate
# of ours must be higher by as much not to be preferred where it is the slower
_UNDERESTIMATED = 2.0
# with at most so many channels a group it was never that fast: in 2-D, in 1-D and 3-D, and with
# groups of pointwise filters
_FEW, _FEW_IN_OTHER_DIMENSIONS, _FEW_POINTWISE = 16, 128, 48
_PARTS = (Cover.__init__, every, RowTile.cycles, taps_inside)
_SOURCES = [__file__, *(part.__code__.co_filename for part in _PARTS)]


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
        if spec.stride[-1] > _MOST_STRIDE:
            reasons.append(f"needs strides up to {_MOST_STRIDE} along a row, has {spec.stride[-1]}")
        if (missing := unavailable()) is not None:
            reasons.append(missing)
        return reasons

    def seconds(self, spec: ConvSpec, machine: Machine) -> float:
        """The cycles that the tiles take, or the bytes at memory speed if that is slower."""
        per_cycle = 4 * host_target().vector_bits / 32  # operations of two multiply-adds on vectors
        computing = _tiling(spec)[1] * per_cycle / machine.peak
        modesty = _UNDERESTIMATED if _is_easy_for_others(spec) else 1.0
        return _CALL_SECONDS + modesty * max(computing, spec.bytes / machine.bandwidth)

    def build(self, spec: ConvSpec) -> Run:
        """`run(x, w, bias=None)`."""
        routine = compiled(
            f"{self.name} {replace(spec, activation=None)}", 3 + spec.bias,
            lambda: _Recording(spec).r, sources=_SOURCES,
        )  # fmt: skip
        shape, dtype, activation = spec.y_shape, getattr(torch, spec.dtype), spec.activation
        weights = getattr(torch, _weights(spec))

        def run(x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
            y = torch.empty(shape, dtype=dtype)
            given = [y, x, w.to(weights).contiguous()]
            if bias is not None:
                given.append(bias.to(weights).contiguous())
            routine(torch.get_num_threads(), *[t.data_ptr() for t in given])
            return activate(activation, y)

        return run


def _tiling(spec: ConvSpec) -> tuple[RowTile, float]:
    """How rows of outputs are cut, and the cycles of one core that all of them take."""
    row = Row(
        columns=spec.output_size[-1], channels=spec.out_channels // spec.groups,
        taps=spec.kernel_size[-1], stride=spec.stride[-1], item_size=_DTYPES[spec.dtype],
        widened=spec.item_size == 2,
    )  # fmt: skip
    rows = prod(spec.output_size[:-1])
    turns = prod(axis.executed for axis in spec.axes[:-1]) * spec.in_channels / spec.groups / rows
    tile = row_tile(row, turns)
    return tile, spec.batch * spec.groups * rows * tile.cycles(turns)


def _is_easy_for_others(spec: ConvSpec) -> bool:
    """Whether this is where PyTorch was seen to be at its best: a large enough matrix product."""
    inputs, outputs = spec.in_channels // spec.groups, spec.out_channels // spec.groups
    few = min(inputs, outputs)
    if spec.dtype == "bfloat16" and (spec.groups == 1 or inputs >= _FEW):
        return True  # some processors multiply matrices of bfloat16 in hardware
    if spec.dtype == "float16":
        return False
    if spec.taps == 1:
        return spec.groups == 1 or few > _FEW_POINTWISE
    if spec.dtype == "float64":
        return False
    if spec.dims == 2:
        return few > _FEW or spec.stride[-1] >= 8
    return few > _FEW_IN_OTHER_DIMENSIONS or (
        spec.stride[-1] > 4 and outputs > _FEW_IN_OTHER_DIMENSIONS
    )


def _weights(spec: ConvSpec) -> str:
    """The dtype that weights and bias are handed over in: 16 bits are widened once, not per use."""
    return "float64" if spec.dtype == "float64" else "float32"


class _Recording:
    """The routine for one spec; in fewer than three dimensions the leading axes have size 1."""

    def __init__(self, spec: ConvSpec) -> None:
        axes = (*[Axis(1, 1)] * (3 - spec.dims), *spec.axes)
        self.spec, (self.depth, self.high, self.wide) = spec, axes
        tile = self.tile = _tiling(spec)[0]
        self.lanes, self.channels, self.vectors = tile.lanes, tile.channels, tile.vectors
        # after so many taps a window has moved on by a multiple of the stride
        period = spec.stride[-1] // gcd(spec.stride[-1], spec.dilation[-1])
        self.piece = -(-UNROLLED_TAPS // 2 // period) * period
        self.kind = "f64" if spec.dtype == "float64" else "f32"
        self.inputs = spec.in_channels // spec.groups
        self.outputs = spec.out_channels // spec.groups
        planes = spec.batch * spec.groups * self.depth.output_size
        self.rows = Cover(self.high.output_size, 1, -(-_ITEMS // max(planes, 1)))
        items = planes * self.rows.blocks
        self.tiles = Cover(self.outputs, self.channels, -(-_ITEMS // max(items, 1)))
        r = self.r = Routine("direct", items * self.tiles.blocks)
        self.y = r.writes("y", spec.dtype, prod(spec.y_shape))
        self.x = r.reads("x", spec.dtype, prod(spec.x_shape))
        self.w = r.reads("w", _weights(spec), prod(spec.w_shape))
        self.b = r.reads("b", _weights(spec), spec.out_channels) if spec.bias else None
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
        known = borders * self.tile.code(self.wide.kernel_size) <= _BORDER_CODE
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

    may_shift = True  # whether the taps may be a loop

    def __init__(
        self, recording: _Recording, row: Value, output: Value, column: Value, vectors: int
    ) -> None:
        self.of, self.r = recording, recording.r
        self.row, self.output, self.column, self.vectors = row, output, column, vectors
        self.shift = self.r.const(0)  # of the piece of the kernel row that is being recorded

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
        """One input row's part in the sums: every column tap, a long row of them in pieces."""
        of, taps = self.of, self.of.wide.kernel_size
        if taps <= UNROLLED_TAPS or not self.may_shift:
            return self.over_taps(sums, base, weights, range(taps))
        whole, rest = divmod(taps, of.piece)

        def piece(turn: Value, sums: list[Value], count: int = of.piece) -> list[Value]:
            self.shift = turn * (of.piece * of.wide.dilation)
            return self.over_taps(sums, base, weights + turn * of.piece, range(count))

        sums = self.loop((self.r.const(0), self.r.const(whole)), sums, piece)
        return piece(self.r.const(whole), sums, rest)

    def over_taps(self, sums: list[Value], base: Value, weights: Value, taps: range) -> list[Value]:
        """The part of some column taps."""
        of, r = self.of, self.r
        sums = list(sums)
        for tap in taps:
            if tap and tap % _TAPS_TOGETHER == 0 and of.wide.stride == 1:
                r.cut()
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
        return every(self.r, [zero if part is None else part for part in parts], phase)

    def part(self, base: Value, offset: int) -> Value | None:
        """One vector of an input row from `offset` past the tile's first column on."""
        of = self.of
        first = self.column * of.wide.stride + offset + self.shift
        return self.r.load(of.x, base + first, of.lanes)

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

    may_shift = False

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
        first = self.column * of.wide.stride + offset + self.shift
        real = r.below(of.wide.input_size - first, of.lanes) & ~r.below(0 - first, of.lanes)
        return r.load(of.x, base + first, of.lanes, real)

    def existing(self, offset: int) -> Value | None:
        return self.r.below(self.of.wide.output_size - offset - self.column, self.of.lanes)


ALGORITHM = DirectCpu()
