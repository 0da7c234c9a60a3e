"""Where the results of Strassen's multiplication go, and how they lie there.

Channels last, a vector of outputs is a vector of results. In contiguous images vectors are places:
of a pointwise convolution they follow each other in memory; the phases of a row are woven together
first, and what is then a vector may end in the next row.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from ...lang.ops import Buffer
from ...lang.routine import Routine, Value
from ..activation import activated, is_long
from ..gemm.gather_panel import when
from ..gemm.tile import Stream
from ..interleave import interleaved
from .problem import StrassenLayout


@dataclass(frozen=True)
class Results:
    """What stores a quarter of a tile's results: of the first or other outputs and places."""

    r: Routine
    of: StrassenLayout
    y: Buffer
    waiting: Buffer
    b: Buffer | None
    image: Value
    group: Value
    first: Value | None = None
    """The block's first place."""
    number: Value | None = None
    """Of the tile."""

    def of_tile(self, first: Value, number: Value) -> "Results":
        """Those of one tile."""
        return replace(self, first=first, number=number)

    def place(self, half: int) -> Value:
        """The first of the tile's places in a half of the block."""
        assert self.first is not None
        return self.first + half * self.of.half

    def output(self, half: int) -> Value:
        """The first of the tile's outputs, in a half of them."""
        assert self.number is not None
        return self.number * self.of.width + half * self.of.outputs

    def put(self, sums: Sequence[Value], outputs: int, places: int) -> None:
        """A quarter."""
        found = self._activated(self._biased(sums, outputs))
        if self.of.problem.last:
            self._put_pixels(found, outputs, places)
        else:
            self._put_rows(found, outputs, places)

    def ahead(self, outputs: int, places: int) -> list[Stream]:
        """Where a quarter will be, to be fetched before it is written."""
        of, p = self.of, self.of.problem
        place, output = self.place(places), self.output(outputs)
        if p.last:
            run = output // p.padded_run
            row = p.channels * p.groups * (1 if p.is_plain or p.groups > 1 else p.stride[2])
            at = self._pixel(place, run) + output % p.padded_run
            return [Stream(self.y, at, of.half * of.width, of.width, row)]
        width, (run, channel) = of.half * p.stride[2], self._of_output(output)
        rows = of.width // p.stride[2]
        return [Stream(self.y, self._in_row(channel, run, place), rows * width, width, self._apart)]

    # -- what is done to sums ---------------------------------------------------------------------

    def _biased(self, sums: Sequence[Value], outputs: int) -> list[Value]:
        if self.b is None:
            return list(sums)
        r, of, p = self.r, self.of, self.of.problem
        at = self.group * (2 * of.outputs) + self.output(outputs)
        if p.last:
            vectors = of.width // p.lanes
            bias = [r.load(self.b, at + n * p.lanes, p.lanes) for n in range(vectors)]
        else:
            bias = [r.splat(r.load(self.b, at + n), p.lanes) for n in range(of.width)]
        return [total + bias[n % len(bias)] for n, total in enumerate(sums)]

    def _activated(self, sums: list[Value]) -> list[Value]:
        """The activation of all; one of many operations is written down once, in a loop."""
        r, name, lanes = self.r, self.of.problem.activation, self.of.problem.lanes
        if not is_long(name):
            return [activated(r, name, total) for total in sums]
        first = 3 * self.of.sums
        for n, total in enumerate(sums):
            r.store(self.waiting, first + n * lanes, total)
        with r.loop(first, first + len(sums) * lanes, lanes) as loop:
            value = activated(r, name, r.load(self.waiting, loop.index, lanes))
            r.store(self.waiting, loop.index, value)
        return [r.load(self.waiting, first + n * lanes, lanes) for n in range(len(sums))]

    # -- channels last ----------------------------------------------------------------------------

    def _put_pixels(self, sums: Sequence[Value], outputs: int, places: int) -> None:
        """Vectors of outputs, place by place."""
        r, of, p = self.r, self.of, self.of.problem
        vectors, place = of.width // p.lanes, self.place(places)
        for vector in range(vectors):
            output = self.output(outputs) + vector * p.lanes
            run, inside = output // p.padded_run, output % p.padded_run
            mask = r.below(p.run - inside, p.lanes) if p.run % p.lanes else None
            with self._exists(output, outputs):
                begin = self._pixel(place, run) + inside
                for n in range(of.half):
                    exists = place + n < p.places if of.is_ragged else True
                    with when(r, exists):
                        to = begin + n * self._step
                        if not self._in_one_row:
                            to = self._pixel(place + n, run) + inside
                        r.store(self.y, to, sums[n * vectors + vector], mask)

    def _exists(self, output: Value, outputs: int) -> AbstractContextManager[None]:
        """A vector or line of outputs; those of the first half do."""
        p, of = self.of.problem, self.of
        sure = not outputs or 2 * of.outputs == p.outputs
        return when(self.r, True if sure and of.outputs <= p.outputs else output < p.outputs)

    @property
    def _in_one_row(self) -> bool:
        """Whether the results of neighbouring places of a tile are always equally far apart."""
        p = self.of.problem
        return p.is_plain or p.size[2] % self.of.half == 0

    @property
    def _step(self) -> int:
        """From a place's results to its neighbour's in the row."""
        p = self.of.problem
        return p.stride[2] * p.channels * p.groups

    def _pixel(self, place: Value, run: Value) -> Value:
        """Where a run of a place's results begins, channels last."""
        p = self.of.problem
        channels = p.channels * p.groups
        if p.is_plain:
            return place * channels + self.group * p.channels
        _, _, beside = p.stride
        column: Value = place % p.size[2] * beside
        if p.groups > 1:
            column, run = column + run % beside, run // beside
        row = self._row(place // p.size[2], run)
        return (row * (p.size[2] * beside) + column) * channels + self.group * p.channels

    def _row(self, row: Value, run: Value) -> Value:
        """The row of results of a row of places, in one of the phases of depth and height."""
        p = self.of.problem
        deep, high, _ = p.stride
        if deep == 1:
            return row * high + run
        plane = row // p.size[1] * deep + run // high
        return plane * (p.size[1] * high) + row % p.size[1] * high + run % high

    # -- contiguous -------------------------------------------------------------------------------

    @property
    def _apart(self) -> int:
        """From a channel of the result to the next."""
        p = self.of.problem
        return p.places * p.stride[0] * p.stride[1] * p.stride[2]

    def _of_output(self, output: Value) -> tuple[Value, Value]:
        """The run and the channel of the first of a row's phases."""
        p = self.of.problem
        line = output // p.stride[2]
        return line // p.channels, line % p.channels

    def _in_row(self, channel: Value, run: Value, place: Value) -> Value:
        """Where a place's first result is in a channel, contiguous."""
        p = self.of.problem
        at = ((self.image * p.groups + self.group) * p.channels + channel) * self._apart
        if p.is_plain:
            return at + place
        row, column = self._row(place // p.size[2], run), place % p.size[2]
        return at + (row * p.size[2] + column) * p.stride[2]

    def _put_rows(self, sums: Sequence[Value], outputs: int, places: int) -> None:
        """Vectors of places, output by output."""
        r, of, p = self.r, self.of, self.of.problem
        beside, vectors = p.stride[2], of.half // p.lanes
        for line in range(0, of.width, beside):
            output = self.output(outputs) + line
            run, channel = self._of_output(output)
            with self._exists(output, outputs):
                for vector in range(vectors):
                    first = vector * of.width + line
                    woven = interleaved(r, sums[first : first + beside])
                    for n, numbers in enumerate(woven):
                        place = self.place(places) + (vector * p.lanes + n * p.chunk)
                        self._put_line(numbers, channel, run, place)

    def _put_line(self, numbers: Value, channel: Value, run: Value, place: Value) -> None:
        """A vector of results, from those of a place on."""
        r, of, p = self.r, self.of, self.of.problem
        beside, width, to = p.stride[2], p.size[2], self._in_row(channel, run, place)
        left = (p.places - place) * beside
        exist = r.below(left, p.lanes) if of.is_ragged else None
        if p.is_plain or width % p.chunk == 0:
            r.store(self.y, to, numbers, exist)
            return
        here = r.minimum((width - place % width) * beside, left)  # in this row
        r.store(self.y, to, numbers, r.below(here, p.lanes))
        with r.when(here < r.minimum(left, p.lanes)):
            next_row = self._in_row(channel, run, place - place % width + width)
            both = r.below(left, p.lanes) & ~r.below(here, p.lanes)
            r.store(self.y, next_row - here, numbers, both)
