"""Indices that LLVM cannot see through."""

import numpy as np

from faltung.lang.interpret import interpret
from faltung.lang.routine import Routine
from faltung.parts.opaque import opaque


def test_it_is_the_same_number() -> None:
    r = Routine("opaque", 3)
    y = r.writes("y", "float32", 9)
    with r.work() as item:
        hidden = opaque(r, item * 4)
        assert hidden.op is not (item * 4).op
        r.store(y, hidden, r.const(1.0, "f32"))
    memory = {"y": np.zeros(9, np.float32)}
    interpret(r, memory)
    assert memory["y"].nonzero()[0].tolist() == [0, 4, 8]
