"""Which numbers of x and gy a tile with pixels of a row as lanes asks for, before they are copied.

What is copied to panels comes from the third cache or from memory, while nothing is multiplied; and
what is multiplied lies in panels, while nothing is fetched. So the tiles ask for what is copied
next: for x the next channel's numbers, for gy those of the next chunk of output rows, a few lines
in each turn, into the second cache.
"""

from collections.abc import Iterator
from typing import NamedTuple

from ...lang.ops import STORAGE, Buffer
from ...lang.routine import Routine, Value
from .rows_layout import RowsLayout

_CACHE = 2
_LINE = 64  # bytes


class Place(NamedTuple):
    """A chunk of rows of an output plane of an image, in the first of some output channels."""

    image: Value
    channel: Value  # of gy, in all groups
    group: Value
    plane: Value
    row: Value


class RowsAhead:
    """Asks for what comes after one channel of x at `now`; `then` is the chunk that follows."""

    def __init__(
        self, r: Routine, layout: RowsLayout, x: Buffer, gy: Buffer,
        now: Place, then: Place, channel: Value,
    ) -> None:  # fmt: skip
        self.r, self.layout, self.x, self.gy = r, layout, x, gy
        p = layout.problem
        self.channel, self.last = channel, channel + 1 < p.inputs
        ours, next_one = (self._x_first(place) for place in (now, then))
        size = p.depth.inputs * p.rows.inputs * p.columns.inputs
        self.x_first = r.select(self.last, ours + (channel + 1) * size, next_one)
        area = p.rows.outputs * p.columns.outputs
        first = (then.image * (p.groups * p.outputs) + then.channel) * p.depth.outputs + then.plane
        self.gy_first = first * area + then.row * p.columns.outputs

    def _x_first(self, place: Place) -> Value:
        """The first number of x that a chunk sees in channel 0 of its group."""
        r, p = self.r, self.layout.problem
        plane = r.maximum(place.plane * p.depth.stride - p.depth.low, 0)
        row = r.maximum(place.row * p.rows.stride - p.rows.low, 0)
        first = (place.image * p.groups + place.group) * (p.inputs * p.depth.inputs)
        return ((first + plane) * p.rows.inputs + row) * p.columns.inputs

    def turn(self, number: Value) -> None:
        """Ask for what falls to one of the `asking_turns`."""
        r, p, layout = self.r, self.layout.problem, self.layout
        turns = layout.asking_turns
        for at in self._lines(number, layout.x_copied, turns):
            r.prefetch(self.x, self.x_first + at, _CACHE)
        own = layout.chunk * p.columns.outputs
        apart = p.depth.outputs * p.rows.outputs * p.columns.outputs
        of_visit = number + self.channel * turns
        for at in self._lines(of_visit, p.held * own, turns * p.inputs):
            place = at if own == apart else at // own * apart + at % own
            r.prefetch(self.gy, self.gy_first + place, _CACHE)

    def _lines(self, number: Value, count: int, turns: int) -> Iterator[Value]:
        """The places, among so many numbers, of the lines to ask for in a turn."""
        line = _LINE // STORAGE[self.layout.problem.dtype][1]
        each = -(-count // turns)
        for n in range(0, each, line):
            yield number * each + n
