"""A register tile of a matrix product, one side of which is read where it lies.

    sum[j, o] = start[o] + Σ_k x[x_first + place(k) + j] · w[w_first + k·width + o]

One side comes in vectors, the other as single numbers that are spread over all lanes. Each k loads
the vectors and multiplies them by one number after the other, so v · m multiply-adds of whole
vectors take v + m loads. A single number may lie anywhere, so strides, dilations and either memory
layout need no copy of x.

`place(k)` is a nest of loops, kernel planes, rows, columns and channels, each with its own step;
the numbers of w follow each other in its order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import gcd, prod

from ...lang.ops import Buffer
from ...lang.routine import Operand, Routine, Value

_UNROLLED = 48  # multiply-adds in a turn of the innermost loop, about
_MOST_UNROLLED = 160  # an innermost loop of fewer is no loop
_LINE = 64  # bytes
_MOST = 1 << 62  # no index is as large


@dataclass(frozen=True)
class SumAxis:
    """One loop of a sum: `count` terms whose numbers in x are `step` apart.

    `bounds` are the first term that is there and the end of them, where that is only known while
    the routine runs; the weights of the others are passed over. `places` are for each term the
    offsets of x, by number, that have it, where not all do.
    """

    count: int
    step: int
    bounds: tuple[Value, Value] | None = None
    places: tuple[tuple[int, ...], ...] | None = None

    @property
    def is_plain(self) -> bool:
        """Whether all offsets have every term."""
        return self.bounds is None and self.places is None


def merged(axes: Sequence[SumAxis]) -> list[SumAxis]:
    """The same sum in as few loops as possible, outermost first; at least one.

    >>> [(axis.count, axis.step) for axis in merged([SumAxis(3, 8), SumAxis(1, 99), SumAxis(8, 1)])]
    [(24, 1)]
    """
    found: list[SumAxis] = []
    for axis in axes:
        if axis.count == 1 and axis.is_plain:
            continue
        outer = found[-1] if found and found[-1].is_plain and axis.is_plain else None
        if outer and outer.step == axis.count * axis.step:
            found[-1] = SumAxis(outer.count * axis.count, axis.step)
        else:
            found.append(axis)
    return found or [SumAxis(1, 0)]


@dataclass(frozen=True)
class Factor:
    """One side of the products: what lies at some offsets.

    Vectors of so many lanes, the last perhaps masked; or with one lane single numbers.
    """

    buffer: Buffer
    offsets: tuple[int, ...]
    lanes: int
    mask: Value | None = None

    def load(self, r: Routine, first: Value, number: int) -> Value:
        """The value at one of the offsets."""
        mask = self.mask if number == len(self.offsets) - 1 else None
        return r.load(self.buffer, first + self.offsets[number], self.lanes, mask)


@dataclass(frozen=True)
class Stream:
    """Numbers that are needed after a tile, to be fetched evenly while it is computed.

    They follow each other, or come in rows of `row` numbers that are `pitch` apart; `first` is the
    place of the first one, or of the row's that has it as number `skipped`.
    """

    buffer: Buffer
    first: Value
    count: int
    row: int = 0
    pitch: int = 0
    skipped: Operand = 0

    def place(self, number: Value) -> Value:
        """Where one of the numbers lies."""
        if self.row:
            number = number + self.skipped
            number = number // self.row * self.pitch + number % self.row
        return self.first + number


@dataclass(frozen=True)
class GemmTile:
    """The tile: every offset of x × every offset of w, one of them in vectors."""

    x: Factor
    w: Factor
    streams: tuple[Stream, ...] = ()

    @property
    def width(self) -> int:
        """Numbers of w for a term."""
        return len(self.w.offsets) * self.w.lanes

    def sums(
        self,
        r: Routine,
        start: Sequence[Value],
        axes: Sequence[SumAxis],
        x_first: Value,
        w_first: Value,
    ) -> list[Value]:
        """The sums, for each offset of x those of all offsets of w, which begin at `start`."""
        return self.more(
            r, [value for _ in self.x.offsets for value in start], axes, x_first, w_first
        )

    def more(
        self,
        r: Routine,
        sums: Sequence[Value],
        axes: Sequence[SumAxis],
        x_first: Value,
        w_first: Value,
    ) -> list[Value]:
        """The same, added to sums that there are."""
        x, w = _hidden(r, x_first), _hidden(r, w_first)
        return _Summing(self, r, w, prod(axis.count for axis in axes)).over(
            list(sums), merged(axes), x, w
        )


@dataclass(frozen=True)
class _Summing:
    """A sum being recorded: its tile, and where and how long its weights are."""

    tile: GemmTile
    r: Routine
    w_first: Value
    terms: int

    def over(self, sums: list[Value], axes: Sequence[SumAxis], x: Value, w: Value) -> list[Value]:
        """The terms of some nested loops."""
        axis, inner = axes[0], axes[1:]
        if axis.places is not None:
            return self.by_places(sums, axes, x, w)
        if not inner:
            return self.innermost(sums, axis, x, w)
        weights = prod(axis.count for axis in inner) * self.tile.width
        begin, end = axis.bounds or (self.r.const(0), self.r.const(axis.count))
        with self.r.loop(begin, end, carried=sums) as loop:
            x, w = x + loop.index * axis.step, w + loop.index * weights
            loop.carry(*self.over(list(loop.carried), inner, x, w))
        return list(loop.results)

    def by_places(
        self, sums: list[Value], axes: Sequence[SumAxis], x: Value, w: Value
    ) -> list[Value]:
        """Neighbouring terms that the same offsets have are a tile of those offsets."""
        axis, inner, tile = axes[0], axes[1:], self.tile
        weights, each = prod(axis.count for axis in inner) * tile.width, len(tile.w.offsets)
        sums, done = list(sums), 0
        for some, equal in groupby(axis.places or ()):
            count = len(tuple(equal))
            offsets = tuple(tile.x.offsets[place] for place in some)
            part = replace(self, tile=replace(tile, x=replace(tile.x, offsets=offsets)))
            mine = [place * each + n for place in some for n in range(each)]
            rest = merged([SumAxis(count, axis.step), *inner])
            if some:
                at = x + done * axis.step, w + done * weights
                values = part.over([sums[n] for n in mine], rest, *at)
                for n, value in zip(mine, values, strict=True):
                    sums[n] = value
            done += count
        return sums

    def innermost(self, sums: list[Value], axis: SumAxis, x: Value, w: Value) -> list[Value]:
        """Terms written down one by one, several to a turn of the loop."""
        r, width = self.r, self.tile.width
        if axis.bounds is not None:
            turns, (begin, end) = 1, axis.bounds
        elif axis.count * len(sums) <= _MOST_UNROLLED:
            return self.terms_of(sums, axis.count, axis.step, x, w)
        else:
            turns = _together(axis.count, len(sums))
            begin, end = r.const(0), r.const(axis.count - axis.count % turns)
        with r.loop(begin, end, turns, carried=sums) as loop:
            at = x + loop.index * axis.step, w + loop.index * width
            loop.carry(*self.terms_of(list(loop.carried), turns, axis.step, *at))
        rest = 0 if axis.bounds is not None else axis.count % turns
        done = axis.count - rest
        at = x + done * axis.step, w + done * width
        return self.terms_of(list(loop.results), rest, axis.step, *at)

    def terms_of(self, sums: list[Value], count: int, step: int, x: Value, w: Value) -> list[Value]:
        """So many terms in a row."""
        r, tile, sums = self.r, self.tile, list(sums)
        self.fetch(count, w)
        for k in range(count):
            r.cut()  # or loads of the next term are begun early, and there are no registers left
            x_first, w_first = x + k * step, w + k * tile.width
            if tile.w.lanes > 1:
                weights = [tile.w.load(r, w_first, o) for o in range(len(tile.w.offsets))]
                for j in range(len(tile.x.offsets)):
                    number = r.splat(tile.x.load(r, x_first, j), tile.w.lanes)
                    for n, weight in enumerate(weights, j * len(weights)):
                        sums[n] = r.fma(weight, number, sums[n])
                continue
            vectors = [tile.x.load(r, x_first, j) for j in range(len(tile.x.offsets))]
            for o in range(tile.width):
                number = r.splat(tile.w.load(r, w_first, o), tile.x.lanes)
                for j, vector in enumerate(vectors):
                    n = j * tile.width + o
                    sums[n] = r.fma(vector, number, sums[n])
        return sums

    def fetch(self, count: int, w: Value) -> None:
        """The streams' part for so many terms."""
        total = self.terms * self.tile.width
        for stream in self.tile.streams if count and total else ():
            line = _LINE // stream.buffer.item_size
            common = gcd(stream.count, total)
            at = (w - self.w_first) * (stream.count // common) // (total // common)
            lines = -(-count * stream.count // (self.terms * line))
            for n in range(lines):
                self.r.prefetch(stream.buffer, stream.place(at + n * line))


def _together(count: int, sums: int) -> int:
    """Terms in a turn of the innermost loop: if possible such that none is left over."""
    wanted = max(1, round(_UNROLLED / sums))
    return min((wanted, wanted + 1), key=lambda turns: count % turns)


def _hidden(r: Routine, index: Value) -> Value:
    """The same number, but LLVM does not see what it is made of.

    It would otherwise weigh every address in the tile against the index of every loop around it
    (LoopStrengthReduce), which takes several times as long as the rest of compiling.
    """
    return r.select(index < _MOST, index, r.const(0))
