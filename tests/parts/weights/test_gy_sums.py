"""Sums of gy: of any number of vectors, each once."""

import numpy as np
import pytest

from faltung.lang.interpret import interpret
from faltung.lang.routine import Routine
from faltung.parts.weights.gy_sums import with_sum


@pytest.mark.parametrize("known", [True, False], ids=["known", "found out"])
@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 8, 11])
def test_every_vector_once(count: int, known: bool) -> None:
    r = Routine("adding")
    x, y = r.reads("x", "float32", max(count, 1) * 4), r.writes("y", "float32", 4)
    with r.work() as item:
        start = r.load(y, 0, 4)
        end = count if known else item + count
        r.store(y, 0, with_sum(r, start, end, lambda n: r.load(x, n * 4, 4)))
    numbers = np.arange(max(count, 1) * 4, dtype=np.float32)
    memory = {"x": numbers, "y": np.full(4, 100, np.float32)}
    interpret(r, memory)
    assert (memory["y"] == 100 + numbers.reshape(-1, 4)[:count].sum(0)).all()
