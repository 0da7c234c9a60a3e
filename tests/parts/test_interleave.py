"""Vectors woven into a row."""

import numpy as np
import pytest

from faltung.lang.interpret import interpret
from faltung.lang.routine import Routine
from faltung.parts.interleave import interleaved, weaving


@pytest.mark.parametrize("lanes", [2, 4, 8, 16])
@pytest.mark.parametrize("count", range(1, 17))
def test_lane_by_lane_of_every_part(count: int, lanes: int) -> None:
    r = Routine("weave", 1)
    x, y = r.reads("x", "float32", count * lanes), r.writes("y", "float32", count * lanes)
    with r.work():
        parts = [r.load(x, n * lanes, lanes) for n in range(count)]
        for n, vector in enumerate(interleaved(r, parts)):
            r.store(y, n * lanes, vector)
    (work,) = r.body
    picked = sum(op.name == "pick" for op in work.body)
    # fewer where a vector is so short that it has no lane of some parts
    assert picked == weaving(count) * count or (picked < weaving(count) * count and count > lanes)
    numbers = np.arange(count * lanes, dtype=np.float32)
    memory = {"x": numbers, "y": np.full_like(numbers, np.nan)}
    interpret(r, memory)
    assert (memory["y"] == numbers.reshape(count, lanes).T.ravel()).all()
