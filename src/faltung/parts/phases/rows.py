"""How to cut a transposed convolution of few channels, lanes along the rows, into tiles.

A tile is some channels × neighbouring rows of one phase × vectors along a row, in every phase that
the row has: those are woven together before they are stored. For each row of y that the tile reads,
each stretch of it is loaded once for every result row, phase and channel that uses it. All of the
sums have to fit into the registers, so the choices are counted through.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod

from ...lang.target import host_target
from .classes import PhaseAxis

_MOST_VECTORS, _MOST_ROWS, _MOST_CHANNELS = 4, 8, 8
_ENOUGH_SUMS = 8  # two additions begin in each cycle, and one takes four
# cycles of a core, fitted to tiles of all sizes: for each multiply-add that has a unit, each load
# that has one, a row of y that a tile reads, a tile, and a vector of results
_SUM, _LOAD, _ROW, _TILE, _STORE = 1.4, 0.6, 4.0, 8.0, 5.5
_MOST_CODE = 2400  # operations to write down for all tiles: up to 0.3 s to compile


@dataclass(frozen=True)
class RowPhases:
    """A transposed convolution: depth, height and width, and channels of a group."""

    axes: tuple[PhaseAxis, PhaseAxis, PhaseAxis]
    channels: int
    """Result channels of a group."""

    terms: int
    """Channels of y in a group."""

    lanes: int
    widened: bool
    """Whether images are kept in 16 bits."""

    @cached_property
    def taps(self) -> dict[int, list[tuple[int, int]]]:
        """What each stretch along a row is for: its place before result 0 -> (phase, tap)."""
        wide, found = self.axes[2], dict[int, list[tuple[int, int]]]()
        for first in range(wide.phases):
            phase = wide.phase(first)
            for turn in range(phase.begin, wide.turns):
                tap = phase.residue + wide.period * (wide.turns - 1 - turn)
                found.setdefault(phase.base + turn * wide.step, []).append((first, tap))
        return dict(sorted(found.items()))

    @cached_property
    def multiplied(self) -> int:
        """Multiply-adds on a vector of every phase, for one row of y."""
        return sum(map(len, self.taps.values()))


@dataclass(frozen=True)
class RowTile:
    """A tile of `channels` × `rows` × `vectors` in every phase of a row."""

    of: RowPhases
    channels: int
    rows: int
    vectors: int

    @property
    def shares(self) -> bool:
        """Whether rows of y are loaded once for all result rows that use them."""
        return self.of.axes[1].step == 1

    @property
    def sums(self) -> int:
        """Vectors of sums."""
        return self.channels * self.rows * self.vectors * self.of.axes[2].phases

    @property
    def cycles(self) -> float:
        """Estimated cycles of one core for all results of a group of one picture."""
        of, (depth, high, wide) = self.of, self.of.axes
        tiles, turns, _ = high.sums(self.rows)
        sources = turns if not self.shares else turns + tiles * (self.rows - 1)
        vectors = -(-wide.most // of.lanes)
        across = -(-vectors // self.vectors)
        weights = turns * self.rows * self.channels * of.multiplied
        stretches = sources * len(of.taps) * vectors
        widening = 2 * stretches if of.widened else 0
        waiting = across * turns * _ENOUGH_SUMS * len(of.taps)
        arithmetic = (max(weights * vectors, waiting) + widening) / 2 * _SUM
        loading = (stretches + across * weights) / 2 * _LOAD
        each = max(arithmetic, loading) + across * sources * _ROW
        depths = depth.sums(1)
        storing = self.channels * self.rows * vectors * wide.phases * _STORE + across * _TILE
        blocks = -(-of.channels // self.channels)
        return blocks * (depths[1] * of.terms * each + depths[0] * tiles * storing)

    @property
    def code(self) -> int:
        """About how many operations a tile is written down as."""
        of, high = self.of, self.of.axes[1]
        loads, weights = len(of.taps) * self.vectors * 2, self.channels * of.multiplied * 4
        if not self.shares or self.rows == 1:
            bodies, users = self.rows if not self.shares else 1, self.rows
        else:
            bodies, users = self.rows + min(high.turns, self.rows) - 1, self.rows * high.turns
        return bodies * loads + users * (weights + self.channels * of.multiplied * self.vectors)


@lru_cache(maxsize=1024)
def row_tile(of: RowPhases) -> RowTile:
    """The tile that takes the fewest cycles on this machine."""
    choices, row = list(_tiles(of)), of.axes[2].most
    # at both borders and between them, unless a tile is the row
    kinds = {tile: 1 if row <= tile.vectors * of.lanes else 3 for tile in choices}
    small = [tile for tile in choices if tile.code * kinds[tile] <= _MOST_CODE]
    return min(small or choices[:1], key=lambda tile: tile.cycles)


def _tiles(of: RowPhases) -> Iterator[RowTile]:
    """Those that fit into the registers; at least one."""
    registers = 32 if host_target().vector_bits == 512 else 16
    high, wide = of.axes[1:]
    least = high.count(high.phases - 1)  # results of the phase that has the fewest
    for vectors in range(1, min(-(-wide.most // of.lanes), _MOST_VECTORS) + 1):
        for rows in range(1, min(least, _MOST_ROWS) + 1):
            for channels in range(1, min(of.channels, _MOST_CHANNELS) + 1):
                tile = RowTile(of, channels, rows, vectors)
                if tile.sums + vectors + 2 <= registers or prod((vectors, rows, channels)) == 1:
                    yield tile
