"""Every tile of a row once, each with the place it reads from."""

import numpy as np
import pytest

from faltung.lang.interpret import interpret
from faltung.lang.routine import Routine
from faltung.parts.rows.panel import stretches
from faltung.parts.rows.tiles import RowTiles
from faltung.parts.tile_walk import TileWalk

ROWS = [
    RowTiles(112, 16, 2, 3, 7, 224), RowTiles(10, 4, 1, 1, 3, 10), RowTiles(9, 4, 1, 0, 3, 20),
    RowTiles(30, 5, 1, 7, 3, 22), RowTiles(6, 6, 1, 2, 5, 6), RowTiles(8, 2, 3, 4, 2, 30),
]  # fmt: skip


@pytest.mark.parametrize("share", [1, 2, 100])
@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize("tiles", ROWS, ids=str)
def test_all_tiles_and_what_they_read(tiles: RowTiles, copied: bool, share: int) -> None:
    copied = copied or tiles.first_inside == tiles.count
    share = min(share, tiles.count)
    blocks = -(-tiles.count // share)
    pieces = stretches(tiles, share if copied else None)
    # the padded column that each place of the panel, or of the image, holds
    image = np.arange(-100, 400, dtype=np.float32)
    r = Routine("walk", blocks)
    x = r.reads("x", "float32", image.size)
    y = r.writes("y", "float32", 3 * tiles.outputs)
    with r.work() as block:
        begin = block * share
        end = r.minimum(begin + share, tiles.count)
        walk = TileWalk(r, tiles, pieces, copied, begin, end, whole=blocks == 1)
        filled = walk.filled()
        for loop in walk.loops():
            with loop as here:
                place = r.load(x, here.read + 100)
                if here.in_panel:
                    place = _in_panel(r, x, here.read, filled)
                r.store(y, here.column, place)
                times = r.load(y, here.column + tiles.outputs)
                r.store(y, here.column + tiles.outputs, times + 1.0)
                mark = r.const(float(here.in_panel), "f32")
                r.store(y, here.column + 2 * tiles.outputs, mark)
    memory = {"x": image, "y": np.zeros(3 * tiles.outputs, np.float32)}
    interpret(r, memory)
    read, times, in_panel = memory["y"].reshape(3, -1)
    for n in range(tiles.count):
        start = tiles.start(n)
        assert times[start] == 1
        assert read[start] == tiles.first_read(start)
        inside = tiles.first_inside <= n < tiles.behind_inside
        assert bool(in_panel[start]) == (copied or not inside)
    assert times.sum() == tiles.count


def _in_panel(r: Routine, x, at, filled):  # type: ignore[no-untyped-def]
    """The padded column that a place of the panel stands for."""
    found = r.load(x, at + filled[0].first + 100)
    if len(filled) == 1:
        return found
    other = r.load(x, at - filled[0].columns + filled[1].first + 100)
    return r.select(at < filled[0].columns, found, other)
