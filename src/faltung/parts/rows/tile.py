"""How to cut a row of outputs into tiles that live in registers.

A tile is `channels` output channels × `vectors` vectors of neighbouring outputs. One kernel row of
one input channel is a turn: for each of its taps a stretch of inputs is made for every vector and
multiplied by the weights of all channels. The more channels, the fewer loads for a multiply-add;
but a row must be cut into whole vectors, the channels into whole tiles, and all of it has to fit
into the registers. So the choices are counted through.
"""

from dataclasses import dataclass
from functools import lru_cache

from ...lang.target import host_target
from ..lanes import picks

ENOUGH_SUMS = 8  # two additions begin in each cycle, and one takes four
UNROLLED_TAPS = 16  # a longer kernel row is a loop over pieces of it
_MOST_CODE = 1200  # operations to write down for a tile: a tenth of a second to compile
_LONG_PIECES = 3  # a loop over a long kernel row and what is left over; half as much in each
_FAR_ROWS, _FAR_STORE = 13, 8  # rows that are written at once, and cycles for one more


@dataclass(frozen=True)
class Row:
    """A row of `columns` outputs in `channels` output channels, and its kernel row."""

    columns: int
    channels: int
    taps: int
    stride: int
    item_size: int
    """Bytes of a number in a register."""
    widened: bool
    """Whether the image is kept in 16 bits."""
    far: bool = False
    """Whether the results go beyond the caches near a core."""


@dataclass(frozen=True)
class RowTile:
    """A tile of `channels` outputs × `vectors` vectors of `lanes` numbers of a row."""

    row: Row
    lanes: int
    channels: int
    vectors: int

    def cycles(self, turns: float) -> float:
        """Estimated cycles of one core for the whole row in all channels, in so many turns."""
        needed = -(-self.row.columns // self.lanes)
        whole, rest = divmod(needed, self.vectors)
        turn = whole * self._turn(self.vectors) + (self._turn(rest) if rest else 0)
        stores = needed * (self.channels + 10)
        if self.row.far:
            stores += needed * _FAR_STORE * max(0, self.channels - _FAR_ROWS)
        return -(-self.row.channels // self.channels) * (turns * turn + stores)

    def _turn(self, vectors: int) -> float:
        """What the busiest part of the core takes for one turn of one tile."""
        # picks and what widens 16 bits take the place of multiply-adds; a stretch mostly lies
        # across two cache lines, which is loading twice
        making = picks(self.row.stride) + (2 if self.row.widened else 0)
        arithmetic = (self.channels + making) * vectors / 2
        loading = (self.channels + 2 * vectors) / 2
        return self.row.taps * max(arithmetic, loading, ENOUGH_SUMS / 2) + 3

    def code(self, taps: int) -> int:
        """About how many operations a tile is written down as that unrolls so many taps."""
        weights, stretches = 5 * self.channels, (3 + picks(self.row.stride)) * self.vectors
        return taps * (weights + stretches + self.channels * self.vectors)


@lru_cache(maxsize=1024)
def best_tile(row: Row, turns: float) -> RowTile:
    """The tile of a row that takes the fewest cycles, on this machine."""
    target = host_target()
    lanes = target.lanes(row.item_size)
    while lanes > 4 and row.columns <= lanes // 2:
        lanes //= 2
    # besides its sums a vector needs its stretch and what that is picked from; and LLVM wants a few
    # registers more than that before it stores none of them
    registers = (32 if target.vector_bits == 512 else 16) * 7 // 8
    choices = []
    for vectors in range(1, min(-(-row.columns // lanes), ENOUGH_SUMS) + 1):
        most = registers // vectors - row.stride - 1
        if vectors == 1:
            most = max(most, 4)
        elif vectors > 4:  # only to have enough sums
            most = ENOUGH_SUMS // vectors
        channels = range(1, min(most, row.channels) + 1)
        choices += [RowTile(row, lanes, c, vectors) for c in channels]
    taps = row.taps if row.taps <= UNROLLED_TAPS else _LONG_PIECES * UNROLLED_TAPS // 2
    small = [choice for choice in choices if choice.code(taps) <= _MOST_CODE]
    return min(small or choices[:1], key=lambda tile: tile.cycles(turns))
