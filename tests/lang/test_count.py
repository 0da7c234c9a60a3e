import pytest

from faltung.lang.count import Counts, count
from faltung.lang.ops import F32
from faltung.lang.routine import Routine


def test_straight_code() -> None:
    r = Routine("axpy", items=10)
    x, y = r.reads("x", "bfloat16", 80), r.writes("y", "float64", 160)
    w = r.reads("w", "float64", 4)
    with r.work() as item:
        at = item * 8  # an instruction that is no flop
        a = r.load(x, at, 8)  # 8 × 2 bytes
        b = r.fma(a, a, a) + 1.0  # 16 and 8
        r.store(y, at, r.load(w, 0, 4))  # 4 × 8 bytes, and as many again
        assert b.type.lanes == 8
    assert count(r) == Counts(flops=10 * 24, read=10 * 48, written=10 * 32, instructions=10 * 6)


@pytest.mark.parametrize(
    ("name", "flops"),
    [
        ("add", 8), ("sub", 8), ("mul", 8), ("div", 8), ("min", 8), ("max", 8), ("neg", 8),
        ("sqrt", 8), ("fma", 16), ("sum", 7), ("abs", 0), ("round", 0), ("pow2", 0), ("lt", 0),
        ("widen", 0),
    ],
)  # fmt: skip
def test_flops_of_an_operation(name: str, flops: int) -> None:
    r = Routine("one")
    x = r.reads("x", "float32", 8)
    of_one = ("neg", "sqrt", "sum", "abs", "round", "pow2", "widen")
    arity = 3 if name == "fma" else 1 if name in of_one else 2
    with r.work():
        a = r.load(x, 0, 8)
        r.apply(name, *[a] * arity)
    assert count(r) == Counts(flops=flops, read=32, written=0, instructions=2)


@pytest.mark.parametrize(
    ("begin", "end", "step", "turns"), [(0, 7, 1, 7), (2, 7, 2, 3), (0, 0, 1, 0), (5, 3, 1, 0)]
)
def test_loops_count_their_turns(begin: int, end: int, step: int, turns: int) -> None:
    r = Routine("loop", items=3)
    x = r.reads("x", "float32", 8)
    with r.work(), r.loop(begin, end, step, carried=[r.const(0, F32)]) as loop:
        loop.carry(loop.carried[0] + r.load(x, loop.index))
    assert count(r) == Counts(3 * turns, 3 * turns * 4, 0, 3 * turns * 2)


def test_loops_in_loops() -> None:
    """Channels × rows × columns, with a start at 1 in the middle."""
    r = Routine("loops", items=2)
    y = r.writes("y", "float32", 1000)
    with r.work(), r.loop(0, 3), r.loop(1, 5), r.loop(0, 10, 4) as columns:
        r.store(y, columns.index, r.const(0, F32, 4))
    assert count(r).written == 2 * 3 * 4 * 3 * 16
    assert count(r).flops == 0


def test_a_bound_of_the_routines_own_making_is_that_of_the_middle() -> None:
    """A triangle: 0 + 1 + … + 9 turns are 10 times those of row 5."""
    r = Routine("triangle")
    x = r.reads("x", "float32", 64)
    with r.work(), r.loop(0, 10) as rows, r.loop(0, rows.index) as columns:
        r.load(x, columns.index)
    assert count(r).read == 4 * 10 * 5


def test_a_bound_may_be_any_index() -> None:
    r = Routine("bounds", items=9)
    x = r.reads("x", "float32", 64)
    with r.work() as item:  # in the middle 4
        chosen = r.select((item < 3) | ~(item <= 3), item * 2, item)  # 8
        end = r.minimum(r.maximum(chosen - 1, 2), 100) // 2 + item % 3  # 7 // 2 + 1
        with r.loop(0, end, carried=[end, item]) as outer:
            with r.loop(0, outer.carried[1]):  # as at first: 4
                r.load(x, 0, 2)
            outer.carry(outer.carried[0], outer.carried[1] + 1)
        with r.loop(0, outer.results[0]):  # as at first: 4
            r.load(x, 1)
        with r.loop(0, r.pick(r.lane(4), r.lane(4), [3])):  # known to nobody here
            r.load(x, 2)
    assert count(r).read == 9 * (4 * 4 * 8 + 4 * 4)


def test_whens_and_masks_count_whole() -> None:
    r = Routine("whole", items=5)
    x, y = r.reads("x", "float32", 64), r.writes("y", "float16", 64)
    with r.work() as item, r.when(item < 2):
        r.store(y, item, r.load(x, item, 8, r.below(item, 8)), r.below(3, 8))
    assert count(r).read == 5 * 32
    assert count(r).written == 5 * 16


def test_nothing_counts_nothing() -> None:
    r = Routine("nothing", items=4)
    with r.work():
        pass
    assert count(r) == Counts() == Counts() + Counts() * 3


def test_shared_indices_are_worked_out_once() -> None:
    """Each index is the sum of the one before with itself: 2⁶⁰ ways to the first."""
    r = Routine("doubled", items=2)
    x = r.reads("x", "float32", 1)
    with r.work() as item:
        index = item
        for _ in range(60):
            index = index + index
        with r.loop(0, index // 2**59):
            r.load(x, 0)
    assert count(r).read == 2 * 2 * 4
