"""Where the sums of a tile go: what is added to them, their activation, and their order in memory.

    y[q, o] = activation(sum[q, o] + residual[q, o])

A residual lies in memory as y does, so it is read where the sums are written, with the same masks:
one load and one addition a vector. Vectors of channels that belong into contiguous images are
transposed before, by way of memory; there the addition and the activation come after that.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ...lang.ops import Buffer
from ...lang.routine import Routine, Value
from ..activation import activated, is_long
from ..transpose import transposed
from .layout import GemmLayout
from .tile import Stream

_LINE = 64  # bytes
_LONG_SUM = 512  # terms that take so long that nothing need be fetched ahead

Place = tuple[Value, Value | None]
"""Where a vector lies in y, and the mask of those of its numbers that exist."""


@dataclass(frozen=True)
class Results:
    """What writes the sums of one plane of a group's channels in an image."""

    r: Routine
    of: GemmLayout
    y: Buffer
    residual: Buffer | None
    waiting: Buffer | None
    n: Value
    group: Value
    plane: Value

    @property
    def channel_size(self) -> int:
        """Outputs of a channel."""
        p = self.of.problem
        return p.depth.outputs * p.rows.outputs * p.columns.outputs

    def in_channel(self, output: Value) -> Value:
        """Where the plane of one of the group's channels begins in a contiguous image."""
        p = self.of.problem
        channel = (self.n * p.groups + self.group) * p.outputs + output
        return channel * self.channel_size + self.plane * (p.rows.outputs * p.columns.outputs)

    def existing(self, output: Value, channel: int, channels: int) -> Value | None:
        """The mask of those of a vector of channels that exist, in a tile of `channels`."""
        p, unit = self.of.problem, self.of.tile.unit
        if channel + unit < channels or p.outputs % unit == 0:
            return None
        return self.r.below(p.outputs - (output + channel), unit)

    def ahead(self, output: Value, channels: int, pixel: Value, places: int) -> list[Stream]:
        """The residual of the tile behind one of so many places, to be fetched meanwhile.

        What is read without warning takes as long as memory does, and short sums take no longer.
        """
        p = self.of.problem
        if self.residual is None or self.of.is_turned or p.terms > _LONG_SUM:
            return []
        row, pitch, first = channels, self._together, self._in_pixel(output, pixel + places)
        if not p.channels_last:
            row, pitch = places, self.channel_size
            first = self.in_channel(output) + (pixel + places)
        return [Stream(self.residual, first, channels * places, row, pitch)]

    def put(
        self, sums: Sequence[Value], output: Value, channels: int, pixel: Value, width: int
    ) -> None:
        """The sums of a tile: `channels` from `output` on, its pixels from `pixel` on.

        A tile along the row has vectors of its `width` pixels, channel by channel within each;
        others have vectors of channels, pixel by pixel.
        """
        vectors = channels // self.of.tile.unit
        if self.of.is_turned:
            self._turn(sums, output, vectors, pixel)
            return
        if self.of.tile.along_row:
            places = self._in_rows(len(sums), output, vectors, pixel, width)
        else:
            places = self._in_pixels(len(sums), output, channels, pixel)
        found = [self._added(total, place) for total, place in zip(sums, places, strict=True)]
        for total, (at, mask) in zip(self._activated(found), places, strict=True):
            self.r.store(self.y, at, total, mask)

    def _in_pixels(self, count: int, output: Value, channels: int, pixel: Value) -> list[Place]:
        """Outputs that follow each other in a plane, channels last."""
        lanes = self.of.tile.lanes
        vectors, at = channels // lanes, self._in_pixel(output, pixel)
        found = []
        for n in range(count):
            place, vector = divmod(n, vectors)
            mask = self.existing(output, vector * lanes, channels)
            found.append((at + (place * self._together + vector * lanes), mask))
        return found

    @property
    def _together(self) -> int:
        """Channels of a pixel, of all groups."""
        return self.of.problem.outputs * self.of.problem.groups

    def _in_pixel(self, output: Value, pixel: Value) -> Value:
        """Where one of the group's channels is in an image with channels last."""
        p = self.of.problem
        plane = self.n * p.depth.outputs + self.plane
        at = (plane * (p.rows.outputs * p.columns.outputs) + pixel) * self._together
        return at + self.group * p.outputs + output

    def _in_rows(
        self, count: int, output: Value, channels: int, pixel: Value, width: int
    ) -> list[Place]:
        """Vectors of outputs that follow each other in a row, channel by channel."""
        r, lanes = self.r, self.of.tile.lanes
        to = self.in_channel(output) + pixel
        found = []
        for n in range(count):
            vector, channel = divmod(n, channels)
            left = width - vector * lanes
            mask = r.below(left, lanes) if left < lanes else None
            found.append((to + (channel * self.channel_size + vector * lanes), mask))
        return found

    def _added(self, total: Value, place: Place) -> Value:
        """With the residual, if there is one."""
        if self.residual is None:
            return total
        at, mask = place
        return total + self.r.load(self.residual, at, self.of.tile.lanes, mask)

    def _activated(self, sums: list[Value]) -> list[Value]:
        """The activation of all sums; one of many operations is written down once, in a loop."""
        r, name, lanes = self.r, self.of.problem.activation, self.of.tile.lanes
        if self.waiting is None or not is_long(name):
            return [activated(r, name, total) for total in sums]
        for n, total in enumerate(sums):
            r.store(self.waiting, n * lanes, total)
        with r.loop(0, len(sums) * lanes, lanes) as loop:
            value = activated(r, name, r.load(self.waiting, loop.index, lanes))
            r.store(self.waiting, loop.index, value)
        return [r.load(self.waiting, n * lanes, lanes) for n in range(len(sums))]

    # -- vectors of channels, contiguous images ----------------------------------------------------

    def _turn(self, sums: Sequence[Value], output: Value, vectors: int, pixel: Value) -> None:
        """Outputs that follow each other in a plane, channel by channel, from vectors of channels.

        By way of memory: where sums are transposed while others wait, there are too few registers,
        and LLVM then keeps some of them in memory in the loop before.
        """
        r, lanes, waiting = self.r, self.of.tile.lanes, self.waiting
        assert waiting is not None
        places = len(sums) // vectors
        ready = list(sums) if self.residual else self._activated(list(sums))
        for n, total in enumerate(ready):
            place, vector = divmod(n, vectors)
            r.store(waiting, (vector * places + place) * lanes, total)
        with r.loop(0, vectors) as loop:
            for first in range(0, places, lanes):
                at = (loop.index * places + first) * lanes
                count = min(lanes, places - first)
                rows = [r.load(waiting, at + n * lanes, lanes) for n in range(count)]
                lines = transposed(r, rows + rows[:1] * (lanes - count))
                mask = r.below(count, lanes) if count < lanes else None
                channel = output + loop.index * lanes
                self._put_lines(lines, channel, self.in_channel(channel) + pixel + first, mask)

    def _put_lines(self, lines: list[Value], output: Value, to: Value, mask: Value | None) -> None:
        """A vector of channels, as lines of pixels."""
        p, r, lanes = self.of.problem, self.r, self.of.tile.lanes
        if self.residual and is_long(p.activation):
            self._put_one_by_one(lines, output, to, mask)
            return
        sure = p.outputs % lanes or lanes  # channels that there are even in the last vector
        self._put_some(lines[:sure], to, mask)
        if sure < lanes:
            with r.when(output + lanes <= p.outputs):
                self._put_some(lines[sure:], to + sure * self.channel_size, mask)

    def _put_some(self, lines: list[Value], to: Value, mask: Value | None) -> None:
        r, name = self.r, self.of.problem.activation
        for number, line in enumerate(lines):
            at, total = to + number * self.channel_size, line
            if self.residual:
                total = activated(r, name, self._added(line, (at, mask)))
            r.store(self.y, at, total, mask)

    def _put_one_by_one(
        self, lines: list[Value], output: Value, to: Value, mask: Value | None
    ) -> None:
        """The same in a loop, in which an activation of many operations is written down once."""
        p, r, lanes, waiting = self.of.problem, self.r, self.of.tile.lanes, self.waiting
        assert waiting is not None
        behind = waiting.count - lanes * lanes
        for number, line in enumerate(lines):
            r.store(waiting, behind + number * lanes, line)
        with r.loop(0, r.minimum(p.outputs - output, lanes)) as loop:
            at = to + loop.index * self.channel_size
            total = self._added(r.load(waiting, loop.index * lanes + behind, lanes), (at, mask))
            r.store(self.y, at, activated(r, p.activation, total), mask)
