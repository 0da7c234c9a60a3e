"""All phases of a transposed convolution as channels of one convolution, and their places.

    gx[start + s·m + ρ·d, c] = Σ_{j, o} w[o, c, ρ + s·j] · gy[first + m − j·d, o]       0 ≤ ρ < s

Results with taps ρ, ρ + s, … are a convolution of stride 1, and those of every ρ read the same
numbers of gy for the same m. So with a channel for every pair of c and ρ, along all axes, they are
one convolution of more channels, whose outputs are put to their places when they are written. Each
result is an output of exactly one ρ if s and d have no common divisor. Kernels whose size is no
multiple of s are filled up with taps of 0.

Channels lie in vectors. The phases of a row follow each other, vector by vector; or, `beside`, they
lie side by side in the vectors, as the numbers do in a row of the result.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod

from torch import Tensor
from torch.nn import functional as F

from ...lang.ops import Buffer
from ...lang.routine import Routine, Value
from ..gemm.gather_panel import when
from ..transpose import transposed
from ..winograd.strips import Channels, Runs, Strip
from ..winograd.tiles import PlainAxis
from .classes import PhaseAxis


@dataclass(frozen=True)
class PlacedAxis:
    """Output m of phase ρ is result start + s·m + ρ·d, if there is such a result."""

    stride: int = 1
    dilation: int = 1
    start: int = 0
    results: int = 1
    outputs: int = 1

    @contextmanager
    def place(self, r: Routine, output: Value, phase: Value) -> Iterator[Value]:
        """The place of an output; what is recorded is done if there is one."""
        at = output * self.stride + (phase * self.dilation + self.start)
        if self.stride == 1:
            yield at
            return
        with r.when((at >= 0) & (at < self.results)):
            yield at


def placed(axis: PhaseAxis) -> tuple[PlainAxis, PlacedAxis]:
    """The convolution that makes all phases of an axis, and where its outputs belong.

    >>> plain, places = placed(PhaseAxis(32, 4, stride=2, low=1, dilation=1, sources=16))
    >>> plain
    PlainAxis(inputs=16, outputs=17, taps=2, low=1, dilation=1, stride=1)
    >>> places.start
    -1
    """
    s, d = axis.stride, axis.dilation
    first = -(((s - 1) * d - axis.low) // s)
    outputs = (axis.results - 1 + axis.low) // s - first + 1
    low = (axis.turns - 1) * d - first
    plain = PlainAxis(axis.sources, outputs, axis.turns, low, d if axis.turns > 1 else 1)
    return plain, PlacedAxis(s, d, s * first - axis.low, axis.results, outputs)


@dataclass(frozen=True)
class Placing:
    """The places of all results of `channels` channels in each of `groups` groups."""

    axes: tuple[PlacedAxis, PlacedAxis, PlacedAxis]
    """Depth, height and width."""
    groups: int
    channels: int
    lanes: int
    last: bool
    """Whether channels come last in the result."""
    beside: bool
    """Whether the phases of a row lie side by side; channels last, all of its channels do."""

    @property
    def _woven(self) -> bool:
        return not self.last and not self.beside

    @property
    def _row(self) -> int:
        """Phases of a row."""
        return self.axes[2].stride

    @property
    def _blocks(self) -> int:
        """Vectors of channels."""
        return -(-self.channels // self.lanes)

    @property
    def _unit(self) -> int:
        """Numbers that lie side by side."""
        return self._row * (self.channels if self.last else 1)

    @property
    def _parts(self) -> int:
        """Vectors of those."""
        return -(-self._unit // self.lanes)

    @property
    def together(self) -> int:
        """Vectors that are written together: the phases of a row."""
        return self._row if self._woven else 0

    @property
    def outputs(self) -> int:
        """Channels of a group of the convolution, in whole vectors."""
        above = self.axes[0].stride * self.axes[1].stride
        if not self.beside:
            return above * self._blocks * self._row * self.lanes
        return above * (1 if self.last else self.channels) * self._parts * self.lanes

    def numbers(self, batch: int) -> int:
        """Numbers of the result."""
        return batch * self.groups * self.channels * prod(axis.results for axis in self.axes)

    # -- operands ---------------------------------------------------------------------------------

    def weight(self, w: Tensor) -> Tensor:
        """[O, C, depth, high, wide] of a transposed convolution as the weight of the convolution.

        Its shape is [groups · outputs, O / groups, turns of each axis].
        """
        strides = [axis.stride for axis in self.axes]
        turns = [-(-size // s) for size, s in zip(w.shape[2:], strides, strict=True)]
        filled = zip(turns, strides, w.shape[2:], strict=True)
        ends = [n for t, s, size in reversed(list(filled)) for n in (0, t * s - size)]
        w = F.pad(w.reshape(self.groups, -1, *w.shape[1:]), ends)
        apart = [n for t, s in zip(turns, strides, strict=True) for n in (t, s)]
        w = w.reshape(*w.shape[:3], *apart).flip(3, 5, 7)  # g o c, then turn and phase of each axis
        w = w.permute(0, 4, 6, 2, 8, 1, 3, 5, 7)  # g, phases, c, phase of a row, o, turns
        return self._in_vectors(w).reshape(-1, *w.shape[5:])

    def bias(self, b: Tensor) -> Tensor:
        """The bias of every channel of the convolution."""
        b = b.view(self.groups, 1, 1, self.channels, 1)
        return self._in_vectors(b.expand(-1, *(axis.stride for axis in self.axes[:2]), -1,
                                         self._row)).reshape(-1)  # fmt: skip

    def _in_vectors(self, t: Tensor) -> Tensor:
        """[group, phase, phase, channel, phase of a row, …] in the order of the vectors."""
        if self.beside:
            t = t.transpose(3, 4).flatten(3, 4) if self.last else t
            place = 3 if self.last else 4
            return _filled(t, place, self._parts * self.lanes)
        t = _filled(t, 3, self._blocks * self.lanes)
        t = t.reshape(*t.shape[:3], self._blocks, self.lanes, *t.shape[4:])
        return t.transpose(4, 5)

    # -- results ----------------------------------------------------------------------------------

    def drain(
        self, strip: Strip, y: Buffer, group: Value, of: Channels, high: Runs, wide: Runs
    ) -> None:
        """Write a strip of outputs to their places."""
        with self._each_line(strip, y, group, of, high, wide) as (writing, inner, channel):
            if self.beside:
                writing.units(inner)
            elif self.last:
                writing.pixels(inner, channel)
            else:
                writing.rows(channel)

    @contextmanager
    def _each_line(
        self, strip: Strip, y: Buffer, group: Value, of: Channels, high: Runs, wide: Runs
    ) -> Iterator[tuple["_Writing", Value, Value]]:
        """Every line of the strip, its part of the vectors of a row, and its first channel."""
        r, (depth, tall, _) = strip.r, self.axes
        with r.loop(0, of.count, max(self.together, 1)) as loop:
            number = of.vector + loop.index
            if self.beside:
                inner, number = number % self._parts, number // self._parts
                channel, number = (
                    (r.const(0), number) if self.last
                    else (number % self.channels, number // self.channels)
                )  # fmt: skip
            else:
                inner, number = number % self._row, number // self._row
                channel, number = number % self._blocks * self.lanes, number // self._blocks
            down, deep = number % tall.stride, number // tall.stride
            with (
                depth.place(r, of.plane, deep) as plane,
                high.lines(r, tall.outputs) as (output, line),
                tall.place(r, output, down) as row,
                wide.each(r) as (column, position),
            ):
                at = line * strip.line + position * strip.pixel + loop.index * self.lanes
                to = self._row_of(of.n, group, channel, plane * tall.results + row)
                yield _Writing(self, strip, y, at, to, column, wide), inner, channel

    def _row_of(self, n: Value, group: Value, channel: Value, row: Value) -> Value:
        """Where a row of all planes of the result begins."""
        depth, tall, wide = self.axes
        rows = depth.results * tall.results
        if self.last:
            pixels = (n * rows + row) * wide.results
            return pixels * (self.groups * self.channels) + group * self.channels + channel
        return (((n * self.groups + group) * self.channels + channel) * rows + row) * wide.results


@dataclass(frozen=True)
class _Writing:
    """A line of a strip that is written to a row of the result."""

    of: Placing
    strip: Strip
    y: Buffer
    at: Value
    """Where the line begins in the strip,"""
    to: Value
    """and the row in the result."""
    column: Value
    """The line's first output."""
    wide: Runs

    @property
    def r(self) -> Routine:
        """What it is recorded in."""
        return self.strip.r

    @property
    def _outputs(self) -> tuple[Value, Value]:
        """The first output of the line that is to be written, and the end of them."""
        begin = self.r.const(0) if self.wide.skip is None else self.wide.skip
        left = self.of.axes[2].outputs - self.column
        return begin, self.r.minimum(left, self.wide.length)

    def pixels(self, phase: Value, channel: Value) -> None:
        """One vector of channels of one phase."""
        of, r, axis, lanes = self.of, self.r, self.of.axes[2], self.of.lanes
        first = self.column * axis.stride + (phase * axis.dilation + axis.start)
        begin, end = self._outputs
        # outputs from place 0 on, and before the end of the row
        before = (r.maximum(0 - first, 0) + (axis.stride - 1)) // axis.stride
        inside = (r.maximum(axis.results - first, 0) + (axis.stride - 1)) // axis.stride
        mask = r.below(of.channels - channel, lanes) if of.channels % lanes else None
        with r.loop(r.maximum(begin, before), r.minimum(end, inside)) as loop:
            number = r.load(self.strip.buffer, self.at + loop.index * self.strip.pixel, lanes)
            pixel = (first + loop.index * axis.stride) * (of.groups * of.channels)
            r.store(self.y, self.to + pixel, number, mask)

    def units(self, part: Value) -> None:
        """One vector of the numbers that lie side by side in a row."""
        of, r, axis, lanes = self.of, self.r, self.of.axes[2], self.of.lanes
        each, inner = of.channels if of.last else 1, part * lanes
        begin, end = self._outputs
        with r.loop(begin, end) as loop:
            first = ((self.column + loop.index) * axis.stride + axis.start) * each + inner
            number = r.load(self.strip.buffer, self.at + loop.index * self.strip.pixel, lanes)
            left = r.minimum(of._unit - inner, axis.results * each - first)
            mask = r.below(left, lanes) & ~r.below(0 - first, lanes)
            r.store(self.y, self.to + first, number, mask)

    def rows(self, channel: Value) -> None:
        """A vector of channels in all phases of a row.

        In the strip the phases of an output follow each other like outputs, as they do in the row.
        """
        of, r, axis, lanes = self.of, self.r, self.of.axes[2], self.of.lanes
        begin, end = self._outputs
        first = self.column * axis.stride + axis.start
        begin = r.maximum(begin * axis.stride, 0 - first)
        end = r.minimum(end * axis.stride, axis.results - first)
        apart = prod(some.results for some in of.axes)
        sure = of.channels % lanes or lanes  # channels that any vector has
        with r.loop(begin, end, lanes) as loop:
            at = self.at + loop.index * lanes
            square = [r.load(self.strip.buffer, at + n * lanes, lanes) for n in range(lanes)]
            mask, to = r.below(end - loop.index, lanes), self.to + first + loop.index
            made = transposed(r, square)
            for some in (range(sure), range(sure, lanes)):
                with when(r, channel + some.stop <= of.channels if some.start else True):
                    for lane in some:
                        r.store(self.y, to + lane * apart, made[lane], mask)


def _filled(t: Tensor, place: int, size: int) -> Tensor:
    """With zeros behind an axis, up to that size."""
    missing = size - t.shape[place]
    return F.pad(t, [0, 0] * (t.dim() - 1 - place) + [0, missing]) if missing else t
