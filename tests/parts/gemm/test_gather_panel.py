"""Rows of an image copied to a panel, with zeros beside them."""

from collections.abc import Callable

import numpy as np
import pytest

from faltung.lang.interpret import interpret
from faltung.lang.ops import Buffer
from faltung.lang.routine import Routine, Value
from faltung.parts.gemm.gather_panel import Copying, Run, Turning, known, when

NUMBERS = 200
SIZES = [
    (0, 1, 0),
    (1, 7, 1),
    (3, 0, 2),
    (0, 16, 0),
    (5, 70, 17),
    (40, 3, 0),
    (0, 0, 0),
    (2, 64, 5),
]


def copied(
    record: Callable[[Routine, Buffer, Buffer, list[Value]], None],
    sizes: tuple[int, int, int],
    dtype: str,
) -> np.ndarray:
    """A panel of NaN after copying; `sizes` are read from memory, so that nothing is known."""
    r = Routine("copying", items=NUMBERS)
    wide = "float64" if dtype == "float64" else "float32"
    x, y = r.reads("x", dtype, NUMBERS), r.writes("y", wide, NUMBERS)
    with r.work() as item, r.when(item < 1):
        record(r, x, y, [item + size for size in sizes])  # item is 0
    memory = {
        "x": np.arange(1, NUMBERS + 1).astype(np.float64 if dtype == "float64" else np.float16),
        "y": np.full(NUMBERS, np.nan, wide),
    }
    interpret(r, memory)
    panel: np.ndarray = memory["y"]
    return panel


@pytest.mark.parametrize("lanes", [4, 16])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("is_known", [True, False], ids=["known", "not known"])
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_a_row(sizes: tuple[int, int, int], lanes: int, dtype: str, is_known: bool) -> None:
    source, to = 9, 11

    def record(r: Routine, x: Buffer, y: Buffer, values: list[Value]) -> None:
        run = Run(*(sizes if is_known else values))
        Copying(r, x, y, lanes).run(r.const(source), r.const(to), run)

    panel = copied(record, sizes, dtype)
    before, count, after = sizes
    row = panel[to : to + sum(sizes)]
    assert (row[:before] == 0).all() and (row[before + count :] == 0).all()
    assert row[before : before + count].tolist() == list(range(source + 1, source + 1 + count))
    assert len(row) == before + count + after
    assert np.isnan(panel[:to]).all() and np.isnan(panel[to + sum(sizes) :]).all()


def test_rows_at_both_ends_of_the_image() -> None:
    # a vector would reach past the last number, and begins before the first
    def record(r: Routine, x: Buffer, y: Buffer, values: list[Value]) -> None:
        copying = Copying(r, x, y, 16)
        copying.run(r.const(0), r.const(0), Run(3, 5, 0))
        copying.run(r.const(NUMBERS - 5), r.const(20), Run(0, 5, 3))
        copying.run(r.const(NUMBERS - 5), r.const(40), Run(0, values[1], 0))

    panel = copied(record, (0, 5, 0), "float16")
    assert panel[:8].tolist() == [0, 0, 0, 1, 2, 3, 4, 5]
    assert panel[20:28].tolist() == [196, 197, 198, 199, 200, 0, 0, 0]
    assert panel[40:45].tolist() == [196, 197, 198, 199, 200]


def test_several_numbers_a_pixel() -> None:
    assert Run(1, 2, 3).times(5) == Run(5, 10, 15)


def test_what_is_known() -> None:
    r = Routine("known")
    with r.work() as item:
        assert (known(3), known(r.const(4)), known(item)) == (3, 4, None)
        with when(r, True):
            assert r.body[0].body[-1].name != "when"
        with when(r, item < 1):
            pass
        assert r.body[0].body[-1].name == "when"


@pytest.mark.parametrize("lanes", [4, 16])
@pytest.mark.parametrize("channels", [1, 4, 7, 20])
@pytest.mark.parametrize("count", [1, 4, 5, 16, 19])
@pytest.mark.parametrize("is_known", [True, False], ids=["known", "not known"])
def test_pixels_whose_channels_are_brought_together(
    count: int, channels: int, lanes: int, is_known: bool
) -> None:
    apart, pixel, source, to = 23, channels + 3, 2, 5
    r = Routine("turning", items=NUMBERS)
    size = apart * channels  # the last channel's last pixel is the last number there is
    x = r.reads("x", "float16", size)
    y = r.writes("y", "float32", to + count * pixel)
    with r.work() as item, r.when(item < 1):
        turning = Turning(r, x, y, lanes, channels, pixel, apart)
        turning.pixels(r.const(source), count if is_known else item + count, r.const(to))
    image = np.arange(1, size + 1, dtype=np.float16)
    memory: dict[str, np.ndarray] = {
        "x": image,
        "y": np.full(to + count * pixel, np.nan, np.float32),
    }
    interpret(r, memory)
    panel = memory["y"][to:].reshape(count, pixel)
    assert (
        panel[:, :channels] == image.reshape(channels, apart)[:, source : source + count].T
    ).all()
    assert np.isnan(panel[:, channels:]).all() and np.isnan(memory["y"][:to]).all()
