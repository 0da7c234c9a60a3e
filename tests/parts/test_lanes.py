"""Every s-th lane of s vectors."""

import numpy as np
import pytest

from faltung.lang.interpret import interpret
from faltung.lang.routine import Routine
from faltung.parts.lanes import every, picks


@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("stride", range(1, 17))
def test_takes_every_lane_of_every_phase(stride: int, lanes: int) -> None:
    r = Routine("every", 1)
    x, y = r.reads("x", "float32", stride * lanes), r.writes("y", "float32", stride * lanes)
    with r.work():
        parts = [r.load(x, n * lanes, lanes) for n in range(stride)]
        for phase in range(stride):
            r.store(y, phase * lanes, every(r, parts, phase))
    (work,) = r.body
    picked = sum(op.name == "pick" for op in work.body)
    # fewer where a vector is so short that it has no lane in some parts
    assert picked == picks(stride) * stride or (picked < picks(stride) * stride and stride > lanes)
    numbers = np.arange(stride * lanes, dtype=np.float32)
    memory = {"x": numbers, "y": np.full_like(numbers, np.nan)}
    interpret(r, memory)
    assert (memory["y"].reshape(stride, lanes) == numbers.reshape(lanes, stride).T).all()
