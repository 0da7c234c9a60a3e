"""Sums of a tile whose lanes are output channels, and how they are stored.

A turn takes some neighbouring taps of a kernel row in one input channel: see `channel_tile`.
Weights lie as they are used: input channel, tap, vector, lane.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from ...lang.ops import Buffer
from ...lang.routine import Routine, Value
from ..activation import activated
from ..gemm.gather_panel import known
from ..transpose import transposed
from .tile import MOST_CODE, ChannelTile

Turn = Callable[[Value, Sequence[Value]], Sequence[Value]]


def looped(
    r: Routine, bounds: tuple[Value, Value], sums: Sequence[Value], turn: Turn
) -> Sequence[Value]:
    """A loop that carries sums; one turn is none."""
    begin, end = (known(bound) for bound in bounds)
    if begin is not None and end == begin + 1:
        return turn(bounds[0], sums)
    if begin is not None and end == begin:
        return sums
    with r.loop(*bounds, carried=sums) as loop:
        loop.carry(*turn(loop.index, loop.carried))
    return loop.results


@dataclass(frozen=True)
class OutputBlocks:
    """The output channels of every group, in blocks for tiles of so many lanes.

    The last block of a group overlaps the one before where they do not fit.
    """

    groups: int
    outputs: int
    lanes: int

    @property
    def size(self) -> int:
        """Output channels of a block."""
        return min(self.lanes, self.outputs)

    @property
    def count(self) -> int:
        """Blocks of a group."""
        return -(-self.outputs // self.size)

    def index(self, group: Value, output: Value) -> Value:
        """The number of the block that begins with an output channel of a group."""
        return group * self.count + (output + (self.size - 1)) // self.size

    def packed(self, w: Tensor) -> Tensor:
        """[groups, …, outputs] as [groups, blocks, …, lanes]; 0 in lanes that hold no channel."""
        starts = [min(n * self.size, self.outputs - self.size) for n in range(self.count)]
        blocks = [w[..., start : start + self.size] for start in starts]
        return F.pad(torch.stack(blocks, 1), (0, self.lanes - self.size)).contiguous()


@dataclass(frozen=True)
class Place:
    """Where a tile reads a kernel row: its first number, and from a channel and pixel to the next.

    `weights` is the index of the weights of the kernel row's first tap in the first channel.
    """

    buffer: Buffer
    first: Value
    channel: int
    pixel: int
    weights: Value


@dataclass(frozen=True)
class ChannelSums:
    """The sums of one tile, output by output and in each vector by vector."""

    r: Routine
    w: Buffer
    tile: ChannelTile
    inputs: int

    @property
    def row_weights(self) -> int:
        """Numbers of the weight from a kernel row to the next."""
        return self.inputs * self.tile.row.taps * self.tile.vectors * self.tile.row.lanes

    def over_channels(self, sums: Sequence[Value], places: Sequence[Place]) -> Sequence[Value]:
        """One kernel row in all input channels; of each of several sets of sums, its own.

        Few channels come one after the other, many in a loop.
        """
        r, size = self.r, len(sums) // len(places)
        weights = self.row_weights // max(self.inputs, 1)

        def turn(c: Value, sums: Sequence[Value]) -> Sequence[Value]:
            found: list[Value] = []
            for n, place in enumerate(places):
                x, w = place.first + c * place.channel, place.weights + c * weights
                mine = sums[n * size : (n + 1) * size]
                found += self._over_columns(mine, replace(place, first=x, weights=w))
            return found

        bounds = r.const(0), r.const(self.inputs)
        code = self.inputs * self.tile.code * len(places)
        if code > MOST_CODE or self.tile.taps < self.tile.row.taps:
            return looped(r, bounds, sums, turn)
        for c in range(self.inputs):
            sums = turn(r.const(c), sums)
        return sums

    def _over_columns(self, sums: Sequence[Value], place: Place) -> Sequence[Value]:
        """One kernel row in one channel: as many taps at a time as the tile takes."""
        taps, row = self.tile.taps, self.tile.row
        step, weights = taps * row.dilation * place.pixel, taps * self.tile.vectors * row.lanes
        whole, rest = divmod(row.taps, taps)

        def turn(n: Value, sums: Sequence[Value], count: int = taps) -> Sequence[Value]:
            at = replace(place, first=place.first + n * step, weights=place.weights + n * weights)
            return self._over_taps(sums, at, count)

        sums = looped(self.r, (self.r.const(0), self.r.const(whole)), sums, turn)
        return turn(self.r.const(whole), sums, rest) if rest else sums

    def _over_taps(self, sums: Sequence[Value], place: Place, taps: int) -> Sequence[Value]:
        """Neighbouring taps: each number of the input once, for all of them that read it."""
        r, row, vectors, found = self.r, self.tile.row, self.tile.vectors, list(sums)
        readers: dict[int, list[tuple[int, int]]] = {}
        for output in range(self.tile.columns):
            for tap in range(taps):
                position = output * row.stride + tap * row.dilation
                readers.setdefault(position, []).append((output, tap))
        r.cut()  # or LLVM begins the loads of the next taps early, and stores what was loaded
        # neighbouring outputs one after the other, since an addition waits for the one before
        for position in sorted(readers, key=lambda place: (place % row.stride, place)):
            number = r.load(place.buffer, place.first + position * place.pixel)
            number = r.splat(number, row.lanes)
            for output, tap in readers[position]:
                for v in range(vectors):
                    at = place.weights + (tap * vectors + v) * row.lanes
                    n = output * vectors + v
                    found[n] = r.fma(r.load(self.w, at, row.lanes), number, found[n])
        return found


@dataclass(frozen=True)
class Results:
    """The outputs of an image: where those of a tile go, and what is done to them before."""

    r: Routine
    y: Buffer
    last: bool
    """Whether the output channels of a pixel lie side by side."""
    channels: int
    """Output channels of the image."""
    pixels: int
    """Outputs in each channel of the image."""
    size: int
    """Output channels of a tile, which may leave its last vector partly empty."""
    lanes: int
    activation: str | None
    bias: Buffer | None

    def real(self, vector: int) -> Value | None:
        """The mask of the output channels of a tile's vector that exist; None if all do."""
        left = self.size - vector * self.lanes
        return None if left >= self.lanes else self.r.below(left, self.lanes)

    def store(
        self, rows: Sequence[Sequence[Value]], image: Value, channel: Value, pixels: Sequence[Value]
    ) -> None:
        """Store rows of sums with the bias, each from a pixel on; `channel` is the tile's first.

        In a contiguous image a tile has one vector of channels, and there are as many lanes as
        outputs in all rows, or more.
        """
        r = self.r
        rows = [self._finished(row, channel) for row in rows]
        if self.last:
            for row, pixel in zip(rows, pixels, strict=True):
                self._store_row(row, (image * self.pixels + pixel) * self.channels + channel)
            return
        first, columns = image * self.channels + channel, len(rows[0])
        if columns == 1:
            for row, pixel in zip(rows, pixels, strict=True):
                self._store_numbers(row[0], first, pixel)
            return
        width = self.lanes // len(rows)  # lanes for each row
        spread = [row[min(n, columns - 1)] for row in rows for n in range(width)]
        mask = None if columns == width else r.below(columns, width)
        for lane, line in enumerate(transposed(r, spread)[: self.size]):
            for n, pixel in enumerate(pixels):
                part = line
                if len(rows) > 1:
                    part = r.pick(line, line, range(n * width, (n + 1) * width))
                r.store(self.y, (first + lane) * self.pixels + pixel, part, mask)

    def _finished(self, row: Sequence[Value], channel: Value) -> list[Value]:
        """Sums with bias and activation."""
        r, vectors = self.r, -(-self.size // self.lanes)
        if self.bias:  # at the end, because every sum with it in would round to its size
            starts = [(channel + v * self.lanes, self.lanes, self.real(v)) for v in range(vectors)]
            bias = [r.load(self.bias, *start) for start in starts]
            row = [total + bias[n % vectors] for n, total in enumerate(row)]
        return [activated(r, self.activation, total) for total in row]

    def _store_numbers(self, total: Value, first: Value, pixel: Value) -> None:
        """One output in all channels; of float16, LLVM would store lanes that a mask leaves out."""
        for lane in range(self.size):
            number = self.r.pick(total, total, [lane])
            self.r.store(self.y, (first + lane) * self.pixels + pixel, number)

    def _store_row(self, row: Sequence[Value], first: Value) -> None:
        vectors = -(-self.size // self.lanes)
        for n, total in enumerate(row):
            output, vector = divmod(n, vectors)
            at = first + (output * self.channels + vector * self.lanes)
            self.r.store(self.y, at, total, self.real(vector))
