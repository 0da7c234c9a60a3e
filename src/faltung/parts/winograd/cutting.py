"""Which tiles, and how much at a time: a count of cycles for every sensible way to cut a problem.

The work is the same few passes for every cut: reading pixels into strips, transforming them,
multiplying, transforming back, writing. What differs is how much of the tiles lies outside of the
image, how often neighbouring blocks read the same, how often the transformed weight is read again
(once a block: from the second cache if it fits there, else from beyond, at a fraction of the
speed), and how well the tile of sums in registers fits the number of tiles and channels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil, lcm, log2, prod

from ...lang.target import host_target
from .problem import Cutting, Layout, Problem
from .tiles import TiledAxis, block_sizes, sizes_of, tiled
from .transforms import Transform

_BLOCKS = (4, 8, 16, 32, 64, 112)  # tiles of a block to try, at most
_PROMISING = 4  # sizes of tiles to try with all blocks,
_TRIED = 3  # and blocks to try with every tile of sums
_NOTABLE = 0.97  # of the time: what other blocks must save
_ITEMS = 8  # pieces that a depth is cut into, where there are not as many items anyway

# cycles, as seen on a processor with AVX-512
_COPIED = 3.0  # a vector of a strip that is copied,
_TURNED = 2.0  # or transposed, besides one for every round of picks
_EFFICIENCY = 0.95  # of multiply-adds in the innermost loop
_LOADING = 0.55  # for a load there: two begin in a cycle, if the lines are near
_STARTING = 30.0  # to begin and end the sums of a tile
_NEAREST = 24 << 10  # bytes of the nearest cache that weights may fill
_NEAR = 48.0  # bytes a cycle from the second cache,
_FITS = 0.6  # if this part of it suffices; if twice as much does not, from beyond
_OWN = 0.5  # of it, beyond which a block's strips and transformed tiles push each other out,
_PUSHED_OUT = 2.5  # and how often they then are copied from and to farther away
_SHARED = 8  # images of this many second caches come from memory
_STRETCH = 20.0  # for each stretch of it, three times as much for one that is written
_MISSED = 1.3  # what lies beyond the second cache takes so many times as long as copying it
_FORESEEN = 0.3  # of the time it takes to read what lies in order, if there is work meanwhile
_SHARPNESS = 2.5  # how far the longer of multiplying and reading weights hides the shorter


@dataclass(frozen=True)
class Core:
    """One core's second cache, in bytes, and the bytes that it copies in a cycle beyond."""

    near: int
    bytes_per_cycle: float = 6.0
    warmth: float = 1.0
    """What part of that weights reach, when they are first read: other layers push them out."""


@lru_cache(maxsize=1024)
def cut(problem: Problem, most_noise: float, core: Core, threads: int = 1) -> Layout | None:
    """The cut that takes the fewest cycles; None if no tiles are known with so little noise.

    For several threads it is the one whose parts they share best. The tiles, on which rounding
    depends, are those for one thread.
    """
    tiles = sorted(_tiles(problem, most_noise), key=lambda tile: _least(problem, tile, core))
    if not tiles:
        return None
    best = _finest(problem, tiles[:_PROMISING], core, 1)
    return best if threads == 1 else _finest(problem, [best.cutting.outputs], core, threads)


def _finest(problem: Problem, tiles: Sequence[tuple[int, int]], core: Core, threads: int) -> Layout:
    """The cut into tiles of one of these sizes that so many threads are done with first."""

    def slowest(layout: Layout) -> float:
        return min(_slowest(choice, core, threads) for choice in _shares(layout, threads))

    rough = [Layout(problem, cutting) for outputs in tiles for cutting in _blocks(problem, outputs)]
    rough.sort(key=slowest)
    fine = [Layout(problem, cutting) for best in rough[:_TRIED] for cutting in _products(best)]
    return min(fine, key=slowest)


def shared(layout: Layout, core: Core, threads: int) -> Layout:
    """The same cut of channels, in blocks and with channels shared out as suits so many threads.

    Results are the same, and so is the transformed weight.
    """
    problem, cutting = layout.problem, layout.cutting
    blocks = [
        Layout(
            problem,
            replace(
                cutting, high=other.high, wide=other.wide, planes=other.planes,
                tiles=_tile_of_sums(other.high * other.wide, cutting.vectors)[0],
            ),
        )
        for other in _blocks(problem, cutting.outputs)
    ]  # fmt: skip
    choices = [
        min(_shares(block, threads), key=lambda choice: _slowest(choice, core, threads))
        for block in (layout, *blocks)
    ]
    as_it_is, best = choices[0], min(choices, key=lambda choice: _slowest(choice, core, threads))
    gained = _slowest(best, core, threads) < _NOTABLE * _slowest(as_it_is, core, threads)
    return best if gained else as_it_is


def _shares(layout: Layout, threads: int) -> Iterator[Layout]:
    """Cuts with a block's output channels in 1, 2 … parts of as many chunks each as can be."""
    chunks = layout.chunks
    for shares in sorted({-(-chunks // each) for each in range(1, chunks + 1)}):
        if shares <= 2 * threads:
            yield Layout(layout.problem, replace(layout.cutting, shares=shares))


def _slowest(layout: Layout, core: Core, threads: int) -> float:
    """Cycles of the thread with the most to do."""
    return cycles(layout, core) / busy(layout, threads)


def busy(layout: Layout, threads: int) -> float:
    """How many threads have something to do, on average."""
    if not layout.items:
        return 1.0
    shares = layout.cutting.shares
    largest = ceil(layout.items / threads) * ceil(layout.chunks / shares)
    return layout.items / shares * layout.chunks / largest


def cycles(layout: Layout, core: Core) -> float:
    """Estimated cycles of one core for everything."""
    p, cutting = layout.problem, layout.cutting
    blocks = p.batch * p.groups * layout.high.count * layout.wide.count
    pixels_in, pixels_out = prod(layout.input_pixels), prod(layout.output_pixels)
    moving = _COPIED if p.last else _TURNED + log2(cutting.lanes)
    t_high, t_wide = layout.high.axis.transform, layout.wide.axis.transform
    inputs = pixels_in * moving + layout.tiles_read * _transforming(t_high, t_wide, "bt")
    outputs = pixels_out * moving + layout.tiles * _transforming(t_high, t_wide, "at")
    read, products = _planes_read(layout), p.depth.executed
    return (
        blocks * read * cutting.shares * layout.input_vectors * inputs
        + blocks * p.depth.outputs * layout.output_vectors * outputs
        + _multiplying(layout, core, blocks, products)
        + _leaving(layout, core, blocks)
        + _memory(layout, core)
    )


def _planes_read(layout: Layout) -> float:
    """Input planes that are transformed for a block, all items along the depth together."""
    depth = layout.problem.depth
    if depth.taps == 1 or depth.dilation > 1:
        return depth.executed
    repeated = (layout.plane_blocks - 1) * max(depth.taps - depth.stride, 0)
    return min(depth.executed, min(depth.inputs, depth.seen) + repeated)


def _transforming(high: Transform, wide: Transform, matrix: str) -> float:
    """One vector of channels of one tile, there or back."""
    rows, columns = (t.size if matrix == "bt" else t.outputs for t in (high, wide))
    arithmetic = high.size * wide.operations[matrix] + columns * high.operations[matrix]
    return arithmetic / 2 + high.size * wide.size * 2 + rows * columns


def _multiplying(layout: Layout, core: Core, blocks: int, planes: int) -> float:
    """All products, while the transformed weight is read once for every block and plane."""
    p, cutting = layout.problem, layout.cutting
    sums = cutting.tiles * cutting.vectors
    loads = cutting.tiles + cutting.vectors
    # two multiply-adds begin in a cycle, and one takes four
    step = max(sums / 2, loads * _LOADING, 4.0) / _EFFICIENCY
    groups = ceil(layout.tiles / cutting.tiles) * (layout.padded_vectors // cutting.vectors)
    terms = planes / p.depth.outputs * layout.wide.axis.parts * p.inputs
    computing = float(blocks * layout.products * p.depth.outputs * groups)
    computing *= terms * step + _STARTING + sums
    weights = layout.weights * p.item_size / p.groups
    working = (sum(layout.scratch)) * p.item_size
    # inputs are read again in the order in which they lie, which the processor foresees
    again = layout.transformed * (1 + _FORESEEN * layout.chunks)
    strip = layout.wide.axis.parts * p.inputs * cutting.vectors * cutting.lanes * p.item_size
    passes = 1 if strip <= _NEAREST else ceil(layout.tiles / cutting.tiles)
    cold = replace(core, bytes_per_cycle=core.bytes_per_cycle * core.warmth)
    reads, first = blocks * planes / p.depth.taps, p.batch and p.groups
    reading = weights * (
        first / _speed(weights + working, cold)
        + max(reads - first, 0) / _speed(weights + working, core)
        + reads * (passes - 1) / (2 * _NEAR)
    )
    if (speed := _speed(working, core)) < _NEAR:
        reading += blocks * p.depth.outputs * again * p.item_size / speed
    hidden = float((computing**_SHARPNESS + reading**_SHARPNESS) ** (1 / _SHARPNESS))
    sums = 2 * layout.sums * p.item_size * layout.chunks
    waiting = 0.0
    if layout.sums * p.item_size > _NEAREST:
        waiting = sums / _speed(layout.sums * p.item_size, core)
    return hidden + blocks * p.depth.outputs * waiting


def _leaving(layout: Layout, core: Core, blocks: int) -> float:
    """What it costs that a block's own memory does not stay in the second cache."""
    own = sum(layout.scratch) * layout.problem.item_size
    far = min(1.0, max(0.0, own / core.near / _OWN - 1))
    times = blocks * layout.problem.depth.outputs * layout.cutting.shares
    return _PUSHED_OUT * far * times * own / core.bytes_per_cycle


def _speed(used: float, core: Core) -> float:
    """Bytes a cycle that arrive when so many are used again and again."""
    far = min(1.0, max(0.0, used / core.near / _FITS - 1))
    return 1 / (far / core.bytes_per_cycle + (1 - far) / _NEAR)


def _memory(layout: Layout, core: Core) -> float:
    """Images to and from memory; what was written before stays near if there is little of it."""
    p = layout.problem
    axes = (p.depth, p.high, p.wide)
    x = p.batch * p.groups * p.inputs * prod(axis.inputs for axis in axes)
    y = p.batch * p.groups * p.outputs * prod(axis.outputs for axis in axes)
    # a line is read before it is written
    numbers = x + 2 * y
    size = 2 if p.dtype in ("bfloat16", "float16") else p.item_size
    far = min(1.0, (x + y) * size / (_SHARED * core.near))
    read, written = _stretches(layout)
    stretches = _STRETCH * (read + 3 * written)
    return far * (_MISSED * numbers * size / core.bytes_per_cycle + stretches)


def _stretches(layout: Layout) -> tuple[float, float]:
    """Stretches of neighbouring numbers that are read and written, at a time."""
    p = layout.problem
    blocks = p.batch * p.groups * layout.high.count * layout.wide.count
    read = blocks * _planes_read(layout) * layout.input_pixels[0]
    written = blocks * p.depth.outputs * layout.output_pixels[0]
    if not p.last:
        return read * p.inputs, written * p.outputs
    all_read, all_written = p.groups == 1, p.groups == 1 and layout.chunks == 1
    columns_in, columns_out = layout.input_pixels[1], layout.output_pixels[1]
    return (
        read * (1 if all_read else columns_in),
        written * (1 if all_written else columns_out * layout.chunks),
    )


def _tiles(problem: Problem, most_noise: float) -> Iterator[tuple[int, int]]:
    """Sizes of tiles whose noise is bearable.

    A sum of few products is more exact than what it is compared with here, and so is one of few
    inputs that exist, as in a tile that is larger than the image.
    """
    bearable = most_noise * min(1.0, (problem.inputs + 2) / 10)
    axes = (problem.high, problem.wide)
    sizes = [[m for m in sizes_of(axis) if m <= min(axis.inputs, axis.outputs)] for axis in axes]
    for high in sizes[0]:
        for wide in sizes[1]:
            if high == wide == 1:
                continue  # nothing would be saved
            both = [tiled(axis, m) for m, axis in zip((high, wide), axes, strict=True)]
            if both[0].noise * both[1].noise <= bearable and _fit(*both):
                yield high, wide


def _fit(high: TiledAxis, wide: TiledAxis) -> bool:
    """Whether a row of tiles is a block of what parts of filters see, where there are such."""
    in_parts = high.parts == 1 and high.plain.taps == 1 and wide.dilation <= _BLOCKS[-1]
    return high.parts == wide.parts == 1 or in_parts


def _least(problem: Problem, outputs: tuple[int, int], core: Core) -> float:
    """Cycles without which no cut into such tiles can do: products, and reading weights once."""
    p = problem
    high, wide = (tiled(plain, m) for plain, m in zip((p.high, p.wide), outputs, strict=True))
    tiles = high.groups * high.dilation * wide.groups * wide.dilation
    weights = high.transform.size * wide.transform.size * p.inputs * p.outputs
    lanes = host_target().lanes(p.item_size)
    products = p.batch * p.groups * p.depth.executed * wide.parts * tiles * weights / (2 * lanes)
    size = p.depth.taps * wide.parts * weights * p.item_size
    return products + p.groups * size / _speed(size, core)


def _blocks(problem: Problem, outputs: tuple[int, int]) -> Iterator[Cutting]:
    """Cuts with blocks of about as many tiles as are worth trying."""
    lanes = host_target().lanes(problem.item_size)
    while lanes > 4 and problem.outputs <= lanes // 2:
        lanes //= 2
    axes = (problem.high, problem.wide)
    high, wide = (tiled(plain, m) for plain, m in zip(axes, outputs, strict=True))
    shapes = set()
    for most in _BLOCKS:
        for across in {most, ceil(most / 2)}:
            least = wide.dilation if wide.parts > 1 else 1
            columns = block_sizes(wide, max(across, least))[-1]
            rows = 1 if wide.parts > 1 else block_sizes(high, max(1, most // columns))[-1]
            shapes.add((rows, columns))
    vectors = -(-problem.outputs // lanes)
    for rows, columns in sorted(shapes):
        tiles, together = _tile_of_sums(rows * columns, min(2, vectors))
        planes = _planes(problem, high.groups * wide.groups // (rows * columns) + 1)
        chunk = lcm(together, problem.together)
        yield Cutting(lanes, outputs, rows, columns, planes, tiles, together, chunk)


def _planes(problem: Problem, blocks: int) -> int:
    """Output planes of an item: all of them, where there are enough items then."""
    if problem.depth.taps == 1:
        return 1
    pieces = -(-_ITEMS // (blocks * max(problem.batch * problem.groups, 1)))
    return max(1, -(-problem.depth.outputs // pieces))


def _products(layout: Layout) -> Iterator[Cutting]:
    """Cuts with the same tiles and blocks, and every useful tile of sums."""
    for vectors in range(1, min(4, layout.output_vectors) + 1):
        tiles, _ = _tile_of_sums(layout.tiles, vectors)
        least = lcm(vectors, layout.problem.together)
        everything = -(-layout.output_vectors // least) * least
        for chunk in sorted({least, least * -(-4 // least), everything}):
            yield replace(
                layout.cutting, tiles=tiles, vectors=vectors, chunk=min(chunk, everything)
            )


def _tile_of_sums(tiles: int, vectors: int) -> tuple[int, int]:
    """As many tiles as registers hold the sums of, but such that the last ones are no fewer."""
    registers = 32 if host_target().vector_bits == 512 else 16
    most = max(1, registers // vectors - 2)  # the others hold weights and spread numbers
    return ceil(tiles / ceil(tiles / most)), vectors
