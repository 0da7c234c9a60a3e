"""Padded pieces of an image, copied row by row into memory of a thread's own.

A routine that reads a block of an image many times reads it from a panel: its rows lie close
together, zeros stand where the padding is, and 16-bit numbers have been widened. Copying costs a
load and a store for a vector, once; each number is multiplied hundreds of times. A panel may also
have the channels of a pixel side by side where the image has its pixels so.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ...lang.ops import Buffer
from ...lang.routine import Operand, Routine, Value
from ..transpose import transposed

_TOGETHER = 4  # vectors copied in one turn of the loop
_MOST_WRITTEN_DOWN = 6  # vectors of a row whose sizes are known that are copied without a loop


@dataclass(frozen=True)
class Run:
    """A row of a panel: so many zeros, numbers of the image and zeros again."""

    before: Operand
    count: Operand
    after: Operand

    def times(self, factor: int) -> "Run":
        """The same with so many numbers in the place of each."""
        return Run(self.before * factor, self.count * factor, self.after * factor)


@dataclass(frozen=True)
class Copying:
    """From an image to a panel, in vectors of so many numbers."""

    r: Routine
    image: Buffer
    panel: Buffer
    lanes: int

    def run(self, source: Value, to: Value, run: Run) -> None:
        """Write a row to `to`; its first number that is not padding lies at `source`."""
        sizes = [known(size) for size in (run.before, run.count, run.after)]
        if None not in sizes:
            before, count, after = (size or 0 for size in sizes)
            if before + count + after <= _MOST_WRITTEN_DOWN * self.lanes:
                self._written_down(source, to, before, count, before + count + after)
                return
        self.zeros(to, run.before)
        self._numbers(source, to + run.before, run.count)
        self.zeros(to + run.before + run.count, run.after)

    def zeros(self, to: Value, count: Operand) -> None:
        """Zeros from `to` on."""
        zero = self.r.const(0, self.panel.kind, self.lanes)
        for at, mask in self._vectors(0, count):
            self.r.store(self.panel, to + at, zero, mask)

    def _written_down(self, source: Value, to: Value, before: int, count: int, total: int) -> None:
        """Masks of the loads leave the padding 0."""
        r = self.r
        for at in range(0, total, self.lanes):
            places = range(at, at + self.lanes)
            inside = r.mask([before <= place < before + count for place in places])
            exists = None if at + self.lanes <= total else r.below(total - at, self.lanes)
            number = r.load(self.image, source + (at - before), self.lanes, inside)
            r.store(self.panel, to + at, number, exists)

    def _numbers(self, source: Value, to: Value, count: Operand) -> None:
        r, step = self.r, self.lanes * _TOGETHER
        whole = count // step * step
        with r.loop(0, whole, step) as loop:
            for vector in range(_TOGETHER):
                at = loop.index + vector * self.lanes
                r.store(self.panel, to + at, r.load(self.image, source + at, self.lanes))
        for at, mask in self._vectors(whole, count):
            r.store(self.panel, to + at, r.load(self.image, source + at, self.lanes, mask), mask)

    def _vectors(self, begin: Operand, end: Operand) -> Iterator[tuple[Value, Value | None]]:
        """Each vector from `begin` to `end`, and the mask of the one that is not full."""
        whole = begin + (end - begin) // self.lanes * self.lanes
        if known(whole) is None or known(whole) != known(begin):
            with self.r.loop(begin, whole, self.lanes) as loop:
                yield loop.index, None
        rest = end - whole
        if known(rest) != 0:
            with when(self.r, rest > 0):
                yield self.r.const(0) + whole, self.r.below(rest, self.lanes)


@dataclass(frozen=True)
class Turning:
    """From an image of channels, each with its pixels side by side, to a panel of pixels.

    In the panel the `channels` of a pixel follow each other and pixels are `pixel` numbers apart;
    in the image channels are `apart` numbers apart. Squares of `lanes` × `lanes` numbers are
    transposed in registers.
    """

    r: Routine
    image: Buffer
    panel: Buffer
    lanes: int
    channels: int
    pixel: int
    apart: int

    def pixels(self, source: Value, count: Operand, to: Value) -> None:
        """So many pixels that follow each other in both, from `source` in channel 0 on."""
        r = self.r
        whole = r.const(0) + count // self.lanes * self.lanes
        if known(whole) != 0:
            with r.loop(0, whole, self.lanes) as loop:
                self._squares(source + loop.index, to + loop.index * self.pixel, self.lanes)
        if known(count) is None or known(count) != known(whole):
            with when(r, whole < count if known(count) is None else True):
                self._squares(source + whole, to + whole * self.pixel, count - whole)

    def _squares(self, source: Value, to: Value, pixels: Operand) -> None:
        """At most as many pixels as a vector has lanes, in all channels."""
        rest = self.channels % self.lanes
        if self.channels >= self.lanes:
            with self.r.loop(0, self.channels - rest, self.lanes) as loop:
                self._square(source, loop.index, to, pixels, self.lanes)
        if rest:
            self._square(source, self.r.const(self.channels - rest), to, pixels, rest)

    def _square(
        self, source: Value, channel: Value, to: Value, pixels: Operand, channels: int
    ) -> None:
        r, lanes, count = self.r, self.lanes, known(pixels)
        at = source + channel * self.apart
        mask = None if count == lanes else r.below(pixels, lanes)
        rows = [r.load(self.image, at + n * self.apart, lanes, mask) for n in range(channels)]
        made = transposed(r, rows + rows[:1] * (lanes - channels))
        some = None if channels == lanes else r.below(channels, lanes)
        for n, numbers in enumerate(made if count is None else made[:count]):
            with when(r, pixels > n if count is None else True):
                r.store(self.panel, to + n * self.pixel + channel, numbers, some)


def known(value: Operand) -> int | None:
    """The number that a value is, if that is known while recording."""
    if isinstance(value, Value):
        return value.op.attr if value.op.name == "const" else None
    return int(value)


@contextmanager
def when(r: Routine, condition: Value | bool) -> Iterator[None]:
    """`Routine.when`, and nothing where the condition is known to hold."""
    if isinstance(condition, Value):
        with r.when(condition):
            yield
    else:
        yield
