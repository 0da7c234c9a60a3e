"""Which tiles and blocks a matrix product is cut into."""

from dataclasses import replace

import pytest

from faltung.parts.gemm.problem import GemmProblem, Span
from faltung.parts.gemm.tiling import Tile, best_block, best_tile, collides, tiles

THREE = Span(outputs=56, inputs=56, kernel_size=3, low=1)
RESNET = GemmProblem(
    batch=1, groups=1, inputs=64, outputs=64, depth=Span(), rows=THREE, columns=THREE,
    channels_last=True, dtype="float32", bias=False, activation=None, lanes=16, registers=32,
    cache=2 << 20, cores=2,
)  # fmt: skip
FLAT = Span(outputs=3136, inputs=3136)
POINTWISE = replace(RESNET, rows=Span(), columns=FLAT, inputs=256)
SMALL = Span(outputs=7, inputs=7, kernel_size=3, low=1)
LAST_STAGE = replace(RESNET, rows=SMALL, columns=SMALL, inputs=512, outputs=512)
AVX2 = {"lanes": 8, "registers": 16}


@pytest.mark.parametrize("machine", [{}, AVX2, {"lanes": 4}], ids=["avx512", "avx2", "neon"])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("outputs", [1, 5, 16, 48, 80])
@pytest.mark.parametrize("columns", [1, 7, 56, 1000])
def test_tiles_fit_into_problem_and_registers(
    columns: int, outputs: int, last: bool, machine: dict[str, int]
) -> None:
    span = Span(outputs=columns, inputs=columns, kernel_size=3, low=1)
    problem = replace(RESNET, columns=span, outputs=outputs, channels_last=last, **machine)
    found = list(tiles(problem))
    assert found
    for tile in found:
        assert tile.rows <= 56 and tile.cycles > 0
        assert (tile.columns if tile.along_row else tile.channels) % tile.lanes == 0
        assert tile.columns < columns + (tile.lanes if tile.along_row else 1)
        assert tile.channels < outputs + tile.unit
        others = tile.channels if tile.along_row else tile.rows * tile.columns
        assert tile.vectors * others + tile.vectors + 1 <= problem.registers
        assert tile.rows == 1 or tile.columns == columns
    assert {tile.along_row for tile in found} == ({False} if last else {False, True})


def shape(problem: GemmProblem) -> tuple[int, int, int, bool]:
    tile = best_tile(problem)
    return tile.channels, tile.rows, tile.columns, tile.along_row


def test_known_layers_get_the_tiles_that_were_fastest() -> None:
    assert shape(RESNET) in [(32, 1, 14, False), (64, 1, 6, False)]
    assert shape(LAST_STAGE)[1:] == (1, 7, False)  # the width of the map
    assert shape(replace(POINTWISE, channels_last=False))[3]  # no transposing
    assert not shape(replace(LAST_STAGE, channels_last=False))[3]  # narrow rows waste no lanes
    assert shape(replace(RESNET, outputs=48, inputs=48))[0] == 48  # three vectors, none left over


def test_more_to_do_takes_more_cycles() -> None:
    tile = best_tile(RESNET)
    assert best_tile(replace(RESNET, batch=2)).cycles == pytest.approx(2 * tile.cycles)
    assert best_tile(replace(RESNET, inputs=128)).cycles > 1.8 * tile.cycles
    assert best_tile(replace(RESNET, channels_last=False)).cycles > tile.cycles  # transposing
    assert best_tile(replace(RESNET, activation="gelu")).cycles > tile.cycles
    assert best_tile(replace(RESNET, activation="relu")).cycles == tile.cycles
    # 33 rows with a dilation of 12: a third of the taps see only padding
    dilated = Span(outputs=33, inputs=33, kernel_size=3, low=12, dilation=12)
    plain = replace(dilated, low=0, inputs=57)
    assert best_tile(replace(RESNET, rows=dilated, columns=dilated)).cycles < 0.7 * (
        best_tile(replace(RESNET, rows=plain, columns=plain)).cycles
    )


def test_there_is_a_block_for_every_core() -> None:
    for problem in (RESNET, LAST_STAGE, POINTWISE):
        for cores in (1, 2, 8):
            some = replace(problem, cores=cores)
            tile = best_tile(some)
            block = best_block(some, tile, copied=False)
            items = -(-some.rows.outputs // block.rows) * -(-some.columns.outputs // block.columns)
            assert items * block.parts >= cores
            assert block.last >= block.cycles / cores


def test_weights_that_no_cache_keeps_are_waited_for() -> None:
    def besides(problem: GemmProblem) -> float:
        tile = best_tile(problem)
        return best_block(problem, tile, copied=False).cycles - tile.cycles

    weights = 512 * LAST_STAGE.terms * LAST_STAGE.item_size
    line = 64  # bytes, and no processor reads more in a cycle
    assert besides(LAST_STAGE) - besides(replace(LAST_STAGE, cache=64 << 20)) > weights / line
    few = replace(LAST_STAGE, outputs=48)  # these are still there at the next call
    assert besides(few) - besides(replace(few, cache=64 << 20)) < few.terms * 48 * 4 / line


def test_what_is_copied_fits_into_the_second_cache() -> None:
    # rows of 512 channels are 240 kB each
    wide = Span(outputs=112, inputs=112, kernel_size=3, low=1)
    problem = replace(RESNET, rows=wide, columns=wide, inputs=512, outputs=256)
    block = best_block(problem, best_tile(problem), copied=True)
    assert (block.rows + 2) * (block.columns + 2) * 512 * 4 <= 2 << 20
    assert block.columns % best_tile(problem).columns == 0 or block.columns == 112


def test_blocks_are_whole_tiles() -> None:
    for cores in (1, 4, 64):
        problem = replace(LAST_STAGE, cores=cores)
        tile = best_tile(problem)
        block = best_block(problem, tile, copied=False)
        assert block.rows % tile.rows == 0 or block.rows == 7
        assert block.columns == 7
        assert block.parts <= 512 // tile.channels


def test_colliding_lines() -> None:
    assert collides(replace(POINTWISE, inputs=1024), 9)
    assert not collides(replace(POINTWISE, inputs=1024), 8)
    assert not collides(replace(POINTWISE, inputs=1008), 14)
    # with 1024 channels neighbouring pixels are 4096 bytes apart
    assert best_tile(replace(POINTWISE, inputs=2048)).columns <= 14


def test_a_tile_knows_its_vectors() -> None:
    along = Tile(8, 1, 48, 16, along_row=True, columns_apart=False)
    across = Tile(48, 1, 8, 16, along_row=False, columns_apart=True)
    assert (along.vectors, along.unit) == (3, 1)
    assert (across.vectors, across.unit) == (3, 16)
