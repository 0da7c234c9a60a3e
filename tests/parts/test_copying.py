"""Arrays copied in another order, each access checked."""

import itertools

import numpy as np
import pytest

from faltung.lang.interpret import interpret
from faltung.parts.copying import CopiedAxis, CopyRoutine, has_squares, merged


@pytest.mark.parametrize("signs", [(1, 1, 1), (1, -1, 1), (-1, 1, -1)])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_every_number_is_in_its_place(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    sizes = (3, 5, 7)
    source = np.arange(105, dtype=np.float32).reshape(sizes)
    steps = (35, 7, 1)
    axes = merged([sizes[a] for a in order], [signs[a] * steps[a] for a in order])
    assert has_squares(axes)
    routine = CopyRoutine("copy", axes, 105, ("float32", "float32"), lanes=4)
    memory = {"from": source.reshape(-1), "to": np.full(105, np.nan, np.float32)}
    interpret(routine.r, memory)
    turned = source[tuple(slice(None, None, sign) for sign in signs)]
    assert (memory["to"] == turned.transpose(order).reshape(-1)).all()


def test_axes_that_lie_in_each_other_are_one() -> None:
    assert merged((2, 3, 4), (12, 4, 1)) == [CopiedAxis(24, 1, 1)]
    assert merged((4, 2, 3), (1, 12, 4)) == [CopiedAxis(4, 1, 6), CopiedAxis(6, 4, 1)]
    assert merged((1, 1), (5, 9)) == [CopiedAxis(1, 1, 1)]
    assert not has_squares(merged((2, 3), (2, 4)))
