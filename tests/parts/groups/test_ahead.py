"""Lines asked for ahead: all of them, evenly, and into the second cache."""

import pytest

from faltung.lang.llvm_ir import llvm_ir
from faltung.lang.routine import Routine
from faltung.parts.groups.ahead import Ahead, pixels


@pytest.mark.parametrize(("wanted", "chances"), [(3, 10), (5, 5), (1, 4), (4, 2), (0, 6)])
def test_all_that_there_are_chances_for(wanted: int, chances: int) -> None:
    r = Routine("asking")
    x = r.reads("x", "float32", 99)
    with r.work() as item:
        places = pixels(x, item, range(wanted), 1, (16, 1))
        ahead = Ahead(r, places, chances)
        asked = [ahead.chance() for _ in range(chances + 3)]
    every = max(1, chances // max(wanted, 1))
    assert asked[:chances] == [
        (n + 1) % every == 0 and (n + 1) // every <= wanted for n in range(chances)
    ]
    lines = [line for line in llvm_ir(r).splitlines() if "call void @llvm.prefetch" in line]
    assert len(lines) == sum(asked)
    assert all("i32 0, i32 2, i32 1" in line for line in lines)


def test_pixels_of_some_rows() -> None:
    r = Routine("pixels")
    x = r.reads("x", "float32", 99)
    with r.work():
        found = pixels(x, r.const(7), (2, 3), 2, (20, 4))
    assert [at.op.attr for _, at in found] == [47, 51, 67, 71]
