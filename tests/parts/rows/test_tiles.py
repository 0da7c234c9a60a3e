"""A row in tiles of one size, and which of them see padding."""

import numpy as np
import pytest

from faltung.lang.interpret import interpret
from faltung.lang.routine import Routine
from faltung.parts.rows.tiles import RowTiles

ROWS = [
    # outputs, size, stride, low, span, inputs
    (10, 4, 1, 1, 3, 10), (12, 4, 2, 0, 5, 40), (7, 7, 1, 3, 7, 7), (55, 14, 4, 2, 11, 224),
    (9, 2, 3, 0, 1, 25), (5, 1, 1, 9, 3, 1), (16, 8, 1, 0, 3, 18), (112, 16, 2, 3, 7, 224),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_tiles_cover_the_row_and_see_what_they_say(row: tuple[int, ...]) -> None:
    tiles = RowTiles(*row)
    outputs, size, stride, low, span, inputs = row
    starts = [tiles.start(n) for n in range(tiles.count)]
    covered = {start + n for start in starts for n in range(size)}
    assert covered == set(range(outputs)) and tiles.count == -(-outputs // size)
    for n, start in enumerate(starts):
        reads = [q * stride - low + t for q in range(start, start + size) for t in range(span)]
        assert min(reads) == tiles.first_read(start)
        assert max(reads) + 1 - min(reads) == tiles.read(size)
        inside = min(reads) >= 0 and max(reads) < inputs
        assert inside == (tiles.first_inside <= n < tiles.behind_inside)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_same_column_in_a_routine(row: tuple[int, ...]) -> None:
    tiles = RowTiles(*row)
    r = Routine("columns", tiles.count)
    y = r.writes("y", "float32", tiles.outputs)
    with r.work() as item:
        r.store(y, tiles.column(r, item), r.const(1, "f32"))
    memory = {"y": np.zeros(tiles.outputs, np.float32)}
    interpret(r, memory)
    assert np.flatnonzero(memory["y"]).tolist() == [tiles.start(n) for n in range(tiles.count)]
