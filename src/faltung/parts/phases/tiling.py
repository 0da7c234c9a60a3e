"""How to cut a transposed convolution that runs phase by phase into tiles and blocks.

A tile is `vectors` vectors of result channels × `rows` × `columns` results of one phase, all of it
in registers. A block is what one thread does at a time: results of all phases around some rows and
columns of y, in some of the channels, for which that part of y is copied to a panel. The choices
are counted through, in cycles of one core.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from math import inf, prod

from ...lang.target import host_target
from ..gemm.sharing import Pieces, cut, doubled, evenly, largest_share
from .classes import PhaseAxis

_MOST_VECTORS = 6
_ENOUGH_SUMS = 8  # two additions begin in each cycle, and one takes four
# cycles of a turn, fitted to tiles of all sizes: for each multiply-add that has a unit, each load,
# each place, whose numbers come from the second cache, and on top
_SUM, _LOAD, _PLACE, _TURN = 1.1, 0.58, 0.1, 0.8
_NEAR, _FAR = 24, 7  # bytes that arrive in a cycle from the second cache, from beyond
_LATE = 0.3  # of the time that weights from beyond take, where they are fetched ahead
_TILE = 30  # cycles until a tile is under way
_STRETCH = 20  # cycles to begin reading a channel's pixels, which follow each other
_SQUARE = 5.6  # cycles to transpose a vector of a square, from memory to memory


@dataclass(frozen=True)
class PhaseProblem:
    """A transposed convolution, and the machine that it is to be cut for."""

    axes: tuple[PhaseAxis, PhaseAxis, PhaseAxis]
    """Depth, height and width."""

    batch: int
    groups: int
    channels: int
    """Result channels of a group; of all phases of a row, where those lie side by side."""

    terms: int
    """Channels of y in a group."""

    dtype: str
    """Of the images."""

    last: bool
    """Whether channels come last in both images."""

    bias: bool
    activation: str | None
    side: "SideBySide | None"

    lanes: int
    """Numbers in a vector of results; a machine's vectors may be longer."""

    item_size: int
    """Bytes of a number in a register."""

    cores: int
    cache: int
    """Bytes of a core's second cache."""

    @property
    def turned(self) -> bool:
        """Whether results of one channel lie side by side, so that rows are transposed."""
        return not self.last and self.side is None


@dataclass(frozen=True)
class SideBySide:
    """How phases of a row lie side by side in vectors, as if they were channels.

    Result k of the width axis is then `unit` numbers that follow each other in memory: the phases
    of one channel, or all channels of all phases where those come last.
    """

    unit: int
    padded: int
    """Numbers of vectors for a unit."""

    shift: int
    """Where unit 0 begins in a row; negative if some of its numbers do not exist."""

    length: int
    """Numbers of a row."""


@dataclass(frozen=True)
class PhaseTiling:
    """A tile, a block, and the cycles of one core that everything takes."""

    vectors: int
    rows: int
    columns: int
    block_rows: int
    """Results of a phase, in whole tiles."""

    block_columns: int
    strip: int
    """Columns whose phases are computed before any of them is stored, in whole tiles."""

    parts: int
    """Into how many parts the channels are cut, for threads to share."""

    cycles: float
    last: float = inf
    """Those of the core that is done last."""


@lru_cache(maxsize=1024)
def phase_tiling(of: PhaseProblem) -> PhaseTiling:
    """The fastest way to cut it, on this machine."""
    cycles, tile = min((_tile_cycles(of, *tile), tile) for tile in _tiles(of))
    found = sorted(
        (_block(of, tile, block, cycles) for block in _blocks(of, tile)),
        key=lambda tiling: tiling.cycles,
    )
    best, soonest = found[0], inf
    for tiling in found:
        if tiling.cycles / of.cores >= soonest:
            break  # none that follows is done sooner
        last = tiling.cycles * largest_share(_pieces_of_work(of, tiling), of.cores)
        if last < soonest:
            best, soonest = tiling, last
    return replace(best, last=soonest)


def _tiles(of: PhaseProblem) -> Iterator[tuple[int, int, int]]:
    registers = 32 if host_target().vector_bits == 512 else 16
    height, width = (max(axis.most, 1) for axis in of.axes[1:])
    for vectors in range(1, min(-(-of.channels // of.lanes), _MOST_VECTORS) + 1):
        places = (registers - 1 - vectors) // vectors
        for columns in range(1, min(places, width) + 1):
            yield vectors, 1, columns
        for rows in range(2, min(places // width, height) + 1):
            yield vectors, rows, width


def _tile_cycles(of: PhaseProblem, vectors: int, rows: int, columns: int) -> float:
    """Cycles of all tiles."""
    blocks = of.batch * of.groups * -(-of.channels // (of.lanes * vectors))
    counts = [axis.sums(size) for axis, size in zip(of.axes, (1, rows, columns), strict=True)]
    tiles, turns = prod(count[0] for count in counts), prod(count[1] for count in counts)
    places = rows * columns
    weights = vectors * of.lanes * of.item_size
    turn = max(
        max(vectors * places, _ENOUGH_SUMS) / 2 * _SUM,
        (vectors + places) * _LOAD,
        weights / _NEAR,
    )
    far = _far(of, weights, -(-of.axes[1].most // rows) * -(-of.axes[2].most // columns))
    turn += _TURN + places * _PLACE + far * max(0.0, weights / _FAR - turn)
    storing: float = vectors * places
    if of.turned:  # with the other phases of the row
        squares = -(-columns * of.axes[2].stride // of.lanes) / of.axes[2].stride
        storing += vectors * rows * squares * of.lanes * _SQUARE
    return blocks * (of.terms * turns * turn + tiles * (_TILE + storing))


def _far(of: PhaseProblem, weights: int, tiles: int) -> float:
    """The part of all turns whose weights come from beyond the second cache.

    `weights` are the bytes of one turn and `tiles` those of a phase, which share their weights.
    """
    row = of.terms * prod(axis.turns for axis in of.axes) * of.axes[2].phases * weights
    everything = row * of.axes[1].phases * of.axes[0].phases * of.channels
    if everything * of.item_size / weights < of.cache / 2:
        return 0.0
    return 1.0 if row > of.cache / 2 else 1 / tiles


def _blocks(of: PhaseProblem, tile: tuple[int, int, int]) -> Iterator[tuple[int, int, int]]:
    """Rows, columns and parts of the blocks that are worth a thought."""
    vectors, rows, columns = tile
    height, width = (max(axis.most, 1) for axis in of.axes[1:])
    most_parts = -(-of.channels // (of.lanes * vectors))
    for block_columns in evenly(width, columns):
        for block_rows in evenly(height, rows) if block_columns >= width else (rows,):
            for parts in doubled(most_parts):
                yield block_rows, block_columns, parts


def _pieces_of_work(of: PhaseProblem, tiling: PhaseTiling) -> tuple[Pieces, ...]:
    """How the items are counted, innermost first, and what each has to do."""
    depth, high, wide = of.axes
    blocks = -(-of.channels // (of.lanes * tiling.vectors))
    return (
        cut(wide.most, tiling.block_columns), cut(high.most, tiling.block_rows),
        cut(blocks, -(-blocks // tiling.parts)),
        cut(max(1, of.batch * of.groups * depth.results), 1),
    )  # fmt: skip


def _block(
    of: PhaseProblem, tile: tuple[int, int, int], block: tuple[int, int, int], computing: float
) -> PhaseTiling:
    """The cut with its cycles."""
    depth, high, wide = of.axes
    block_rows, block_columns, parts = block
    blocks = -(-high.most // block_rows) * -(-wide.most // block_columns)
    items = max(1, of.batch * of.groups * depth.results * blocks * parts)
    rows, columns = extent(high, block_rows), extent(wide, block_columns)
    places = depth.turns * rows * columns
    copying = depth.turns * rows * 20 + places * of.terms / of.lanes * 2
    if of.turned:
        copying = -(-places // of.lanes) * -(-of.terms // of.lanes) * of.lanes * _SQUARE
        copying += depth.turns * of.terms * _STRETCH
    # a panel that the second cache does not hold comes from far away for every block of channels,
    # and so do weights for every block of results, if for the most part in time
    size = places * of.terms * of.item_size
    passes = -(-of.channels // (tile[0] * of.lanes)) / parts
    far = passes * high.phases * size / _FAR if size > of.cache / 3 else 0.0
    weights = prod(axis.kernel_size for axis in of.axes) * of.terms * of.channels * of.item_size
    again = of.batch * of.groups * depth.results * (blocks - 1) * weights / _FAR * _LATE
    cycles = computing + items * (copying + far) + (again if weights > of.cache / 2 else 0.0)
    strip = _strip(of, tile, block_columns)
    return PhaseTiling(*tile, block_rows, block_columns, strip, parts, cycles)


def _strip(of: PhaseProblem, tile: tuple[int, int, int], block_columns: int) -> int:
    """A tile's columns, so that they are stored while others are computed.

    All columns if the weights of one phase stay in the second cache, but not those of a row's.
    """
    phase = of.terms * prod(axis.turns for axis in of.axes) * tile[0] * of.lanes * of.item_size
    fits = phase * of.axes[2].phases <= of.cache / 4 or phase > of.cache / 2
    return tile[2] if fits else block_columns


def extent(axis: PhaseAxis, block: int) -> int:
    """Places of y that a block of so many results of each phase reads."""
    low, high = axis.reads
    return high - low + block
