"""How a row of outputs with channels as lanes is cut into tiles."""

import pytest

from faltung.lang.routine import Routine
from faltung.lang.target import AVX2, AVX512, Target
from faltung.ops.geometry import Axis
from faltung.parts.rows import pixels


@pytest.fixture(params=[AVX512, AVX2], ids=["avx512", "avx2"])
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Target:
    chosen: Target = request.param
    monkeypatch.setattr(pixels, "host_target", lambda: chosen)
    return chosen


@pytest.mark.parametrize("outputs", [1, 7, 14, 17, 28, 32, 56, 1000])
@pytest.mark.parametrize("taps", [1, 7, 31])
def test_tiles_cover_a_row_once(machine: Target, outputs: int, taps: int) -> None:
    low = taps // 2
    axis = Axis(outputs + taps - 1 - 2 * low, taps, padding=(low, low))
    r = Routine("tiles")
    weights, seen, loops = r.reads("w", "float32", 100), [], 0
    with r.work():
        rows = pixels.PixelRows(r, [axis], 16, weights)
        for tile in rows.tiles():
            if tile.inside:
                loops += 1
                begin, end = (arg.attr for arg in r.body[0].body[-1].args)
                # no tap of the first or the last output of the loop is padding
                assert begin - low >= 0
                assert end - 1 - low + taps - 1 < axis.input_size
                assert (end - begin) % tile.outputs == 0
                seen += list(range(begin, end))
            else:
                column = tile.column.op.attr
                seen += list(range(column, column + tile.outputs))
    assert seen == list(range(outputs))
    assert loops <= 1


def test_known_rows_get_the_tiles_that_were_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "host_target", lambda: AVX512)
    short = [pixels.tile_columns(Axis(n, 7, padding=(3, 3))) for n in (14, 28, 32, 56, 112)]
    assert short == [14, 14, 16, 14, 16]
    # sixteen sums of 31 taps leave the registers
    assert pixels.tile_columns(Axis(32, 31, padding=(15, 15))) == 11
