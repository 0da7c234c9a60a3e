"""Convolution of contiguous images with few channels a group, straight from its definition.

    y[o, q] = b[o] + Σ_{c, t} w[o, c, t] · x[c, q·s − low + t·d]          c in the group of o

A tile of output channels × vectors along one row of outputs lives in registers. Each stretch of an
input row is loaded once and multiplied by the weights of all the tile's channels; with a stride of
s, s vectors are loaded and every s-th lane is picked, and neighbouring taps pick the other lanes.
Input channels and kernel rows are loops that carry the sums, kernel columns are unrolled (long rows
of them in pieces). Taps that fall into zero padding are skipped: whole rows by the bounds of the
loops, columns by masks. Nothing is padded or copied. Where a group has few weights they are read
where they lie, so that a weight that changes costs nothing; else the weight is packed once, tile by
tile. Where tiles do not divide the output channels, the last one overlaps the one before.

Used for 2 to 16 channels a group, first and last layers and channel multipliers. Not for many
channels, where a matrix product is better, and not for channels-last images.
"""

from collections.abc import Callable, Sequence
from math import gcd, prod

import torch
from torch import Tensor

from ....lang.compile import compiled
from ....lang.routine import Routine, Value
from ....lang.target import host_target
from ....machine import Machine
from ....parts import activation, cover, lanes, taps
from ....parts.activation import activated
from ....parts.channels import sums as channel_sums
from ....parts.channels.sums import looped
from ....parts.cover import Cover
from ....parts.lanes import every
from ....parts.rows import classes, tile
from ....parts.rows.tile import UNROLLED_TAPS
from ....parts.taps import taps_inside
from ....planning import Algorithm, Run
from ...calling import allocator, launcher, weighted
from ...gathered import Gathered
from ...geometry import Axis
from ...packed import packer
from .. import row_cut
from ..refusals import REGISTER_BYTES, refusals
from ..row_cut import classes_of, lies, tiling, wide_name
from ..spec import ConvSpec

_MOST_STRIDE = 16  # along a row: vectors to pick lanes from
_TAPS_TOGETHER = 8  # a vector's taps repeat its neighbour's loads `lanes` taps later
_BORDER_CODE = 2500  # operations to write down for all tiles at the borders of a row
_ITEMS = 32  # pieces of work to share out, if there are so many

_CALL_SECONDS = 4e-6
_WAITING = 0.4  # of the time that moving more than that takes; the rest goes on meanwhile
_EFFICIENCY = 0.85  # of what the tiles expect
_ONE_INPUT, _PICKING = 0.75, 0.85  # of the time: one input a group, and that with a stride
_ONE_CHANNEL = 0.75  # of all that for filters of up to 3 columns on images of one channel
_PARTS = (activation, channel_sums, classes, cover, lanes, row_cut, tile, taps)


class DirectCpu(Algorithm):
    """Few channels a group, direct."""

    tasks = frozenset({"forward"})
    weight_seconds = (30e-6, 1.0e-9)

    def unsupported(self, spec: ConvSpec) -> list[str]:
        """Anything but contiguous images of floating-point numbers."""
        reasons = refusals(spec, ["contiguous"])
        if spec.stride[-1] > _MOST_STRIDE:
            reasons.append(f"needs strides up to {_MOST_STRIDE} along a row, has {spec.stride[-1]}")
        return reasons

    def seconds(self, spec: ConvSpec, machine: Machine) -> float:
        """The cycles that the tiles take, and part of what moving the bytes takes."""
        per_cycle = 4 * host_target().vector_bits / 32  # operations of two multiply-adds on vectors
        computing = tiling(spec)[1] * per_cycle / (machine.peak * _EFFICIENCY)
        if spec.groups == spec.in_channels:
            computing *= _ONE_INPUT
        if spec.kernel_size[-1] > _TAPS_TOGETHER**3:
            computing *= 4  # most tiles see padding
        seconds = _CALL_SECONDS + computing + _WAITING * machine.moving(spec.bytes)
        if spec.in_channels == 1 and spec.kernel_size[-1] <= 3:
            seconds *= _ONE_CHANNEL
        is_picking = spec.groups == spec.in_channels > 1 and max(spec.stride) > 1
        return seconds * _PICKING if is_picking else seconds

    def preparing(self, spec: ConvSpec, machine: Machine) -> float:
        """The packing, if there is any."""
        return 0.0 if lies(spec) else super().preparing(spec, machine)

    def workspace(self, spec: ConvSpec) -> int:
        """The packed weight."""
        if lies(spec):
            return prod(spec.w_shape) * REGISTER_BYTES[spec.dtype] * (spec.item_size == 2)
        classes, terms = classes_of(spec), spec.in_channels // spec.groups * spec.taps
        return spec.groups * classes.tiles * classes.channels * terms * REGISTER_BYTES[spec.dtype]

    def build(self, spec: ConvSpec) -> Run:
        """`run(x, w, bias=None)`."""
        routine = compiled(
            f"{self.name} {spec}", 3 + spec.bias, lambda: _Recording(spec).r,
            sources=[__file__, *(str(part.__file__) for part in _PARTS)],
        )  # fmt: skip
        make = allocator(spec.y_shape, spec.dtype, spec.layout)
        launch = launcher(routine, 2 * spec.executed_macs, spec.bytes)
        ready = _ready(spec)
        return weighted(make, ready, launch)


def _ready(spec: ConvSpec) -> Callable[[Tensor], Tensor]:
    """What makes a weight what the routine reads."""
    if not lies(spec):
        inputs, classes = spec.in_channels // spec.groups, classes_of(spec)
        shape = (spec.groups, classes.outputs, inputs, spec.taps)
        return packer(Gathered(shape, classes.packed))
    wide: torch.dtype = getattr(torch, wide_name(spec))
    widened = packer(lambda w: w.to(wide).contiguous())
    return lambda w: w if w.dtype is wide and w.is_contiguous() else widened(w)


class _Recording:
    """The routine for one spec; in fewer than three dimensions the leading axes have size 1."""

    def __init__(self, spec: ConvSpec) -> None:
        axes = (*[Axis(1, 1)] * (3 - spec.dims), *spec.axes)
        self.spec, (self.depth, self.high, self.wide) = spec, axes
        tile = self.tile = tiling(spec)[0]
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
        self.classes = classes_of(spec)
        items *= self.classes.period
        self.tiles = Cover(self.classes.members, self.channels, -(-_ITEMS // max(items, 1)))
        r = self.r = Routine("direct", items * self.tiles.blocks)
        self.y = r.writes("y", spec.dtype, prod(spec.y_shape))
        self.x = r.reads("x", spec.dtype, prod(spec.x_shape))
        self.lies, self.terms = lies(spec), self.inputs * spec.taps
        # between neighbours in the weight
        self.output_step = self.terms if self.lies else 1
        self.tap_step = 1 if self.lies else self.channels
        channels = self.outputs if self.lies else self.classes.tiles * self.channels
        self.w = r.reads("w", wide_name(spec), spec.groups * channels * self.terms)
        self.b = r.reads("b", spec.dtype, spec.out_channels) if spec.bias else None
        with r.work() as item:
            self.item(item)

    def item(self, item: Value) -> None:
        """Some rows of some output channels of a group, at one output depth."""
        classes = self.classes
        tile_block, rest = item % self.tiles.blocks, item // self.tiles.blocks
        row_block, rest = rest % self.rows.blocks, rest // self.rows.blocks
        self.kin, plane = rest % classes.period, rest // classes.period
        self.od, self.group = plane % self.depth.output_size, plane // self.depth.output_size
        self.x_group = self.group * (self.inputs * prod(self.spec.input_size))
        # rows inside: a channel's rows follow each other in memory, which stores go through best
        with self.tiles.loop(self.r, tile_block) as member:
            output, group = self.kin + member * classes.period, self.group % self.spec.groups
            self.first_output = group * self.outputs + output
            if self.lies:
                self.weights = self.first_output * self.terms
            else:  # the last tile may begin before the end of the one before
                tile = (group * classes.period + self.kin) * (classes.tiles // classes.period)
                tile = tile + (member + (self.channels - 1)) // self.channels
                self.weights = tile * (self.terms * self.channels)
            with self.rows.loop(self.r, row_block) as row:
                if classes.period > 1:
                    self.aligned_columns(row, output)
                else:
                    self.columns(row, output)

    def aligned_columns(self, row: Value, output: Value) -> None:
        """All tiles of a row, between those at its ends such that stores do not cross a line."""
        r, size, step = self.r, self.wide.output_size, self.vectors * self.lanes
        first = (self.lanes - self.kin * size % self.lanes) % self.lanes
        last = next(begin for begin in range(size - step, -1, -1) if self.is_inside(begin))
        turns = (last - first + (step - 1)) // step + 2
        with r.loop(0, turns) as loop:
            column = r.maximum(first + (loop.index - 1) * step, 0)
            _Tile(self, row, output, r.minimum(column, last), self.vectors).record()
        if last < size - step:
            _BorderTile(self, row, output, r.const(size - step), self.vectors).record()

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
        nothing = self.r.const(0, self.of.kind, self.of.lanes)
        self.store([*self.over_channels([nothing] * (self.of.channels * self.vectors))])

    def over_channels(self, sums: Sequence[Value]) -> Sequence[Value]:
        """The sums over input channels, and in each of them over planes and rows."""
        of = self.of
        size, row_weights = of.spec.input_size, of.wide.kernel_size * of.tap_step
        area = prod(size[-2:])
        top = [self.first_read(of.depth, of.od), self.first_read(of.high, self.row)]
        corner = of.x_group + (top[0] * of.high.input_size + top[1]) * of.wide.input_size
        bounds = [self.taps(of.depth, of.od), self.taps(of.high, self.row)]

        def channel(c: Value, sums: Sequence[Value]) -> Sequence[Value]:
            x_plane = corner + c * prod(size)
            w_plane = of.weights + c * (of.spec.taps * of.tap_step)

            def plane(kd: Value, sums: Sequence[Value]) -> Sequence[Value]:
                x_first = x_plane + kd * (of.depth.dilation * area)
                w_first = w_plane + kd * (of.high.kernel_size * row_weights)

                def row(kh: Value, sums: Sequence[Value]) -> Sequence[Value]:
                    base = x_first + kh * (of.high.dilation * of.wide.input_size)
                    return self.over_columns(sums, base, w_first + kh * row_weights)

                return looped(self.r, bounds[1], sums, row)

            return looped(self.r, bounds[0], sums, plane)

        return looped(self.r, (self.r.const(0), self.r.const(of.inputs)), sums, channel)

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

    def over_columns(self, sums: Sequence[Value], base: Value, weights: Value) -> Sequence[Value]:
        """One input row's part in the sums: every column tap, a long row of them in pieces."""
        of, taps = self.of, self.of.wide.kernel_size
        if taps <= UNROLLED_TAPS or not self.may_shift:
            return self.over_taps(sums, base, weights, range(taps))
        whole, rest = divmod(taps, of.piece)

        def piece(turn: Value, sums: Sequence[Value], count: int = of.piece) -> Sequence[Value]:
            self.shift = turn * (of.piece * of.wide.dilation)
            first = weights + turn * (of.piece * of.tap_step)
            return self.over_taps(sums, base, first, range(count))

        sums = looped(self.r, (self.r.const(0), self.r.const(whole)), sums, piece)
        return piece(self.r.const(whole), sums, rest)

    def over_taps(
        self, sums: Sequence[Value], base: Value, weights: Value, taps: range
    ) -> Sequence[Value]:
        """The part of some column taps."""
        of, r = self.of, self.r
        found = list(sums)
        for tap in taps:
            if tap and tap % _TAPS_TOGETHER == 0 and of.wide.stride == 1:
                r.cut()
            stretches = [self.stretch(base, tap, v) for v in range(self.vectors)]
            for o in range(of.channels):
                at = weights + (tap * of.tap_step + o * of.output_step)
                weight = r.splat(r.load(of.w, at), of.lanes)
                for n, stretch in enumerate(stretches, o * self.vectors):
                    if stretch is not None:
                        found[n] = r.fma(stretch, weight, found[n])
        return found

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
            at = first + (o * of.classes.period * prod(size) + offset)
            if of.b:  # at the end, because every sum with it in would round to its size
                one = self.r.load(of.b, of.first_output + o * of.classes.period)
                sums[n] = total + self.r.splat(one, of.lanes)
            value = activated(self.r, of.spec.activation, sums[n])
            self.r.store(of.y, at, value, self.existing(offset))

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
