"""An array copied into another order of its axes.

    to[i, j, …, n] = from[base + i·s_i + j·s_j + … + n·s_n]

Numbers that follow each other in the one are mostly far apart in the other. So squares of the axis
along which the source lies and of the last axis of the copy are read in vectors of the one, turned
in registers and written in vectors of the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from ..lang.ops import Buffer
from ..lang.routine import Routine, Value
from .transpose import transposed


@dataclass(frozen=True)
class CopiedAxis:
    """An axis: how long it is, and how far its neighbours are apart, in the source and in the copy.

    A source that is run through backwards has a negative step.
    """

    size: int
    source: int
    to: int


def merged(sizes: Sequence[int], steps: Sequence[int]) -> list[CopiedAxis]:
    """The axes of a copy of these sizes, last one innermost, from a source with these steps.

    Axes that lie in each other in the source as in the copy are one.

    >>> [(axis.size, axis.source, axis.to) for axis in merged((4, 2, 3), (6, 3, 1))]
    [(24, 1, 1)]
    """
    found: list[CopiedAxis] = []
    to = 1
    for size, step in reversed(list(zip(sizes, steps, strict=True))):
        inner = found[-1] if found else None
        if size == 1:
            continue
        if inner is not None and step == inner.size * inner.source:
            found[-1] = CopiedAxis(inner.size * size, inner.source, inner.to)
        else:
            found.append(CopiedAxis(size, step, to))
        to *= size
    return found[::-1] or [CopiedAxis(1, 1, 1)]


def has_squares(axes: Sequence[CopiedAxis]) -> bool:
    """Whether the source has numbers that follow each other, in one direction or the other.

    An expanded axis, along which all are the same number, has none that could be turned.
    """
    steps = [abs(axis.source) for axis in axes]
    return 1 in steps and 0 not in steps


class CopyRoutine:
    """Records the copying of `numbers` numbers from the first to the last that the source has."""

    def __init__(
        self,
        name: str,
        axes: Sequence[CopiedAxis],
        numbers: int,
        dtypes: tuple[str, str],
        lanes: int,
    ) -> None:
        self.lanes = lanes
        self.along = min(axes, key=lambda axis: abs(axis.source))
        self.across = min(axes, key=lambda axis: axis.to)
        backwards = [axis for axis in axes if axis.source < 0]
        # rows are read forwards, and written backwards where that is the copy's order
        self.first_to = sum((a.size - 1) * a.to for a in backwards if a is self.along)
        self.first = sum((1 - a.size) * a.source for a in backwards if a is not self.along)
        self.outer = [axis for axis in axes if axis not in (self.along, self.across)]
        self.blocks = 1 if self.along is self.across else -(-self.across.size // lanes)
        r = self.r = Routine(name, prod(axis.size for axis in self.outer) * self.blocks)
        self.to = r.writes("to", dtypes[1], prod(axis.size for axis in axes))
        self.source: Buffer = r.reads("from", dtypes[0], numbers)
        with r.work() as item:
            self.item(item)

    def item(self, item: Value) -> None:
        """One row, or the squares of one row of squares."""
        r, block, item = self.r, item % self.blocks, item // self.blocks
        source, to = r.const(self.first), r.const(self.first_to)
        for axis in reversed(self.outer):
            source, to = source + item % axis.size * axis.source, to + item % axis.size * axis.to
            item = item // axis.size
        whole = self.along.size // self.lanes * self.lanes
        do = self.row if self.along is self.across else self.square
        first = block * self.lanes
        with r.loop(0, whole, self.lanes) as loop:
            do(source, to, loop.index, self.lanes, first)
        if whole < self.along.size:
            do(source, to, r.const(whole), self.along.size - whole, first)

    def row(self, source: Value, to: Value, at: Value, count: int, first: Value) -> None:
        """A vector of a row, forwards or backwards."""
        r, lanes = self.r, self.lanes
        mask = None if count == lanes else r.below(count, lanes)
        vector = r.load(self.source, source + at, lanes, mask)
        if self.along.source > 0:
            r.store(self.to, to + at, vector, mask)
            return
        places = [count - 1 - lane if lane < count else lane for lane in range(lanes)]
        backwards = r.pick(vector, vector, places)
        r.store(self.to, to - at - (count - 1), backwards, mask)

    def square(self, source: Value, to: Value, at: Value, count: int, first: Value) -> None:
        """As many rows as lanes, of `count` numbers each."""
        r, lanes = self.r, self.lanes
        left, written = self.across.size - first, None
        every = None if count == lanes else r.below(count, lanes)
        rows = []
        for lane in range(lanes):
            real = every
            if self.across.size % lanes:
                whole = r.mask([n < count for n in range(lanes)])
                real = r.select(r.const(lane) < left, whole, r.below(0, lanes))
                written = r.below(left, lanes)
            place = source + at + (first + lane) * self.across.source
            rows.append(r.load(self.source, place, lanes, real))
        step = self.along.to if self.along.source > 0 else -self.along.to
        for n, column in enumerate(transposed(r, rows)[:count]):
            r.store(self.to, to + (at + n) * step + first, column, written)
