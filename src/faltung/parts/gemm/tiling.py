"""How to cut a convolution that runs as a matrix product into tiles and blocks.

A tile is some output channels × some outputs of a few rows, all of it in registers. Its vectors run
along the channels, or along the row where an image has its pixels side by side. A block is what one
thread does at a time: some rows and columns of one output plane in some of the channels.

The more a tile holds, the fewer loads there are for a multiply-add; but channels and rows must be
cut into whole tiles, one of the two into whole vectors. The larger a block, the less of its border
is copied twice and the less often all weights come from beyond the second cache; but it must stay
in there, and there must be one for every core. So the choices are counted through, in cycles of a
core.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from math import log2, prod

from ..activation import is_long
from .columns import apart
from .problem import GemmProblem
from .sharing import Pieces, cut, doubled, evenly, largest_share

_MOST_VECTORS = 6
_ENOUGH_SUMS = 10  # two additions begin in each cycle, and one takes four
# cycles of a term, fitted to tiles of all sizes: for each multiply-add that has a unit, each load
# where those are too many, each number that is spread, and on top
_SUM, _LOAD, _SPREAD, _TERM = 1.03, 0.58, 0.1, 0.8
_BESIDES = 0.12  # for each load, where vectors are pixels
_PASSING = 0.003  # for each byte of those, which every block of channels reads anew
_STRAY = 2  # where pixels are taken from many pages of memory
_NEAR, _FAR = 22, 9  # bytes that arrive in a cycle from the second cache, and from beyond
_APART = 3  # from beyond in single lines
_WAITING = 0.5  # of the time it takes to fetch weights ahead
_TILE, _LOOP = 25, 6  # cycles until a tile is under way, and an innermost loop of it
_AHEAD = 0.1  # of the second cache for a block's pixels, where those are fetched ahead
_ITEM = 300  # and a block
_LONG = 20  # cycles of a vector's activation, if that is a long one
_MOST_CODE = 1800  # multiply-adds to write down for the tiles at the borders of a row
_MOST_BORDERS = 16  # of them, on the left
_TOGETHER = 90  # of one run of taps, in a loop
_LINE = 64  # bytes
_NEAR_PLANE = 1024  # bytes of a channel's plane up to which several are in a page of memory
_SQUARE = 7  # cycles to transpose a vector of a square, from memory to memory
COLLIDING, _WAYS = 4096, 8  # lines so far apart share the few ways of a set in the near cache


@dataclass(frozen=True)
class Tile:
    """What is in registers at a time: `channels` × `rows` × `columns` outputs.

    Of channels and columns one is a multiple of `lanes`: `vectors` vectors of that many.
    `columns_apart` says that tiles at the borders of a row are written down one by one. `cycles`
    are what all tiles take.
    """

    channels: int
    rows: int
    columns: int
    lanes: int
    along_row: bool
    columns_apart: bool
    cycles: float = 0.0

    @property
    def vectors(self) -> int:
        """Vectors along the axis that has them."""
        return (self.columns if self.along_row else self.channels) // self.lanes

    @property
    def unit(self) -> int:
        """What channels come in multiples of."""
        return 1 if self.along_row else self.lanes


@dataclass(frozen=True)
class Block:
    """What a thread does at a time, in one of `parts` parts of the channels.

    `cycles` are those of one core for everything, `last` those of the core that is done last.
    """

    rows: int
    columns: int
    parts: int
    cycles: float
    last: float


@lru_cache(maxsize=1024)
def best_tile(problem: GemmProblem) -> Tile:
    """The tile that takes the fewest cycles."""
    return min(tiles(problem), key=lambda tile: tile.cycles)


@lru_cache(maxsize=1024)
def best_block(problem: GemmProblem, tile: Tile, copied: bool) -> Block:
    """The block that is done first; `copied` says whether its inputs are copied to a panel."""
    sizes = list(_blocks(problem, tile))
    if copied:  # not more than the second cache has room for
        least = min(_inputs(problem, rows, columns) for rows, columns, _ in sizes)
        most = max(least, problem.cache * 3 // 4)
        sizes = [some for some in sizes if _inputs(problem, *some[:2]) <= most]
    elif tile.along_row and is_far(problem):  # the next block's pixels come while one is computed
        few = [some for some in sizes if _inputs(problem, *some[:2]) <= problem.cache * _AHEAD]
        sizes = few or sizes[:1]
    best: tuple[float, float, Block] | None = None
    for cycles, some in sorted((_cycles(problem, tile, copied, *some), some) for some in sizes):
        if best and cycles / problem.cores >= best[0]:
            break  # none that follows is done sooner
        last = cycles * largest_share(_pieces_of_work(problem, tile, *some), problem.cores)
        if not best or (last, cycles) < best[:2]:
            best = last, cycles, Block(*some, cycles, last)
    assert best
    return best[2]


def channel_parts(problem: GemmProblem, tile: Tile, parts: int) -> tuple[int, int]:
    """How many blocks of the tile's channels each of at most that many parts has; and the parts."""
    full = -(-problem.outputs // tile.unit) * tile.unit // tile.channels
    share = -(-full // parts)
    return share, -(-full // share)


def is_far(problem: GemmProblem) -> bool:
    """Whether the image of a pointwise convolution comes from beyond the second cache."""
    size = problem.inputs * problem.columns.inputs * problem.rows.inputs * problem.item_size
    return problem.taps == 1 and size > problem.cache / 4


def turns(problem: GemmProblem) -> bool:
    """Whether channels of a pixel are brought together in a panel, if vectors are channels.

    Then terms follow each other. Else each is in another line, and in another page of memory where
    planes are large.
    """
    moves = problem.taps > 1 or problem.columns.stride > 1
    return (
        moves
        and not problem.channels_last
        and problem.inputs >= problem.lanes
        and _plane_bytes(problem) > _NEAR_PLANE
    )


def _plane_bytes(problem: GemmProblem) -> int:
    """Bytes of a channel, as numbers in registers."""
    spans = (problem.depth, problem.rows, problem.columns)
    return prod(span.inputs for span in spans) * problem.item_size


def collides(problem: GemmProblem, places: int) -> bool:
    """Whether so many neighbouring outputs read the image from too few sets of the near cache."""
    return problem.pitch % COLLIDING == 0 and places > _WAYS


def tiles(problem: GemmProblem) -> Iterator[Tile]:
    """All that fit into the registers."""
    width, height, lanes = problem.columns.outputs, problem.rows.outputs, problem.channel_lanes
    for vectors in range(1, min(-(-problem.outputs // lanes), _MOST_VECTORS) + 1):
        places = _others(problem, vectors)
        shapes = [(1, columns) for columns in range(1, min(places, width) + 1)]
        shapes += [(rows, width) for rows in range(2, min(places // width, height) + 1)]
        for rows, columns in shapes:
            known = _code(problem, vectors, columns) <= _MOST_CODE
            tile = Tile(vectors * lanes, rows, columns, lanes, along_row=False, columns_apart=known)
            yield _counted(problem, tile)
    lanes = problem.lanes
    if problem.channels_last or problem.columns.stride > 1:
        return
    for vectors in range(1, min(-(-width // lanes), _MOST_VECTORS) + 1):
        for channels in range(1, min(_others(problem, vectors), problem.outputs) + 1):
            tile = Tile(channels, 1, vectors * lanes, lanes, along_row=True, columns_apart=False)
            yield _counted(problem, tile)


def _others(problem: GemmProblem, vectors: int) -> int:
    """How many single numbers go with so many vectors."""
    # besides the sums, vectors and a number; two vectors are the only ones that LLVM does with that
    return (problem.registers - vectors - (1 if vectors == 2 else 3)) // vectors


def _counted(problem: GemmProblem, tile: Tile) -> Tile:
    """The tile with its cycles."""
    loops = problem.depth.kernel_size * problem.depth.seen(1)
    loops *= problem.rows.kernel_size * problem.rows.seen(tile.rows)
    terms = loops * problem.columns.kernel_size * problem.inputs
    if tile.columns_apart:
        terms *= problem.columns.seen(1)
    slow = _LONG if is_long(problem.activation) else 0
    total = 0.0
    for height, down in _pieces(problem.rows.outputs, tile.rows):
        for width, along in _pieces(problem.columns.outputs, tile.columns):
            for channels, blocks in _pieces(problem.outputs, tile.channels):
                one = _along_row if tile.along_row else _along_channels
                cycles = one(problem, channels, height * width, terms) + loops * _LOOP + _TILE
                cycles += channels * height * width / tile.lanes * slow
                total += down * along * blocks * cycles
    total *= max(problem.planes, 1)
    return replace(tile, cycles=total)


def _code(problem: GemmProblem, vectors: int, columns: int) -> int:
    """About how many multiply-adds are written down for tiles at the borders of a row."""
    span = problem.columns
    if span.low > _MOST_BORDERS * columns * span.stride or not span.is_padded:
        return _MOST_CODE + 1 if span.is_padded else 0
    total, found = 0, apart(span, columns)
    long = problem.channels_last or all(tile.places for tile in found)
    for tile in found:
        for taps, outputs in tile.runs:
            terms = taps * problem.inputs if long else taps
            total += min(terms * outputs * vectors, _TOGETHER)
    return total * (2 if problem.outputs % (vectors * problem.channel_lanes) else 1)


def _pieces(count: int, size: int) -> Iterator[tuple[int, int]]:
    """The size and number of whole pieces, and of what is left over."""
    yield size, count // size
    if count % size:
        yield count % size, 1


def _along_channels(problem: GemmProblem, channels: int, places: int, terms: float) -> float:
    """Cycles of a tile whose vectors are weights."""
    lanes = problem.channel_lanes
    vectors = -(-channels // lanes)
    weights = vectors * lanes * problem.item_size
    rate = _NEAR if weights * problem.terms < problem.cache / 2 else _FAR
    image, storing = 0.0, float(vectors * places)
    if not problem.channels_last:
        storing += vectors * -(-places // lanes) * lanes * log2(lanes)
        if not turns(problem):  # every term is in another line, but for neighbouring taps
            image = (places * problem.pitch + _LINE) / problem.columns.kernel_size
    bringing = weights / rate + image / _NEAR
    term = max(_arithmetic(vectors, places), (vectors + places) * _LOAD) + _TERM + places * _SPREAD
    if image and _plane_bytes(problem) > _NEAR_PLANE:
        term += _STRAY
    return terms * max(term, bringing) + storing


def _along_row(problem: GemmProblem, channels: int, places: int, terms: float) -> float:
    """Cycles of a tile whose vectors are pixels."""
    vectors = -(-places // problem.lanes)
    # vectors at any place mostly lie across two cache lines; but each line serves several taps
    loads = vectors * (3 if problem.taps > 1 else 1) + channels
    image = vectors * problem.lanes * problem.item_size / problem.columns.kernel_size
    term = max(_arithmetic(vectors, channels) + loads * _BESIDES, loads * _LOAD)
    return terms * max(term + image * _PASSING, image / _NEAR) + vectors * channels


def _arithmetic(vectors: int, others: int) -> float:
    """Cycles of a term's multiply-adds, in which each vector meets each of the others."""
    return max(vectors * others, _ENOUGH_SUMS) / 2 * _SUM


def _blocks(problem: GemmProblem, tile: Tile) -> Iterator[tuple[int, int, int]]:
    """Rows, columns and parts of the blocks that are worth a thought."""
    height, width = problem.rows.outputs, problem.columns.outputs
    most = max(1, problem.outputs // tile.channels)
    for columns in evenly(width, tile.columns):
        for rows in evenly(height, tile.rows) if columns >= width else (tile.rows,):
            for parts in doubled(most):
                yield min(rows, height), min(columns, width), parts


def _pieces_of_work(
    problem: GemmProblem, tile: Tile, rows: int, columns: int, parts: int
) -> tuple[Pieces, ...]:
    """How the items are counted, innermost first, and what each has to do."""
    share, parts = channel_parts(problem, tile, parts)
    channels, each = -(-problem.outputs // tile.unit) * tile.unit, share * tile.channels
    return (
        cut(problem.rows.outputs, rows),
        cut(problem.columns.outputs, columns),
        cut(max(problem.planes, 1), 1),
        Pieces(parts, each, channels - (parts - 1) * each),
    )


def _cycles(
    problem: GemmProblem, tile: Tile, copied: bool, rows: int, columns: int, parts: int
) -> float:
    """Cycles of one core for everything in such blocks."""
    outside = -(-problem.rows.outputs // rows) * -(-problem.columns.outputs // columns)
    outside *= max(problem.planes, 1)
    items = outside * parts
    image = _inputs(problem, rows, columns)
    weights = problem.outputs * problem.terms * problem.item_size
    cycles = tile.cycles + items * _ITEM
    if copied:
        cycles += items * _copying(problem, tile, rows, columns)
    # what the second cache does not hold comes from far away for every tile's channels
    passes = -(-problem.outputs // tile.channels)
    together = image + 2 * weights * min(tile.channels / problem.outputs, 1)
    missing = max(0.0, 1 - problem.cache * 2 / 3 / together) if together else 0.0
    together_there = problem.channels_last or (turns(problem) and not tile.along_row)
    rate = _FAR if together_there else _APART
    cycles += missing * outside * (passes + copied) * image / rate
    if outside * image > problem.cache:  # and for every part of the channels
        cycles += (parts - 1) * outside * image / rate
    if weights / parts + image > problem.cache / 2:
        cycles += _WAITING * outside * weights / _FAR
    elif weights > problem.cache / 2 * problem.cores:  # nor are they there from the call before
        cycles += _WAITING * weights / _FAR
    return cycles


def _inputs(problem: GemmProblem, rows: int, columns: int) -> int:
    """Bytes that so many rows and columns of outputs see."""
    height, width = _seen(problem, rows, columns)
    return height * width * problem.inputs * problem.item_size


def _seen(problem: GemmProblem, rows: int, columns: int) -> tuple[int, int]:
    """Rows, of all planes, and columns of the image that so many outputs see."""
    height = min(problem.rows.copied(rows), problem.rows.inputs)
    width = min(problem.columns.reach(columns), problem.columns.inputs)
    return problem.depth.kernel_size * height, width


def _copying(problem: GemmProblem, tile: Tile, rows: int, columns: int) -> float:
    """Cycles to copy that to a panel."""
    height, width = _seen(problem, rows, columns)
    if problem.channels_last:
        return height * (20 + width * problem.inputs / problem.lanes * 2)
    if turns(problem) and not tile.along_row:
        blocks = -(-problem.inputs // problem.lanes)
        return height * (20 + -(-width // problem.lanes) * problem.lanes * blocks * _SQUARE)
    return height * problem.inputs * (12 + width / problem.lanes * 2)
