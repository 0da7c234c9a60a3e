"""A square of numbers transposed in registers."""

import numpy as np
import pytest

from faltung.lang.interpret import interpret
from faltung.lang.routine import Routine
from faltung.parts.transpose import transposed


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("lanes", [1, 2, 4, 8, 16, 32])
def test_rows_become_columns(lanes: int, dtype: str) -> None:
    r = Routine("transposed", 1)
    x, y = r.reads("x", dtype, lanes * lanes), r.writes("y", dtype, lanes * lanes)
    with r.work():
        rows = [r.load(x, n * lanes, lanes) for n in range(lanes)]
        for n, column in enumerate(transposed(r, rows)):
            r.store(y, n * lanes, column)
    (work,) = r.body
    assert sum(op.name == "pick" for op in work.body) == lanes * (lanes.bit_length() - 1)
    numbers = np.arange(lanes * lanes, dtype=dtype)
    memory = {"x": numbers, "y": np.full_like(numbers, np.nan)}
    interpret(r, memory)
    square = numbers.reshape(lanes, lanes)
    assert (memory["y"].reshape(lanes, lanes) == square.T).all()


def test_it_wants_a_square() -> None:
    r = Routine("uneven", 1)
    x = r.reads("x", "float32", 16)
    with r.work(), pytest.raises(ValueError, match="3 and 4"):
        transposed(r, [r.load(x, 4 * n, 4) for n in range(3)])
