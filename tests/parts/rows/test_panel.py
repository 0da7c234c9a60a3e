"""Pieces of rows with zeros beside them, against the definition in NumPy."""

import numpy as np
import pytest

from faltung.lang.interpret import interpret
from faltung.lang.routine import Routine
from faltung.parts.rows.panel import RowPanel, Rows, Stretch, stretches
from faltung.parts.rows.tiles import RowTiles

CASES = [
    # channels, wanted, the first of them, size, kernel planes, rows, stretches
    (3, 3, 0, (1, 5, 9), 1, 4, [(-2, 6), (6, 5)]),
    (3, 3, 0, (1, 5, 9), 1, 7, [(-2, 20)]),
    (6, 2, 4, (1, 4, 7), 1, 3, [(-1, 9)]),
    (40, 20, 20, (1, 3, 5), 1, 3, [(-1, 4), (3, 4)]),
    (2, 2, 0, (4, 3, 40), 3, 2, [(0, 40)]),
    (1, 1, 0, (1, 2, 3), 1, 2, [(5, 4)]),
    (2, 2, 0, (1, 2, 3), 1, 2, [(-9, 4)]),
]


@pytest.mark.parametrize("top", [-2, 0, 1])
@pytest.mark.parametrize("last", [True, False], ids=["channels last", "contiguous"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_panel_holds_the_stretches(case: tuple, last: bool, top: int) -> None:  # type: ignore[type-arg]
    channels, wanted, first, size, planes, rows, pieces = case
    image = Rows(last=last, channels=channels, wanted=wanted, size=size)
    columns = sum(count for _, count in pieces)
    panel = RowPanel(image, planes, rows, columns, item_size=4)
    x = np.arange(1, channels * np.prod(size) + 1, dtype=np.float32).reshape(channels, *size)
    r = Routine("panel")
    given = r.reads("x", "float32", x.size)
    made = r.writes("panel", "float32", panel.numbers)
    with r.work():
        panel.fill(
            r, given, made, 16, source=r.const(first * image.steps[0]),
            planes=(r.const(0), r.const(planes), r.const(0), 1), top=r.const(top),
            stretches=[Stretch(*piece) for piece in pieces],
        )  # fmt: skip
    ordered = np.moveaxis(x, 0, -1) if last else x
    memory = {
        "x": np.ascontiguousarray(ordered).ravel(),
        "panel": np.full(panel.numbers, np.nan, np.float32),
    }
    interpret(r, memory)
    of_channel, of_pixel, of_row, of_plane = panel.steps
    for plane in range(planes):
        for row in range(rows):
            if not 0 <= top + row < size[1]:
                continue  # no tile reads a row that is not there
            places = [start + n for start, count in pieces for n in range(count)]
            for n, place in enumerate(places):
                for c in range(wanted):
                    at = plane * of_plane + row * of_row + n * of_pixel + c * of_channel
                    inside = 0 <= place < size[2]
                    expected = x[first + c, plane, top + row, place] if inside else 0
                    assert memory["panel"][at] == expected


def test_rows_of_a_panel_do_not_share_a_set_of_the_cache() -> None:
    image = Rows(last=True, channels=16, wanted=16, size=(1, 9, 64))
    panel = RowPanel(image, 1, 4, 64, item_size=4)
    assert panel.steps[2] % 16 == 0 and panel.steps[2] // 16 % 2 == 1
    assert panel.numbers == 4 * panel.steps[2]


def test_stretches_are_what_tiles_at_the_ends_read() -> None:
    tiles = RowTiles(outputs=112, size=16, stride=2, low=3, span=7, inputs=224)
    left, right = stretches(tiles, None)
    assert left == Stretch(-3, 37)
    assert right == Stretch(2 * 96 - 3, 37)
    assert stretches(tiles, 3) == [Stretch(0, 47 * 2 + 7)]
    assert stretches(RowTiles(16, 16, 4, 0, 4, 64), None) == []
