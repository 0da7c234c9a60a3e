"""Lines of an image transformed for minimal filtering, in a thread's own memory.

    V_i[u] = Σ_j Bᵀ[i, j] · (line m·u + j of a phase)                i, j = 0 … 2m − 2

A line is a row in 2-D and a plane in 3-D, in pixels that are vectors of channels. Channels-last
images have such pixels; the lines of contiguous ones are turned first, m at a time, in a ring that
holds those of two u, which is all that one u sees. Lines that do not exist count as 0: a u with
such a line loads under masks. The last `kept` u are in memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from ...lang.ops import Buffer
from ...lang.routine import Routine, Value
from ..winograd.transforms import mapped
from .blocks import ChannelBlocks
from .grouped_taps import PRODUCTS, TILE, GroupedTaps, matrices
from .turning import Turning


@dataclass(frozen=True)
class Lines:
    """An image of `channels` in `count` lines of `whole` pixels, `last` if channels lie innermost.

    Of every line `inner` pixels are looked at, from a place on that is known when a routine runs.
    """

    buffer: Buffer
    channels: int
    count: int
    whole: int
    inner: int
    last: bool


@dataclass
class TransformedLines:
    """Fills `made` [2m − 1, kept, inner, lanes]; `pixels`, if any, is the ring of turned lines."""

    r: Routine
    cut: GroupedTaps
    blocks: ChannelBlocks
    kind: str
    lines: Lines
    kept: int
    made: Buffer
    pixels: Buffer | None

    @staticmethod
    def pitch(inner: int, lanes: int) -> int:
        """From one line of pixels to the next where lines are turned: at least a square."""
        return max(inner, lanes)

    @classmethod
    def ring(cls, inner: int, lanes: int) -> int:
        """Pixels of a ring of turned lines."""
        return 2 * TILE * cls.pitch(inner, lanes)

    def start(
        self, image: Value, channel: Value, phase: Value, u: Value, pixel: Value | int = 0
    ) -> None:
        """Turn to a block of channels of an image, a phase, a place in lines, and a first u."""
        self.image, self.channel, self.phase, self.pixel = image, channel, phase, pixel
        if self.pixels is not None:
            with self.r.when(u < self.cut.behind):
                self._turn_in(self.pixels, u)

    def fill(self, u: Value) -> None:
        """V[u]; what came before it must have been filled from the start on."""
        r, last = self.r, PRODUCTS - 1
        if self.pixels is not None:
            self._turn_in(self.pixels, u + 1)
        inside = ~(self._line(u, 0) < 0) & (self._line(u, last) < self.lines.count)
        whole = self.blocks.mask(r) if self.lines.last else None
        with r.when(inside):
            self._transform(u, [whole] * PRODUCTS)
        with r.when(~inside):
            masks = []
            for j in range(PRODUCTS):
                exists = self._exists(self._line(u, j))
                lanes = r.select(exists, r.const(self.blocks.real), r.const(0))
                masks.append(r.below(lanes, self.blocks.lanes))
            self._transform(u, masks)

    def place(self, product: Value | int, u: Value) -> Value:
        """Where the first pixel of V_i[u] is, in pixels; u counts from the first that is seen."""
        return (u % self.kept + product * self.kept) * self.lines.inner

    def _line(self, u: Value, j: Value | int) -> Value:
        """Which line of the image is input j of u; it may be one that does not exist."""
        place = (u * TILE + j) * self.cut.dilation + self.phase
        return place + self.cut.place(self.cut.lead)

    def _exists(self, line: Value) -> Value:
        return ~(line < 0) & (line < self.lines.count)

    def _turn_in(self, pixels: Buffer, u: Value) -> None:
        """The first m lines of u become pixels, if they exist."""
        r, lines, lanes = self.r, self.lines, self.blocks.lanes
        turning = Turning(r, lanes, self.blocks.real, self.kind)
        plane, inner = lines.count * lines.whole, lines.inner
        first = (self.image * lines.channels + self.channel) * plane + self.pixel
        with r.loop(0, TILE) as loop:
            line = self._line(u, loop.index)
            with r.when(self._exists(line)):
                to = (u % 2 * TILE + loop.index) * self.pitch(inner, lanes)
                source = first + line * lines.whole
                turning.turn_in(lines.buffer, source, plane, r.const(inner), inner, pixels, to)

    def _transform(self, u: Value, masks: Sequence[Value | None]) -> None:
        """V[u] of lines that exist where their masks are not empty."""
        r, inner, lanes = self.r, self.lines.inner, self.blocks.lanes
        sources = [self._source(u, j) for j in range(PRODUCTS)]
        slot = u - self.cut.first
        with r.loop(0, inner) as loop:
            values = [
                r.load(buffer, first + loop.index * step, lanes, mask)
                for (buffer, first, step), mask in zip(sources, masks, strict=True)
            ]
            for i, value in enumerate(mapped(r, matrices().bt, values, self._factor)):
                r.store(self.made, (self.place(i, slot) + loop.index) * lanes, value)

    def _source(self, u: Value, j: int) -> tuple[Buffer, Value, int]:
        """Where input j of u lies: buffer, index of the first pixel, and step to the next."""
        lines, lanes = self.lines, self.blocks.lanes
        if self.pixels is not None:
            slot = (u + j // TILE) % 2 * TILE + j % TILE
            return self.pixels, slot * (self.pitch(lines.inner, lanes) * lanes), lanes
        line = self.image * lines.count + self._line(u, j)
        first = (line * lines.whole + self.pixel) * lines.channels + self.channel
        return lines.buffer, first, lines.channels

    def _factor(self, number: Fraction) -> Value:
        return self.r.const(float(number), self.kind, self.blocks.lanes)
