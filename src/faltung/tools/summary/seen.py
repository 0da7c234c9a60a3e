"""Which positions of the model's input one position of a tensor depends on, along one axis.

    position q = P·m + r depends on the positions  J·m + {offsets of phase r}

P is the period: 1 after convolutions and pools, more after layers that make images larger, since
what an output of those sees depends on its phase. The offsets are the bits of one integer, so the
positions are counted, not bounded: a dilated layer leaves holes. Borders play no part, as in
`ops.conv.receptive_field`, of which this is the form that knows branches.

    layers in a row    the positions behind every position that the next layer reads
    branches           the union of what each of them sees, where both advance alike
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from ...ops.geometry import Axis

Bits = tuple[int, int]  # first position, and one bit per position from there on


@dataclass(frozen=True)
class Reach:
    """What a layer reads: output P·m + r reads the positions J·m + o, for o in `offsets[r]`."""

    jump: int
    offsets: tuple[tuple[int, ...], ...]

    @classmethod
    def of_window(cls, kernel: int, stride: int, low: int, dilation: int = 1) -> "Reach":
        """A convolution's or a pool's: q reads q·s − low + t·d."""
        return cls(stride, (tuple(t * dilation - low for t in range(kernel)),))

    @classmethod
    def of_transposed(cls, axis: Axis) -> "Reach":
        """A transposed convolution's, whose axis is that of the convolution it adjoins."""
        stride, taps = axis.stride, range(axis.kernel_size)
        found = []
        for phase in range(stride):
            shifts = [phase + axis.padding[0] - t * axis.dilation for t in taps]
            found.append(tuple(shift // stride for shift in shifts if shift % stride == 0))
        return cls(1, tuple(found))

    @classmethod
    def of_copies(cls, times: int, reads: Iterable[int] = (0,)) -> "Reach":
        """Every position `times` times: what enlarging by the nearest neighbour reads."""
        return cls(1, (tuple(reads),) * times)

    @classmethod
    def of_linear(cls, times: int, before: int = 0, after: int = 1) -> "Reach":
        """Enlarging by interpolation between the neighbours of (q + ½)/times − ½."""
        found = []
        for phase in range(times):
            place = Fraction(2 * phase + 1, 2 * times) - Fraction(1, 2)
            left = math.floor(place)
            exact = place == left
            found.append((left,) if exact else tuple(range(left - before, left + after + 1)))
        return cls(1, tuple(found))


@dataclass(frozen=True)
class Seen:
    """The positions along one axis of the input that a position of a tensor depends on.

    >>> stem = Seen.start(axis=2).through(Reach.of_window(7, stride=2, low=3))
    >>> block = stem.through(Reach.of_window(3, stride=1, low=2, dilation=2))
    >>> stem.size, block.size, block.step
    (7, 15, Fraction(2, 1))
    """

    axis: int
    jump: int
    phases: tuple[Bits, ...]

    @classmethod
    def start(cls, axis: int) -> "Seen":
        """The input itself: position q is position q."""
        return cls(axis, 1, ((0, 1),))

    @property
    def period(self) -> int:
        """Positions after which the pattern repeats, `jump` further on."""
        return len(self.phases)

    @property
    def step(self) -> Fraction:
        """How far the field moves when the position moves by one."""
        return Fraction(self.jump, self.period)

    @cached_property
    def size(self) -> int:
        """Positions from the first seen to the last, of the phase that sees most."""
        return max(bits.bit_length() for _, bits in self.phases)

    def positions(self, at: int) -> set[int]:
        """Every input position behind position `at`, on an axis without ends."""
        turn, phase = divmod(at, self.period)
        first, bits = self.phases[phase]
        base = turn * self.jump + first
        return {base + i for i in range(bits.bit_length()) if bits >> i & 1}

    def through(self, reach: Reach) -> "Seen":
        """The same after a layer that reads this tensor so."""
        period = len(reach.offsets)
        turns = self.period // math.gcd(self.period, reach.jump)
        phases = []
        for number in range(turns * period):
            turn, phase = divmod(number, period)
            read = [turn * reach.jump + offset for offset in reach.offsets[phase]]
            phases.append(_union([self._behind(position) for position in read]))
        jump = reach.jump * turns // self.period * self.jump
        return _shortest(Seen(self.axis, jump, tuple(phases)))

    def joined(self, other: "Seen") -> "Seen | None":
        """What is seen by either; None where they do not advance alike."""
        if self.axis != other.axis or self.step != other.step:
            return None
        period = math.lcm(self.period, other.period)
        phases = tuple(_union([s._behind(at) for s in (self, other)]) for at in range(period))
        return _shortest(Seen(self.axis, self.jump * (period // self.period), phases))

    def _behind(self, at: int) -> Bits:
        turn, phase = divmod(at, self.period)
        first, bits = self.phases[phase]
        return turn * self.jump + first, bits


def _union(parts: Sequence[Bits]) -> Bits:
    """All positions of the parts; a phase that sees nothing has no bits."""
    parts = [part for part in parts if part[1]]
    if not parts:
        return 0, 0
    first = min(start for start, _ in parts)
    bits = 0
    for start, more in parts:
        bits |= more << (start - first)
    return first, bits


def _shortest(seen: Seen) -> Seen:
    """The same with the smallest period, so that periods do not pile up along a decoder."""
    for period in range(1, seen.period):
        if seen.period % period or seen.jump * period % seen.period:
            continue
        jump = seen.jump * period // seen.period
        repeated = (
            (first + turn * jump if bits else 0, bits)
            for turn in range(seen.period // period)
            for first, bits in seen.phases[:period]
        )
        if tuple(repeated) == seen.phases:
            return Seen(seen.axis, jump, seen.phases[:period])
    return seen
