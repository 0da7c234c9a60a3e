"""Tiles that cover many things, shared out in blocks."""

import numpy as np
import pytest

from faltung.lang.interpret import interpret
from faltung.lang.routine import Routine
from faltung.parts.cover import Cover


@pytest.mark.parametrize("wanted", [1, 2, 3, 32])
@pytest.mark.parametrize("size", [1, 2, 4, 5])
@pytest.mark.parametrize("count", [5, 6, 8, 19])
def test_every_thing_is_covered_and_no_two_blocks_share_one(
    count: int, size: int, wanted: int
) -> None:
    cover = Cover(count, size, wanted)
    r = Routine("cover", cover.blocks)
    y = r.writes("y", "float32", count * cover.blocks)
    with r.work() as block, cover.loop(r, block) as first:
        for n in range(size):
            r.store(y, block * count + first + n, r.const(1, "f32"))
    memory = {"y": np.zeros(count * cover.blocks, np.float32)}
    interpret(r, memory)
    touched = memory["y"].reshape(cover.blocks, count)
    assert cover.blocks <= wanted
    assert (touched.sum(axis=0) == 1).all()
    assert touched.any(axis=1).all()
