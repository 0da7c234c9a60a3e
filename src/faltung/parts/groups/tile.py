"""How to cut rows of outputs into tiles whose lanes are several small groups of channels.

A tile is one vector of channels × `columns` neighbouring outputs of a row, or of two or four rows
that are computed together (see `parts.rows`). What counts are multiply-adds and the picks of lanes
between them, which the same parts of a core do; a pixel is picked from once for all taps and
outputs of the tile that read it, so the more columns, the fewer picks for a multiply-add.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from ...lang.target import host_target
from ...ops.geometry import Axis
from ..rows import fours
from ..rows.pairs import Pairing, pairing
from .lanes import GroupLanes

MOST_CODE = 2200  # operations: a tenth of a second to compile
FEW = 2  # pixels of a tile that may not be there, and are masked in all tiles
_LEAST_SAVED = 1.25  # times fewer products with pairs; they read each pixel more than once
_LOAD, _BESIDES = 0.55, 0.1  # cycles for a load: alone, and where arithmetic is the bound
_TILE, _STORE = 20, 2  # cycles until a tile is under way, and for a vector stored
_FOUR_OUTPUTS = 10  # operations from the products of a column to four rows' outputs


@dataclass(frozen=True)
class GroupTile:
    """`columns` outputs of a row, of a pair of rows or of `four`; `taps` of a kernel row at a time.

    An output's sum is in `sets` parts, see `GroupLanes.merged`.
    """

    pairs: Pairing | None
    columns: int
    taps: int
    sets: int = 1
    four: bool = False

    @property
    def down(self) -> int:
        """Rows of outputs."""
        return fours.OUTPUTS if self.four else 2 if self.pairs else 1

    @property
    def products(self) -> int:
        """Rows of products with rows of weights; 0 where they are those of the kernel."""
        return fours.PRODUCTS if self.four else len(self.pairs.products) if self.pairs else 0

    @property
    def sums(self) -> int:
        """Vectors that the sums of a row of the tile are."""
        return self.columns * self.sets

    @property
    def some(self) -> int:
        """How many sums of rows are kept at a time: the more, the seldomer weights are loaded.

        Half of them do best where there are 32 registers, though a few are stored meanwhile.
        """
        if _registers() == 16:
            return max(1, self.columns // 2)
        return -(-(self.columns + self.taps - 1) // 2)

    def code(self, lanes: GroupLanes, wide: Axis) -> int:
        """About how many operations are written down.

        Tiles inside, at the left and at the right end of a row, unless they differ by few pixels.
        """
        kinds = 1 if sum(wide.padding) <= FEW else 3
        reads = len(readers(self.columns, self.taps, wide))
        turns = lanes.inputs * (self.columns + 1) * self.taps + reads * lanes.set_picks(self.sets)
        if self.products:
            return kinds * self.products * (turns + (5 if self.four else 4) * reads)
        rest = wide.kernel_size % self.taps
        return kinds * (turns + 3 * reads * lanes.inputs) * (2 if rest else 1)

    def chances(self, lanes: GroupLanes, wide: Axis) -> int:
        """Products of pixels with weights of all rows at once, or of one row of the kernel."""
        return max(self.products, 1) * lanes.inputs * len(readers(self.columns, self.taps, wide))

    def cycles(self, lanes: GroupLanes, axes: tuple[Axis, Axis, Axis]) -> float:
        """Cycles of one core that all outputs of an image take."""
        depth, high, wide = axes
        whole, rest = divmod(wide.kernel_size, self.taps)
        reads = whole * len(readers(self.columns, self.taps, wide))
        reads += len(readers(self.columns, rest, wide))
        weights, products = wide.kernel_size * lanes.inputs, self.columns * wide.kernel_size
        picks = lanes.set_picks(self.sets)
        arithmetic = products * lanes.inputs + reads * (picks + self._transforms[0])
        loads = reads * lanes.vectors * (self._transforms[1] or lanes.turns(self.sets))
        # weights are loaded for half of the pixels, where sums of rows wait in registers
        loads += weights * (2 if self.products else 1)
        row = max(arithmetic / 2 + _BESIDES * loads, _LOAD * loads)
        planes, lines = depth.executed / depth.output_size, -(-high.output_size // self.down)
        rows = planes * (self.products * lines if self.products else high.executed)
        stores = self.down * self.columns
        tiles = -(-wide.output_size // self.columns) * depth.output_size * lanes.blocks
        # sets are turned to rows each, and then picked from and added up
        merging = stores * (self.sets - 1) * (1.5 if self.pairs else 1)
        if self.four:
            merging = _FOUR_OUTPUTS / 2 * self.columns
        return tiles * (row * rows + lines * (merging + stores * _STORE + _TILE))

    @property
    def _transforms(self) -> tuple[float, float]:
        """Operations on pixels, and loads of them, for a product; no loads: one in every turn."""
        if self.four:
            return 2, 14 / fours.PRODUCTS
        return (1, 2) if self.pairs else (0, 0)


def readers(columns: int, taps: int, axis: Axis) -> dict[int, list[tuple[int, int]]]:
    """The outputs and taps that read a pixel, by its distance from what the first one reads."""
    found: dict[int, list[tuple[int, int]]] = {}
    for output in range(columns):
        for tap in range(taps):
            found.setdefault(output * axis.stride + tap * axis.dilation, []).append((output, tap))
    return dict(sorted(found.items()))


@lru_cache(maxsize=1024)
def best_tile(lanes: GroupLanes, axes: tuple[Axis, Axis, Axis], four: bool = False) -> GroupTile:
    """The tile that takes the fewest cycles, on this machine, of those that compile soon."""
    choices = list((_choices_of_four if four else _choices)(lanes, axes[1], axes[2]))
    small = [tile for tile in choices if tile.code(lanes, axes[2]) <= MOST_CODE]
    return min(small or choices[-1:], key=lambda tile: tile.cycles(lanes, axes))


def _choices(lanes: GroupLanes, high: Axis, wide: Axis) -> Iterator[GroupTile]:
    """Pairs of rows, where they save products, and single rows; with ever smaller tiles."""
    registers = _registers()
    pairs = pairing(high.kernel_size, high.stride, high.dilation)
    taps = min(wide.kernel_size, registers // 4)
    for sets in _sets(lanes):
        if pairs.saved >= _LEAST_SAVED and high.output_size > 1:
            for most in (registers // 2 - 2, registers // 4, registers // 8):
                columns = _evenly(wide.output_size, most // sets)
                yield GroupTile(pairs, columns, wide.kernel_size, sets)
        for most in (registers // 2 - 2 * (sets - 1), registers // 4, registers // 8):
            yield GroupTile(None, _evenly(wide.output_size, most), taps, sets)
    yield GroupTile(None, 1, 1)


def _choices_of_four(lanes: GroupLanes, high: Axis, wide: Axis) -> Iterator[GroupTile]:
    """Four rows: two products of every column are summed up at a time, beside what others left."""
    for most in (_registers() // 4, _registers() // 8):
        yield GroupTile(None, _evenly(wide.output_size, most), wide.kernel_size, four=True)


def _sets(lanes: GroupLanes) -> tuple[int, ...]:
    """Into how many sets to part the sums, on trial.

    Four inputs and more gain; with two, as many picks are saved as it costs. Where there are 16
    registers it is better than the count says, since fewer pixels wait in them for their turns.
    """
    if lanes.most_sets < 4:
        return (1,)
    return (2,) if _registers() == 16 else (1, 2)


def _registers() -> int:
    return 32 if host_target().vector_bits == 512 else 16


def _evenly(outputs: int, most: int) -> int:
    """Outputs of each of as few tiles as there can be with at most so many."""
    return -(-outputs // -(-outputs // most))
