"""Tiles and blocks: within the registers and caches, and never more than there is."""

from dataclasses import replace

import pytest

from faltung.lang.target import host_target
from faltung.parts.phases.classes import PhaseAxis
from faltung.parts.phases.layout import PhaseLayout
from faltung.parts.phases.rows import RowPhases, row_tile
from faltung.parts.phases.tiling import PhaseProblem, phase_tiling

ONE = PhaseAxis(1, 1, 1, 0, 1, 1)
LANES = host_target().lanes()
PROBLEM = PhaseProblem(
    axes=(ONE, PhaseAxis(32, 4, 2, 1, 1, 16), PhaseAxis(32, 4, 2, 1, 1, 16)), batch=1, groups=1,
    channels=128, terms=256, dtype="float32", last=True, bias=False, activation=None, side=None,
    lanes=LANES, item_size=4, cores=1, cache=1 << 20,
)  # fmt: skip
SIZES = [(1, 1), (3, 2), (8, 4), (33, 17), (64, 32), (500, 250), (30000, 15000)]


def registers() -> int:
    return 32 if host_target().vector_bits == 512 else 16


@pytest.mark.parametrize("channels", [1, 5, 16, 33, 100, 700])
@pytest.mark.parametrize(("results", "sources"), SIZES)
def test_tiles_fit_and_blocks_cover(channels: int, results: int, sources: int) -> None:
    wide = PhaseAxis(results, 4, 2, 1, 1, sources)
    high = PhaseAxis(min(results, 64), 4, 2, 1, 1, min(sources, 32))
    for axes in ((ONE, high, wide), (ONE, ONE, wide)):
        for last in (True, False):
            problem = replace(PROBLEM, axes=axes, channels=channels, last=last)
            t, layout = phase_tiling(problem), PhaseLayout(problem)
            assert t.vectors * t.rows * t.columns + t.vectors < registers()
            assert t.block_rows % t.rows == t.block_columns % t.strip == t.strip % t.columns == 0
            assert layout.row_blocks * t.block_rows >= axes[1].most
            assert layout.column_blocks * t.block_columns >= wide.most
            assert layout.blocks * layout.width >= channels
            assert layout.parts * layout.share >= layout.blocks
            assert t.cycles > 0


def test_more_cores_have_more_pieces_to_share() -> None:
    items = [PhaseLayout(replace(PROBLEM, cores=cores)).items for cores in (1, 2, 4)]
    assert items[1] >= 2
    assert items[2] >= 4


def test_a_small_cache_makes_small_panels() -> None:
    axis = PhaseAxis(200, 3, 1, 1, 1, 200)
    large = replace(PROBLEM, axes=(ONE, axis, axis), channels=32, terms=64)
    numbers = [
        PhaseLayout(replace(large, cache=cache)).panel.numbers for cache in (1 << 18, 1 << 23)
    ]
    assert numbers[0] < numbers[1]
    assert numbers[0] * 4 <= 1 << 18


def test_planning_a_long_row_takes_no_time() -> None:
    # what is counted through must not grow with the length of a row
    wide = PhaseAxis(2_000_000, 16, 8, 4, 1, 250_000)
    assert phase_tiling(replace(PROBLEM, axes=(ONE, ONE, wide))).cycles > 0


@pytest.mark.parametrize("stride", [1, 2, 3, 8])
@pytest.mark.parametrize("channels", [1, 3, 40])
@pytest.mark.parametrize(("results", "sources"), SIZES)
def test_row_tiles_fit(stride: int, channels: int, results: int, sources: int) -> None:
    wide, high = (PhaseAxis(size, 5, stride, 2, 1, sources) for size in (results, min(results, 40)))
    problem = RowPhases((ONE, high, wide), channels, terms=2, lanes=LANES, widened=False)
    tile = row_tile(problem)
    assert tile.sums + tile.vectors + 2 <= registers() or tile.vectors == tile.rows == 1
    assert tile.channels <= channels
    assert tile.rows <= high.count(high.phases - 1)
    assert tile.cycles > 0
    assert sum(map(len, problem.taps.values())) == 5 if results >= stride else True
