"""Contiguous images turned into pixels and back: a vector of channels for every place.

A block of as many channels as a vector has lanes is read row by row and transposed in registers, a
square of channels × places at a time; results go back the same way. Nothing is read or written
beyond the places that are asked for.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ...lang.ops import Buffer
from ...lang.routine import Routine, Value
from ..transpose import transposed


@dataclass(frozen=True)
class Turning:
    """Turns places of `real` channels into vectors of `lanes`, of kind f32 or f64, and back."""

    r: Routine
    lanes: int
    real: int
    kind: str

    def turn_in(
        self, x: Buffer, source: Value, plane: int, count: Value, grain: int, to: Buffer, at: Value
    ) -> None:
        """`count` numbers of each channel, the first one at `source`, become as many pixels.

        The channels are `plane` numbers apart in `x`; the pixels are vectors of `to` from the
        `at`-th on. `count` is a multiple of `grain`. Lanes without a channel become 0.
        """
        r, lanes = self.r, self.lanes
        nothing = r.const(0, self.kind, lanes)

        def piece(place: Value, mask: Value | None) -> None:
            rows = [r.load(x, source + place + n * plane, lanes, mask) for n in range(self.real)]
            rows += [nothing] * (lanes - self.real)
            for n, turned in enumerate(transposed(r, rows)):
                r.store(to, (at + place + n) * lanes, turned)

        self._pieces(count, grain, piece)

    def turn_out(
        self, pixels: Buffer, at: Value, count: Value, grain: int, y: Buffer, to: Value, plane: int
    ) -> None:
        """`count` pixels from the `at`-th on become as many numbers of each channel, from `to` on.

        Whole squares are read, so there must be memory behind the last pixel.
        """
        r, lanes = self.r, self.lanes

        def piece(place: Value, mask: Value | None) -> None:
            given = [r.load(pixels, (at + place + n) * lanes, lanes) for n in range(lanes)]
            for n, row in enumerate(transposed(r, given)[: self.real]):
                r.store(y, to + place + n * plane, row, mask)

        self._pieces(count, grain, piece)

    def _pieces(
        self, count: Value, grain: int, piece: Callable[[Value, Value | None], None]
    ) -> None:
        """`piece(place, mask)` for every vector of `count` numbers, a multiple of `grain`."""
        r, lanes = self.r, self.lanes
        if count.op.name == "const" and grain >= lanes:
            with r.loop(0, grain, lanes) as loop:  # the last overlaps the one before
                piece(r.minimum(loop.index, grain - lanes), None)
            return
        whole = count // lanes * lanes
        with r.loop(0, whole, lanes) as loop:
            piece(loop.index, None)
        if grain % lanes:
            with r.when(whole < count):
                piece(whole, r.below(count - whole, lanes))
