"""Which tiles, blocks and shares of channels for the gradient of a weight by Winograd's filtering.

The first are those that take the fewest cycles of one core (`cycles` of a layout), of all whose
rounding errors are bearable; on them results depend. The channels are shared out such that so many
threads have something to do.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from math import ceil, prod

from ..winograd.tiles import TiledAxis, block_sizes
from ..winograd.transforms import tile_sizes, transform
from .winograd_layout import (
    LAST,
    SUM,
    WinogradWeightCutting,
    WinogradWeightLayout,
    WinogradWeightProblem,
    finishing,
)

_BLOCKS = (8, 16, 28, 50, 64, 100)  # tiles of a block to try, at most
_PROMISING = 2  # sizes of tiles to try with all blocks
_SUMMED = 11  # pixels for each tap, from which on a direct sum has its usual error


@lru_cache(maxsize=256)
def best_winograd_layout(
    problem: WinogradWeightProblem, most_noise: float, threads: int
) -> WinogradWeightLayout | None:
    """The layout that takes the least time on so many threads; None if no tiles are exact enough.

    Tiles, blocks and parts, on which results depend, are chosen without regard to the threads.
    """
    sizes = sorted(_tiles(problem, most_noise), key=lambda outputs: _rough(problem, outputs))
    rough = [
        WinogradWeightLayout(problem, cutting)
        for outputs in sizes[:_PROMISING]
        for cutting in _blocks(problem, outputs)
    ]
    if not rough:
        return None
    best = min(rough, key=lambda layout: layout.cycles)
    choices = [WinogradWeightLayout(problem, cutting) for cutting in _shares(best)]
    return min(choices, key=lambda layout: layout.cycles / busy(layout, threads))


def busy(layout: WinogradWeightLayout, threads: int) -> float:
    """How many threads have something to do, on average."""
    return layout.items / ceil(layout.items / threads) if layout.items else 1.0


def _tiles(problem: WinogradWeightProblem, most_noise: float) -> Iterator[tuple[int, int]]:
    """Sizes of tiles whose noise is bearable: sums of few pixels are more exact than ours."""
    axes = (problem.high, problem.wide)
    pixels = problem.batch * problem.depth.outputs * prod(axis.outputs for axis in axes)
    bearable = most_noise * min(
        1.0, (pixels + 2) / (_SUMMED * problem.high.taps * problem.wide.taps)
    )
    sizes = [
        [m for m in tile_sizes(axis.taps) if m <= min(axis.inputs, axis.outputs)] for axis in axes
    ]
    for high in sizes[0]:
        for wide in sizes[1]:
            both = [transform(m, axis.taps) for m, axis in zip((high, wide), axes, strict=True)]
            if (high, wide) != (1, 1) and both[0].noise * both[1].noise <= bearable:
                yield high, wide


def _rough(problem: WinogradWeightProblem, outputs: tuple[int, int]) -> float:
    """Cycles without which no cut into such tiles can do."""
    p = problem
    both = [
        TiledAxis(plain, transform(m, plain.taps))
        for plain, m in zip((p.high, p.wide), outputs, strict=True)
    ]
    tiles = p.batch * p.depth.outputs * prod(t.groups * t.dilation for t in both)
    size = prod(t.transform.size for t in both)
    last = finishing(both[0].transform, both[1].transform) + (LAST + SUM) * size
    return p.inputs * p.outputs / p.lanes * (tiles * size / 2 + last)


def _blocks(
    problem: WinogradWeightProblem, outputs: tuple[int, int]
) -> Iterator[WinogradWeightCutting]:
    """Cuts with blocks of about as many tiles as are worth trying, and middling shares."""
    high, wide = (
        TiledAxis(plain, transform(m, plain.taps))
        for plain, m in zip((problem.high, problem.wide), outputs, strict=True)
    )
    shapes = set()
    for most in _BLOCKS:
        for across in {most, ceil(most / 2)}:
            columns = _whole_sizes(wide, across)[-1]
            rows = _whole_sizes(high, max(1, most // columns))[-1]
            shapes.add((rows, columns))
    inputs, made = (min(count, 4) for count in problem.vectors)
    start = WinogradWeightCutting(outputs, 1, 1, inputs, made, min(2, inputs), 1)
    for rows, columns in sorted(shapes):
        cutting = replace(start, high=rows, wide=columns)
        for images in _images(WinogradWeightLayout(problem, cutting)):
            yield from _tiles_of_sums(problem, replace(cutting, images=images))


def _images(layout: WinogradWeightLayout) -> list[int]:
    """How many images to put into a block: several only where they are whole, and small."""
    batch, most = layout.problem.batch, _BLOCKS[-1] // layout.tiles
    if layout.high.count * layout.wide.count > 1:
        return [1]
    return [n for n in range(1, max(1, min(batch, most)) + 1) if batch % n == 0]


def _whole_sizes(axis: TiledAxis, most: int) -> list[int]:
    """Sizes of blocks of whole groups; one, if that is more."""
    return [n for n in block_sizes(axis, most) if n % axis.dilation == 0] or [axis.dilation]


def _shares(layout: WinogradWeightLayout) -> Iterator[WinogradWeightCutting]:
    """The same tiles and blocks, with every sensible share of the channels."""
    inputs, made = (_even(count) for count in layout.problem.vectors)
    for some in inputs:
        for others in made:
            if some * others > 128:
                continue  # many sums, of which no cache is full enough
            yield from _tiles_of_sums(
                layout.problem, replace(layout.cutting, inputs=some, made=others)
            )


def _even(count: int) -> list[int]:
    """Sizes of shares that so many vectors can be cut into evenly, or nearly so.

    >>> _even(8)
    [1, 2, 4, 8]
    """
    sizes = {-(-count // shares) for shares in range(1, count + 1)}
    even = [size for size in sizes if count % size == 0]
    return sorted(even if len(even) > 2 or count < 3 else sizes)


def _tiles_of_sums(
    problem: WinogradWeightProblem, cutting: WinogradWeightCutting
) -> Iterator[WinogradWeightCutting]:
    """Every tile of sums that registers hold, and whose vectors divide the share's."""
    for vectors in (1, 2, 3, 4):
        if cutting.inputs % vectors == 0:
            most = (problem.registers - 2 - vectors) // vectors
            count = problem.lanes_of(cutting.made)
            yield replace(cutting, vectors=vectors, most=-(-count // -(-count // most)))
