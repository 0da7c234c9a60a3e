"""Which tile a row of outputs is cut into."""

from dataclasses import replace

import pytest

from faltung.lang import target
from faltung.lang.target import AVX2, AVX512, NEON, Target
from faltung.parts.rows import tile as module
from faltung.parts.rows.tile import Row, best_tile

RESNEXT = Row(columns=56, channels=4, taps=3, stride=1, item_size=4, widened=False)
STEM = Row(columns=112, channels=64, taps=7, stride=2, item_size=4, widened=False)


@pytest.fixture(params=[AVX512, AVX2, NEON], ids=["avx512", "avx2", "neon"])
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Target:
    chosen: Target = request.param
    monkeypatch.setattr(module, "host_target", lambda: chosen)
    best_tile.cache_clear()
    yield chosen
    best_tile.cache_clear()


@pytest.mark.parametrize("stride", [1, 2, 3, 8, 16])
@pytest.mark.parametrize("columns", [1, 7, 56, 1000])
@pytest.mark.parametrize("channels", [1, 3, 64])
def test_a_tile_fits_into_row_and_registers(
    machine: Target, columns: int, channels: int, stride: int
) -> None:
    row = replace(STEM, columns=columns, channels=channels, stride=stride)
    tile = best_tile(row, 10.0)
    registers = 32 if machine.vector_bits == 512 else 16
    assert 1 <= tile.channels <= channels
    assert tile.channels * tile.vectors < registers
    assert tile.lanes <= machine.lanes(4)
    assert tile.vectors == 1 or (tile.vectors - 1) * tile.lanes < columns


def test_known_layers_get_the_tiles_that_were_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "host_target", lambda: AVX512)
    best_tile.cache_clear()
    tile = best_tile(RESNEXT, 12.0)
    assert (tile.channels, tile.vectors, tile.lanes) == (4, 4, 16)
    tile = best_tile(STEM, 21.0)
    assert tile.vectors == 1 and tile.channels >= 16
    best_tile.cache_clear()
    assert target.host_target is not module.host_target


def test_cycles_count_what_is_done() -> None:
    tile = best_tile(RESNEXT, 12.0)
    assert tile.cycles(24.0) > 1.8 * tile.cycles(12.0)
    wide = best_tile(replace(RESNEXT, columns=560), 12.0)
    assert wide.cycles(12.0) > 8 * tile.cycles(12.0)
    # picks of lanes and wider numbers are not free
    strided, widened = (replace(RESNEXT, stride=4), replace(RESNEXT, widened=True))
    for row in (strided, widened):
        assert best_tile(row, 12.0).cycles(12.0) > tile.cycles(12.0)
