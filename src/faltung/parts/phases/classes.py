"""Transposed convolution along one axis: which results take part of which sums.

    x[i] = Σ_q Σ_t  w[t] · y[q]   where q·s − low + t·d = i

The results i = first, first + s, first + 2s … form a phase. All of them use the same taps, every
(s/g)-th one with g = gcd(s, d), and neighbours of a phase read neighbours of y. So each phase is an
ordinary convolution of stride 1, with its taps the other way round:

    x[first + s·k] = Σ_j  w[tap − (s/g)·j] · y[k + base + (d/g)·j]

Phases have unequal numbers of taps where s/g does not divide the kernel size. All are counted as if
they had the most, `turns`; those with fewer lack the first ones.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import gcd

from ...lang.routine import Operand, Routine, Value


@dataclass(frozen=True)
class Phase:
    """One phase: its first result, its taps and first turn, and what it reads."""

    first: Operand
    residue: Operand
    """What its taps leave when divided by s/g."""

    begin: Operand
    """The first turn j that has a tap; `turns` if none has."""

    base: Operand
    """The place in y that turn 0 of the phase's first result reads; may lie before y."""


@dataclass(frozen=True)
class PhaseAxis:
    """One axis: `results` of x from `sources` of y.

    >>> axis = PhaseAxis(results=32, kernel_size=4, stride=2, low=1, dilation=1, sources=16)
    >>> axis.turns, [axis.phase(first) for first in (0, 1)]
    (2, [Phase(first=0, residue=1, begin=0, base=-1), Phase(first=1, residue=0, begin=0, base=0)])
    """

    results: int
    kernel_size: int
    stride: int
    low: int
    dilation: int
    sources: int

    @cached_property
    def _common(self) -> int:
        return gcd(self.stride, self.dilation)

    @property
    def period(self) -> int:
        """s/g: taps of a phase are so far apart, and there are so many phases that have any."""
        return self.stride // self._common

    @property
    def step(self) -> int:
        """d/g: how far apart the numbers lie that a result reads in y."""
        return self.dilation // self._common

    @property
    def turns(self) -> int:
        """The most taps of a phase."""
        return -(-self.kernel_size // self.period)

    @property
    def phases(self) -> int:
        """Phases with any results."""
        return min(self.stride, self.results)

    def count(self, first: Operand) -> Operand:
        """Results of the phase that begins with result `first`."""
        return (self.results - 1 - first + self.stride) // self.stride

    @property
    def most(self) -> int:
        """Results of the first phase, which has the most."""
        return -(-self.results // self.stride)

    def phase(self, first: Operand) -> Phase:
        """The phase of result `first`, in numbers or as values of a routine."""
        stride, common, period = self.stride, self._common, self.period
        before = max(0, -(self.low // stride))  # negative padding
        place = first + (self.low + before * stride)
        rest = place % stride
        inverse = pow(self.dilation // common, -1, period)
        residue = rest // common * inverse % period
        taps = (self.kernel_size + (period - 1) - residue) // period
        more = (period - 1) * self.dilation // stride + 1  # so that nothing negative is divided
        base = (place + more * stride - residue * self.dilation) // stride
        begin = self.turns - taps
        if common > 1:
            begin = self._none_if(rest % common, begin)
        return Phase(first, residue, begin, base - (more + before + (self.turns - 1) * self.step))

    def _none_if(self, rest: Operand, begin: Operand) -> Operand:
        """`begin`, but `turns` where there is a rest: no tap reaches such a phase."""
        if isinstance(rest, Value):
            r = rest.routine
            return r.select(rest > 0, r.const(self.turns), r.const(0) + begin)
        return self.turns if rest else begin

    def inside(self, r: Routine, phase: Phase, first: Value, last: Value) -> tuple[Value, Value]:
        """The turns from the first to the end of those that reach y from k = first … last."""
        missing = r.maximum(0 - (last + phase.base), 0)
        begin = r.maximum((missing + (self.step - 1)) // self.step, phase.begin)
        reach = r.maximum(self.sources - (first + phase.base) + (self.step - 1), 0)
        return begin, r.minimum(reach // self.step, self.turns)

    def turns_inside(self, phase: Phase, first: int, last: int) -> int:
        """How many turns `inside` has."""
        base, begin = int(phase.base), int(phase.begin)
        begin = max(-(-max(0, -(last + base)) // self.step), begin)
        reach = max(0, self.sources - (first + base))
        return max(0, min(-(-reach // self.step), self.turns) - begin)

    @cached_property
    def reads(self) -> tuple[int, int]:
        """The lowest and the highest place that results k = 0 read, in any phase and turn."""
        found = [self.phase(first) for first in range(self.phases)]
        low = min((p.base + p.begin * self.step for p in found if p.begin < self.turns), default=0)
        high = max((p.base for p in found if p.begin < self.turns), default=0)
        return low, max(low, high + (self.turns - 1) * self.step)

    def sums(self, size: int) -> tuple[int, int, bool]:
        """Tiles of `size` results, their turns, and whether one has fewer than there may be."""
        return _sums(self, size)


@lru_cache(maxsize=4096)
def _sums(axis: PhaseAxis, size: int) -> tuple[int, int, bool]:
    tiles = turns = 0
    for first in range(axis.phases):
        phase, count = axis.phase(first), -(-axis.count(first) // size)
        most = axis.turns - phase.begin
        # tiles before and behind those that have all turns of the phase
        begin = -(-max(0, 1 - size - phase.base - phase.begin * axis.step) // size)
        behind = axis.sources - phase.base - (axis.turns - 1) * axis.step - 1
        end = max(min(count, behind // size + 1), min(begin, count)) if most else 0
        begin = min(begin, end)
        others = (*range(begin), *range(end, count))
        tiles += count
        turns += most * (end - begin)
        turns += sum(axis.turns_inside(phase, k * size, (k + 1) * size - 1) for k in others)
    return tiles, turns, turns < tiles * axis.turns
