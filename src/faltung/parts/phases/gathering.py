"""The phases of a strided convolution's input as channels of a convolution of stride 1.

    y[q, o] = Σ_{ρ, j, c} w[o, c, ρ + s·j] · x[s·(q + j) + ρ − low, c]               0 ≤ ρ < s

Every s-th number of x, from ρ on, is a signal of its own; so with a channel for every pair of c and
ρ, along all axes, a convolution of stride s is one of stride 1 with s times fewer taps. Kernels
whose size is no multiple of s are filled up with taps of 0. It is the mirror image of `placing.py`.

Channels lie in vectors, and the phases of a row follow each other, vector by vector.
"""

from dataclasses import dataclass
from math import prod

from torch import Tensor
from torch.nn import functional as F

from ...lang.ops import Buffer
from ...lang.routine import Routine, Value
from ..transpose import transposed
from ..winograd.strips import Channels, Runs, Strip
from ..winograd.tiles import PlainAxis


@dataclass(frozen=True)
class GatheredAxis:
    """Number u of phase ρ is number s·u + ρ − low of the image, or 0 if there is no such number."""

    stride: int = 1
    low: int = 0
    inputs: int = 1

    def place(self, number: Value, phase: Value) -> Value:
        """Where it is in the image; it may not be there."""
        return number * self.stride + phase - self.low


def gathered(
    inputs: int, outputs: int, kernel_size: int, stride: int, low: int
) -> tuple[PlainAxis, GatheredAxis]:
    """The convolution of all phases of an axis, and where its inputs are.

    >>> gathered(56, 28, kernel_size=3, stride=2, low=1)[0]
    PlainAxis(inputs=29, outputs=28, taps=2, low=0, dilation=1, stride=1)
    """
    turns = -(-kernel_size // stride)
    plain = PlainAxis(outputs + turns - 1, outputs, turns)
    return plain, GatheredAxis(stride, low, inputs)


@dataclass(frozen=True)
class Gathering:
    """The phases of an image of `channels` channels in each of `groups` groups."""

    axes: tuple[GatheredAxis, GatheredAxis, GatheredAxis]
    """Depth, height and width."""
    groups: int
    channels: int
    lanes: int
    last: bool
    """Whether channels come last in the image."""

    @property
    def together(self) -> int:
        """Vectors that are read together: the phases of a row; 0 if any number can be."""
        return 0 if self.last else self.axes[2].stride

    @property
    def _blocks(self) -> int:
        """Vectors of channels."""
        return -(-self.channels // self.lanes)

    @property
    def inputs(self) -> int:
        """Channels of a group of the convolution, in whole vectors."""
        return prod(axis.stride for axis in self.axes) * self._blocks * self.lanes

    def numbers(self, batch: int) -> int:
        """Numbers of the image."""
        return batch * self.groups * self.channels * prod(axis.inputs for axis in self.axes)

    def weight(self, w: Tensor) -> Tensor:
        """[O, C, depth, high, wide] as the weight of the convolution, [O, inputs, turns …]."""
        strides = [axis.stride for axis in self.axes]
        turns = [-(-size // s) for size, s in zip(w.shape[2:], strides, strict=True)]
        missing = [t * s - k for t, s, k in zip(turns, strides, w.shape[2:], strict=True)]
        ends = [n for size in reversed(missing) for n in (0, size)]
        w = F.pad(w, [*ends, 0, self._blocks * self.lanes - self.channels])
        apart = [n for t, s in zip(turns, strides, strict=True) for n in (t, s)]
        w = w.reshape(w.shape[0], self._blocks, self.lanes, *apart)
        # o, phases of depth and height, block, phase of a row, lane, turns
        return w.permute(0, 4, 6, 1, 8, 2, 3, 5, 7).reshape(w.shape[0], self.inputs, *turns)

    def fill(
        self, strip: Strip, x: Buffer, group: Value, of: Channels, high: Runs, wide: Runs
    ) -> None:
        """Read what a block sees of some vectors into a strip; zeros where nothing is."""
        r, (depth, tall, across) = strip.r, self.axes
        with r.loop(0, of.count, max(self.together, 1)) as loop:
            number = of.vector + loop.index
            along, number = number % across.stride, number // across.stride
            block, number = number % self._blocks, number // self._blocks
            plane = depth.place(of.plane, number // tall.stride)
            exists = (plane >= 0) & (plane < depth.inputs)
            with high.lines(r) as (line, at), wide.each(r) as (column, position):
                row = tall.place(line, number % tall.stride)
                inside = exists & (row >= 0) & (row < tall.inputs)
                to = at * strip.line + position * strip.pixel + loop.index * self.lanes
                source = (plane * tall.inputs + row) * across.inputs
                reading = _Reading(self, strip, x, inside, to, block * self.lanes)
                if self.last:
                    pixels = of.n * prod(axis.inputs for axis in self.axes) + source
                    start = pixels * (self.groups * self.channels) + group * self.channels
                    reading.pixels(start, across.place(column, along), wide.length)
                else:
                    apart = prod(axis.inputs for axis in self.axes)
                    channel = (of.n * self.groups + group) * self.channels + block * self.lanes
                    first = across.place(column, r.const(0))
                    reading.rows(channel * apart + source, first, wide.length)


@dataclass(frozen=True)
class _Reading:
    """A line of a strip that is read from a row of the image."""

    of: Gathering
    strip: Strip
    x: Buffer
    inside: Value
    """Whether there is such a row."""
    to: Value
    channel: Value
    """The first of the vector's channels."""

    @property
    def r(self) -> Routine:
        """What it is recorded in."""
        return self.strip.r

    def pixels(self, source: Value, first: Value, length: int) -> None:
        """Every s-th pixel from `first` on, in one vector of channels."""
        of, r, axis, lanes = self.of, self.r, self.of.axes[2], self.of.lanes
        before = (r.maximum(0 - first, 0) + (axis.stride - 1)) // axis.stride
        end = (r.maximum(axis.inputs - first, 0) + (axis.stride - 1)) // axis.stride
        begin = r.select(self.inside, r.minimum(before, length), r.const(length))
        end = r.maximum(r.minimum(end, length), begin)
        zero = r.const(0, self.strip.buffer.kind, lanes)
        for some in ((r.const(0), begin), (end, r.const(length))):
            with r.loop(*some) as loop:
                r.store(self.strip.buffer, self.to + loop.index * self.strip.pixel, zero)
        mask = r.below(of.channels - self.channel, lanes) if of.channels % lanes else None
        with r.loop(begin, end) as loop:
            pixel = (first + loop.index * axis.stride) * (of.groups * of.channels) + self.channel
            number = r.load(self.x, source + pixel, lanes, mask)
            r.store(self.strip.buffer, self.to + loop.index * self.strip.pixel, number)

    def rows(self, source: Value, first: Value, length: int) -> None:
        """A vector of channels in all phases of a row, which follow each other as in the image."""
        of, r, axis, lanes = self.of, self.r, self.of.axes[2], self.of.lanes
        apart = prod(some.inputs for some in of.axes)
        with r.loop(0, length * axis.stride, lanes) as loop:
            column = first + loop.index
            mask = r.below(axis.inputs - column, lanes) & ~r.below(0 - column, lanes)
            mask = mask & r.splat(self.inside, lanes)
            lines = []
            for lane in range(min(lanes, of.channels)):
                some = mask
                if of.channels % lanes and lane >= of.channels % lanes:
                    some = mask & r.splat(self.channel + lane < of.channels, lanes)
                lines.append(r.load(self.x, source + column + lane * apart, lanes, some))
            lines += lines[-1:] * (lanes - len(lines))  # the weights of those are 0
            for n, pixel in enumerate(transposed(r, lines)):
                r.store(self.strip.buffer, self.to + (loop.index + n) * lanes, pixel)
