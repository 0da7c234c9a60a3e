"""Which tile of output channels × outputs a row is cut into."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from faltung.lang.target import AVX2, AVX512, NEON, Target
from faltung.parts.channels import tile as module
from faltung.parts.channels.tile import MOST_CODE, ChannelRow, ChannelTile, best_tile

STEM = ChannelRow(
    columns=112, channels=64, taps=7, stride=2, dilation=1, lanes=16, item_size=4, turned=False
)


@pytest.fixture(params=[AVX512, AVX2, NEON], ids=["avx512", "avx2", "neon"])
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    chosen: Target = request.param
    monkeypatch.setattr(module, "host_target", lambda: chosen)
    best_tile.cache_clear()
    yield chosen
    best_tile.cache_clear()


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("sets", [1, 2])
@pytest.mark.parametrize("taps", [1, 3, 11, 100])
@pytest.mark.parametrize("columns", [1, 7, 56, 1000])
@pytest.mark.parametrize("channels", [1, 40, 512])
def test_a_tile_fits(
    machine: Target, channels: int, columns: int, taps: int, sets: int, turned: bool
) -> None:
    lanes = machine.lanes(4)
    row = replace(
        STEM, columns=columns, channels=channels, taps=taps, sets=sets, turned=turned, lanes=lanes
    )
    tile = best_tile(row, 10.0)
    registers = 32 if machine.vector_bits == 512 else 16
    assert tile.vectors * (sets * tile.columns + tile.taps) < registers
    assert 1 <= tile.columns <= columns and 1 <= tile.taps <= taps
    assert (tile.vectors - 1) * lanes < channels
    assert tile.taps == 1 or tile.code <= MOST_CODE
    if turned:  # all that is transposed at once are as many vectors as there are lanes
        assert tile.vectors == 1 and sets * tile.columns <= lanes


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.parametrize("columns", [1, 2, 9])
@pytest.mark.parametrize("taps", [1, 3, 8])
def test_reads_are_counted(stride: int, dilation: int, columns: int, taps: int) -> None:
    row = replace(STEM, stride=stride, dilation=dilation, taps=taps)
    places = {q * stride + t * dilation for q in range(columns) for t in range(taps)}
    assert ChannelTile(row, 1, columns, taps).reads == len(places)


def test_cycles_count_what_is_done() -> None:
    tile = ChannelTile(STEM, 2, 8, 7)
    products = 112 * 64 * 7 * 21 / 16 / 2  # multiply-adds, two a cycle
    assert products < tile.cycles(21) < 1.4 * products
    assert tile.cycles(42) > 1.8 * tile.cycles(21)
    # few sums wait for each other, taps one at a time are loaded more often, and turning takes time
    assert ChannelTile(STEM, 1, 2, 7).cycles(21) > 1.5 * tile.cycles(21)
    assert ChannelTile(STEM, 2, 8, 1).cycles(21) > 1.05 * tile.cycles(21)
    turned = replace(STEM, turned=True)
    assert ChannelTile(turned, 1, 16, 7).cycles(21) > ChannelTile(STEM, 1, 16, 7).cycles(21)
    # weights that do not stay near
    near, far = (ChannelTile(STEM, 1, 8, 7).cycles(n) / n for n in (60, 600))
    assert far > 1.05 * near
