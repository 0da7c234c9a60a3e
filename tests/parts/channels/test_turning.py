"""Places of channels turned into pixels, and back."""

import numpy as np
import pytest

from faltung.lang.interpret import interpret
from faltung.lang.routine import Routine
from faltung.parts.channels.turning import Turning


@pytest.mark.parametrize("real", [1, 3, 4])
@pytest.mark.parametrize(("count", "grain"), [(1, 1), (3, 3), (4, 4), (7, 7), (6, 3), (8, 2)])
@pytest.mark.parametrize("known", [True, False])
def test_there_and_back(real: int, count: int, grain: int, known: bool) -> None:
    if known and grain >= 4 and count != grain:
        pytest.skip("what is known is one grain")
    lanes, plane, behind = 4, 9, 16
    r = Routine("turning")
    x = r.reads("x", "float32", real * plane)
    pixels = r.writes("pixels", "float32", (count + 2 + behind) * lanes)
    y = r.writes("y", "float32", real * plane)
    turning = Turning(r, lanes, real, "f32")
    with r.work():
        many = r.const(count)
        if not known:
            with r.loop(0, 1, carried=[many]) as loop:
                loop.carry(loop.carried[0])
            many = loop.results[0]
        turning.turn_in(x, r.const(1), plane, many, grain, pixels, r.const(2))
        turning.turn_out(pixels, r.const(2), many, grain, y, r.const(1), plane)
    numbers = np.arange(1, real * plane + 1, dtype=np.float32)
    memory = {
        "x": numbers, "pixels": np.full(pixels.count, 99, np.float32),
        "y": np.full(y.count, -1, np.float32),
    }  # fmt: skip
    interpret(r, memory)
    rows = numbers.reshape(real, plane)[:, 1 : 1 + count]
    found = memory["pixels"].reshape(-1, lanes)
    assert (found[:2] == 99).all()
    assert (found[2 : 2 + count, :real] == rows.T).all()
    assert not found[2 : 2 + count, real:].any()
    expected = np.full((real, plane), -1, np.float32)
    expected[:, 1 : 1 + count] = rows
    assert (memory["y"].reshape(real, plane) == expected).all()
