"""Vectors summed up across their lanes."""

import numpy as np
import pytest

from faltung.lang.interpret import interpret
from faltung.lang.routine import Routine
from faltung.parts.lane_sums import lane_sums


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("lanes", [1, 2, 4, 8, 16])
def test_every_lane_is_the_sum_of_a_vector(lanes: int, dtype: str) -> None:
    r = Routine("sums", 1)
    x, y = r.reads("x", dtype, lanes * lanes), r.writes("y", dtype, lanes)
    with r.work():
        r.store(y, 0, lane_sums(r, [r.load(x, n * lanes, lanes) for n in range(lanes)]))
    (work,) = r.body
    assert sum(op.name == "pick" for op in work.body) == 2 * (lanes - 1)
    numbers = np.random.default_rng(lanes).integers(-9, 10, (lanes, lanes)).astype(dtype)
    memory = {"x": numbers.reshape(-1), "y": np.full(lanes, np.nan, dtype)}
    interpret(r, memory)
    assert (memory["y"] == numbers.sum(1)).all()


def test_it_wants_as_many_as_there_are_lanes() -> None:
    r = Routine("uneven", 1)
    x = r.reads("x", "float32", 16)
    with r.work(), pytest.raises(ValueError, match="3, 4"):
        lane_sums(r, [r.load(x, 4 * n, 4) for n in range(3)])
