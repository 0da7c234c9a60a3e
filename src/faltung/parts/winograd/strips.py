"""Rows of pixels with their channels side by side, in a thread's own memory.

A strip holds the pixels that a block of tiles reads, zeros where there is padding, or those that it
makes. Whatever the order of the image in memory and the dilation, in a strip a pixel's channels lie
side by side, so transforms have whole vectors of channels and know of no borders. Contiguous images
are transposed in registers on the way, a square of channels × columns at a time.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod

from ...lang.ops import Buffer
from ...lang.routine import Routine, Value
from ..transpose import transposed


@dataclass(frozen=True)
class Image:
    """[N, C, D, H, W] in memory, in that order or, `last`, with the channels innermost."""

    buffer: Buffer
    channels: int
    size: tuple[int, int, int]
    last: bool

    @property
    def channel_step(self) -> int:
        """From a number to the one of the next channel."""
        return 1 if self.last else prod(self.size)

    @property
    def pixel_step(self) -> int:
        """From a number to the one of the next column."""
        return self.channels if self.last else 1

    def row(self, n: Value, channel: Value, plane: Value, line: Value) -> Value:
        """Where a row begins; it may be one that does not exist."""
        _, high, wide = self.size
        pixels = (plane * high + line) * wide
        if self.last:
            return (n * prod(self.size) + pixels) * self.channels + channel
        return (n * self.channels + channel) * prod(self.size) + pixels


@dataclass(frozen=True)
class Runs:
    """What a block sees of an axis: `count` runs of `length` lines, the first one at `first`.

    The next run begins `apart` lines further on in the image, and follows it in the strip. The
    first `skip` lines of a run are left alone.
    """

    first: Value
    count: int
    length: int
    apart: int
    skip: Value | None = None

    @contextmanager
    def each(self, r: Routine) -> Iterator[tuple[Value, Value]]:
        """The runs: where each begins in the image and in the strip."""
        if self.count == 1:
            yield self.first, r.const(0)
            return
        with r.loop(0, self.count) as loop:
            yield self.first + loop.index * self.apart, loop.index * self.length

    @contextmanager
    def lines(self, r: Routine, end: int | None = None) -> Iterator[tuple[Value, Value]]:
        """Line by line: where each is in the image and in the strip; only those before `end`."""
        with self.each(r) as (place, position):
            behind = self.length if end is None else r.minimum(self.length, end - place)
            with r.loop(0 if self.skip is None else self.skip, behind) as loop:
                yield place + loop.index, position + loop.index


@dataclass(frozen=True)
class Channels:
    """`count` neighbouring vectors of the channels of a group, in one plane of one image.

    Where a group's channels are no multiple of the lanes, its last vector overlaps the one before;
    where there are fewer channels than lanes, the lanes behind them stand for nothing.
    """

    n: Value
    plane: Value
    first: Value
    """The group's first channel."""
    channels: int
    """How many the group has."""
    vector: Value
    """The first of the vectors."""
    count: Value

    def offset(self, r: Routine, number: Value, lanes: int) -> Value:
        """Where one of the vectors begins, counted from the group's first channel."""
        return r.minimum((self.vector + number) * lanes, max(self.channels - lanes, 0))

    def mask(self, r: Routine, lanes: int) -> Value | None:
        """The lanes that exist; None if all do."""
        return r.below(self.channels, lanes) if self.channels < lanes else None


Finish = Callable[[Value, Value, Value | None], Value]
"""What becomes of a vector before it is written: of it, its place in the image, and its mask."""


class Strip:
    """Scratch memory for lines × columns pixels, each of `vectors` vectors of channels."""

    def __init__(
        self, r: Routine, name: str, dtype: str, *, lines: int, columns: int, vectors: int,
        lanes: int,
    ) -> None:  # fmt: skip
        self.r, self.lanes, self.lines, self.columns = r, lanes, lines, columns
        self.pixel = vectors * lanes
        self.line = line_of(columns, self.pixel, lanes)
        self.buffer = r.scratch(name, dtype, lines * self.line)

    def fill(self, image: Image, of: Channels, high: Runs, wide: Runs) -> None:
        """Read what a block sees; zeros where nothing is."""
        with high.lines(self.r) as (row, line):
            inside = (row >= 0) & (row < image.size[1])
            source = image.row(of.n, self._channel(image, of), of.plane, row)
            with wide.each(self.r) as (column, position):
                at = line * self.line + position * self.pixel
                turn = self._copy_in if image.last else self._turn_in
                turn(image, of, source, column, wide.length, at, inside)

    def drain(
        self, image: Image, of: Channels, high: Runs, wide: Runs, finish: Finish | None = None
    ) -> None:
        """Write what a block has made, as far as it exists, and as it is finished."""
        finish = finish or _as_it_is
        begin = self.r.const(0) if wide.skip is None else wide.skip
        with high.lines(self.r, image.size[1]) as (row, line):
            target = image.row(of.n, self._channel(image, of), of.plane, row)
            with wide.each(self.r) as (column, position):
                at = line * self.line + position * self.pixel
                end = self.r.minimum(wide.length, image.size[2] - column)
                turn = self._copy_out if image.last else self._turn_out
                turn(image, of, target, column, begin, end, at, finish)

    def each_vector(self, change: Callable[[Value], Value]) -> None:
        """Record a change of every vector of the strip."""
        with (
            self.r.loop(0, self.lines) as line,
            self.r.loop(0, self.columns * self.pixel, self.lanes) as vector,
        ):
            at = line.index * self.line + vector.index
            self.r.store(self.buffer, at, change(self.r.load(self.buffer, at, self.lanes)))

    def _copy_in(
        self, image: Image, of: Channels, source: Value, column: Value, length: int, at: Value,
        inside: Value,
    ) -> None:  # fmt: skip
        r = self.r
        begin = r.minimum(r.maximum(0 - column, 0), length)
        end = r.maximum(r.minimum(image.size[2] - column, length), begin)
        begin, end = (r.select(inside, place, r.const(length)) for place in (begin, end))
        zero = r.const(0, self.buffer.kind, self.lanes)
        for some in ((0, begin), (end, length)):
            with r.loop(*some) as loop, r.loop(0, self.pixel, self.lanes) as vector:
                r.store(self.buffer, at + loop.index * self.pixel + vector.index, zero)
        source = source + column * image.channels
        if of.channels == image.channels == self.pixel:
            with r.loop(begin * self.pixel, end * self.pixel, self.lanes) as loop:
                number = r.load(image.buffer, source + loop.index, self.lanes)
                r.store(self.buffer, at + loop.index, number)
            return
        mask = of.mask(r, self.lanes)
        with r.loop(begin, end) as loop, r.loop(0, of.count) as vector:
            offset = of.offset(r, vector.index, self.lanes)
            number = r.load(
                image.buffer, source + loop.index * image.channels + offset, self.lanes, mask
            )
            r.store(self.buffer, at + loop.index * self.pixel + vector.index * self.lanes, number)

    def _turn_in(
        self, image: Image, of: Channels, source: Value, column: Value, length: int, at: Value,
        inside: Value,
    ) -> None:  # fmt: skip
        r, lanes = self.r, self.lanes
        with r.loop(0, length, lanes) as loop:
            first = column + loop.index
            mask = r.below(image.size[2] - first, lanes) & ~r.below(0 - first, lanes)
            mask = mask & r.splat(inside, lanes)
            rows = [
                r.load(image.buffer, source + first + image.channel_step * channel, lanes, mask)
                for channel in range(min(lanes, of.channels))
            ]
            rows += rows[-1:] * (lanes - len(rows))  # nobody reads them
            for n, pixel in enumerate(transposed(r, rows)):
                r.store(self.buffer, at + (loop.index + n) * self.pixel, pixel)

    def _copy_out(
        self, image: Image, of: Channels, target: Value, column: Value, begin: Value, end: Value,
        at: Value, finish: Finish,
    ) -> None:  # fmt: skip
        r = self.r
        target = target + column * image.channels
        if of.channels == image.channels == self.pixel:
            with r.loop(begin * self.pixel, end * self.pixel, self.lanes) as loop:
                number = r.load(self.buffer, at + loop.index, self.lanes)
                to = target + loop.index
                r.store(image.buffer, to, finish(number, to, None))
            return
        mask = of.mask(r, self.lanes)
        with r.loop(begin, end) as loop, r.loop(0, of.count) as vector:
            offset = of.offset(r, vector.index, self.lanes)
            number = r.load(
                self.buffer, at + loop.index * self.pixel + vector.index * self.lanes, self.lanes
            )
            to = target + loop.index * image.channels + offset
            r.store(image.buffer, to, finish(number, to, mask), mask)

    def _turn_out(
        self, image: Image, of: Channels, target: Value, column: Value, begin: Value, end: Value,
        at: Value, finish: Finish,
    ) -> None:  # fmt: skip
        r, lanes = self.r, self.lanes
        with r.loop(begin, end, lanes) as loop:
            pixels = [
                r.load(self.buffer, at + (loop.index + n) * self.pixel, lanes) for n in range(lanes)
            ]
            mask = r.below(end - loop.index, lanes)
            for channel, row in enumerate(transposed(r, pixels)[: of.channels]):
                place = target + column + loop.index + image.channel_step * channel
                r.store(image.buffer, place, finish(row, place, mask), mask)

    def _channel(self, image: Image, of: Channels) -> Value:
        """The channel that a row's place is counted from."""
        zero = self.r.const(0)
        return of.first if image.last else of.first + of.offset(self.r, zero, self.lanes)


def _as_it_is(number: Value, place: Value, mask: Value | None) -> Value:
    return number


def line_of(columns: int, pixel: int, lanes: int) -> int:
    """Numbers of a strip's line: squares that are transposed reach past the last column."""
    return (columns + lanes - 1) * pixel
