"""Sums of rows in a panel, against the definition in NumPy."""

import numpy as np
import pytest

from faltung.lang.interpret import interpret
from faltung.lang.routine import Routine
from faltung.parts.rows.pairs import pairing
from faltung.parts.rows.panel import Rows
from faltung.parts.rows.sums import RowSums

CASES = [
    # channels, wanted, the first of them, size, planes, (kernel, stride, dilation), low, columns
    (3, 3, 0, (1, 9, 11), 1, (7, 2, 1), 3, 17),
    (2, 2, 0, (3, 5, 40), 2, (3, 1, 1), 0, 40),
    (6, 2, 4, (1, 6, 5), 1, (5, 1, 1), 2, 8),
    (40, 20, 20, (1, 4, 3), 1, (2, 1, 1), 1, 5),
    (1, 1, 0, (1, 4, 20), 1, (4, 2, 2), 1, 18),
]


@pytest.mark.parametrize("top", [-3, 0, 2])
@pytest.mark.parametrize("last", [True, False], ids=["channels last", "contiguous"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_panel_holds_the_sums(case: tuple, last: bool, top: int) -> None:  # type: ignore[type-arg]
    channels, wanted, first, size, planes, numbers, low, columns = case
    image = Rows(last=last, channels=channels, wanted=wanted, size=size)
    sums = RowSums(image, pairing(*numbers), planes, low, columns, item_size=4)
    x = np.random.default_rng(0).integers(-9, 10, (channels, *size)).astype(np.float32)
    r = Routine("sums")
    given = r.reads("x", "float32", x.size)
    panel = r.writes("panel", "float32", sums.numbers)
    with r.work():
        sums.fill(
            r, given, panel, source=r.const(first * image.steps[0]),
            planes=(r.const(0), r.const(planes), r.const(0), 1), top=r.const(top),
        )  # fmt: skip
    ordered = np.moveaxis(x, 0, -1) if last else x
    memory = {
        "x": np.ascontiguousarray(ordered).ravel(),
        "panel": np.full(sums.numbers, np.nan, np.float32),
    }
    interpret(r, memory)
    reach = max(offset for p in sums.pairing.products for offset, _ in p.rows) + 1
    padded = np.zeros((channels, size[0], 40 + size[1] + reach, low + size[2] + columns))
    padded[:, :, 20 : 20 + size[1], low : low + size[2]] = x
    of_channel, of_pixel, of_row, of_plane = sums.steps
    for plane in range(planes):
        for n, product in enumerate(sums.pairing.products):
            rows = [factor * padded[:, plane, 20 + top + o, :columns] for o, factor in product.rows]
            for c in range(wanted):
                at = plane * of_plane + n * of_row + c * of_channel
                got = memory["panel"][at : at + (columns - 1) * of_pixel + 1 : of_pixel]
                assert got.tolist() == sum(rows)[first + c].tolist()
