"""How to cut rows of outputs into tiles whose lanes are output channels.

A tile is `vectors` vectors of channels × `columns` neighbouring outputs of a row. A turn is `taps`
neighbouring taps of one kernel row in one input channel: their weights are loaded, and each number
of the input row that any of them reads is spread over the lanes once, for all the taps and outputs
that read it. The more of everything, the fewer loads for a multiply-add; but sums and weights have
to fit into the registers, and a row must be cut into whole tiles. So the choices are counted
through, in cycles of one core.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import gcd

from ...lang.target import host_target

_MOST_VECTORS, _MOST_COLUMNS = 6, 24
_ENOUGH_SUMS = 8  # two additions begin in each cycle, and one takes four
_LOAD, _BESIDES = 0.55, 0.1  # cycles for a load: alone, and where multiply-adds are the bound
_NEAR_BYTES, _FAR = (
    40 << 10,
    0.8,
)  # what stays in the first cache; cycles for a vector that does not
_SPARE = 2  # registers: with none to spare, tiles were slower than counted
_TURN, _TILE = 2, 30  # cycles until a turn, and a tile, is under way
_STORE, _TURNED_STORE = 1.2, 4.0  # cycles for a vector: as it is, or transposed
MOST_CODE = 460  # operations of a turn: a twentieth of a second to compile


@dataclass(frozen=True)
class ChannelRow:
    """A row of `columns` outputs in `channels` output channels, and its kernel row."""

    columns: int
    channels: int
    taps: int
    stride: int
    dilation: int
    lanes: int
    """Numbers in a vector."""
    item_size: int
    """Bytes of a number in a register."""
    turned: bool
    """Whether outputs of one channel lie side by side, so that tiles are transposed."""
    sets: int = 1
    """Sets of sums: 2 where two rows are summed up together, in turns of either."""

    @property
    def vectors(self) -> int:
        """Vectors of channels."""
        return -(-self.channels // self.lanes)


@dataclass(frozen=True)
class ChannelTile:
    """A tile of `vectors` vectors × `columns` outputs, `taps` of a kernel row at a time."""

    row: ChannelRow
    vectors: int
    columns: int
    taps: int

    @property
    def reads(self) -> int:
        """Numbers of an input row that a whole turn reads."""
        return self._reads(self.taps)

    @property
    def code(self) -> int:
        """About how many operations a turn is written down as, and what is left over of the row."""
        rest = self.row.taps % self.taps
        return sum(
            t * self.vectors * (self.columns + 3) + 4 * self._reads(t)
            for t in (self.taps, rest)
            if t
        )

    @property
    def registers(self) -> int:
        """Registers that a turn needs: sums, weights, a number, and one for whatever else."""
        return self.vectors * (self.row.sets * self.columns + self.taps) + 2

    def cycles(self, terms: float) -> float:
        """Estimated cycles of one core for a row, or two, in all channels.

        `terms` are the kernel rows in all input channels that are summed up.
        """
        whole, rest = divmod(self.row.taps, self.taps)
        term = whole * self._turn(self.taps) + (self._turn(rest) if rest else 0)
        weights = self.vectors * self.row.taps  # vectors of a term
        if terms * weights * self.row.lanes * self.row.item_size > _NEAR_BYTES:
            term += _FAR * weights
        outputs = self.vectors * self.columns * self.row.sets
        stores = outputs * (_TURNED_STORE if self.row.turned else _STORE)
        tiles = -(-self.row.columns // self.columns) * -(-self.row.vectors // self.vectors)
        return tiles * (terms * term + stores + _TILE)

    def _turn(self, taps: int) -> float:
        sums = self.vectors * self.columns
        arithmetic = sums * taps / 2 * max(1.0, _ENOUGH_SUMS / sums)
        loads = self._reads(taps) + self.vectors * taps
        return max(arithmetic + _BESIDES * loads, _LOAD * loads) + _TURN

    def _reads(self, taps: int) -> int:
        common = gcd(self.row.stride, self.row.dilation)
        # output q + d/g reads through tap t what output q reads through tap t + s/g
        again = max(0, self.columns - self.row.dilation // common)
        return self.columns * taps - again * max(0, taps - self.row.stride // common)


@lru_cache(maxsize=1024)
def best_tile(row: ChannelRow, terms: float) -> ChannelTile:
    """The tile of a row that takes the fewest cycles, on this machine."""
    registers = 32 if host_target().vector_bits == 512 else 16
    choices = [tile for tile in _choices(row) if tile.registers <= registers - _SPARE]
    return min(choices, key=lambda tile: tile.cycles(terms))


def _choices(row: ChannelRow) -> Iterator[ChannelTile]:
    """Tiles that are no larger than they need be; there is always the smallest."""
    # tiles that are transposed need registers for that as well
    most_vectors = 1 if row.turned else min(_MOST_VECTORS, row.vectors)
    most_columns = min(row.lanes // row.sets if row.turned else _MOST_COLUMNS, row.columns)
    # as many tiles a row as with fewer columns, or it would not be worth it
    widths = sorted({-(-row.columns // -(-row.columns // n)) for n in range(1, most_columns + 1)})
    for vectors in range(1, most_vectors + 1):
        for columns in widths:
            for taps in range(1, row.taps + 1):
                tile = ChannelTile(row, vectors, columns, taps)
                if taps > 1 and tile.code > MOST_CODE:
                    break
                yield tile
