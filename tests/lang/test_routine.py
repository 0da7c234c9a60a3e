import numpy as np
import pytest

from faltung.lang.interpret import interpret
from faltung.lang.llvm_ir import llvm_ir
from faltung.lang.ops import BOOL, F32, F64, INDEX, LanguageError, Op, Type
from faltung.lang.routine import Routine
from faltung.lang.text import text


def routine() -> Routine:
    r = Routine("test")
    r.reads("x", "float32", 64)
    r.writes("y", "float32", 64)
    return r


def recorded(r: Routine) -> list[Op]:
    """All operations, those of inner bodies too."""
    found, left = [], list(r.body)
    while left:
        op = left.pop()
        found.append(op)
        left += op.body
    return found


def names(r: Routine) -> list[str]:
    return sorted(op.name for op in recorded(r))


def test_the_same_operation_is_recorded_once() -> None:
    r = routine()
    x, _ = r.buffers
    with r.work() as item:
        assert (item + 3).op is (item + 3).op
        assert (item + 3).op is not (item + 4).op
        assert (item + 3).op is not (item * 3).op
        assert r.load(x, item, 4).op is r.load(x, item, 4).op
        assert r.load(x, item, 4).op is not r.load(x, item, 8).op
        assert r.const(2, F32).op is r.const(2.0, F32).op
        assert r.const(2, F32).op is not r.const(2, F64).op
        assert r.const(2, F32).op is not r.const(2, F32, 4).op
        assert r.mask([True, False]).op is r.mask([1, 0]).op
        assert r.mask([True, True]).op is not r.mask([1, 0]).op


def test_minus_zero_is_not_zero() -> None:
    r = routine()
    with r.work():
        assert r.const(0.0, F32).op is not r.const(-0.0, F32).op
        assert r.const(float("nan"), F32).op is r.const(float("nan"), F32).op


def test_loads_of_a_written_buffer_are_not_merged() -> None:
    r = routine()
    _, y = r.buffers
    with r.work():
        first = r.load(y, 0)
        r.store(y, 0, first + 1.0)
        again = r.load(y, 0)
        assert again.op is not first.op
        r.store(y, 1, again + 1.0)
    memory = {"x": np.zeros(64, np.float32), "y": np.zeros(64, np.float32)}
    interpret(r, memory)
    assert memory["y"][:2].tolist() == [1.0, 2.0]


def test_a_cut_separates_loads_and_nothing_else() -> None:
    r = routine()
    x, _ = r.buffers
    with r.work() as item:
        load, place = r.load(x, item), item + 1
        r.cut()
        assert r.load(x, item).op is not load.op
        assert (item + 1).op is place.op
        with r.when(item < 3):
            inner = r.load(x, item)
            r.cut()
            assert r.load(x, item).op is not inner.op


def test_a_prefetch_changes_nothing_wherever_it_points() -> None:
    r = routine()
    x, _ = r.buffers
    with r.work() as item:
        load = r.load(x, item)
        r.prefetch(x, item - 1000)
        r.prefetch(x, item + 1000, cache=2)
        assert r.load(x, item).op is load.op
    memory = {"x": np.zeros(64, np.float32), "y": np.ones(64, np.float32)}
    interpret(r, memory)
    assert memory["y"].tolist() == [1.0] * 64
    asked = [line for line in llvm_ir(r).splitlines() if "call void @llvm.prefetch" in line]
    assert [line.partition("i32 0, ")[2] for line in asked] == ["i32 3, i32 1)", "i32 2, i32 1)"]
    again = routine()
    with again.work() as item, pytest.raises(LanguageError, match="1, 2 and 3, not 4"):
        again.prefetch(again.buffers[0], item, cache=4)


def test_values_of_an_enclosing_scope_are_used_again() -> None:
    r = routine()
    x, _ = r.buffers
    with r.work() as item:
        outer = r.load(x, item)
        with r.loop(0, 4), r.when(item < 3):
            assert r.load(x, item).op is outer.op


def test_values_of_an_ended_scope_are_not() -> None:
    r = routine()
    x, _ = r.buffers
    with r.work() as item:
        with r.when(item < 3):
            in_when = r.load(x, item)
        with r.loop(0, 4):
            in_loop = r.load(x, item)
        after = r.load(x, item)
        assert len({in_when.op, in_loop.op, after.op}) == 3
        with r.loop(0, 4):
            assert r.load(x, item).op is after.op


@pytest.mark.parametrize("use", ["store", "apply", "when", "loop", "carry"])
def test_an_ended_scope_gives_no_values(use: str) -> None:
    r = routine()
    x, y = r.buffers
    with r.work() as item:
        with r.loop(0, 4) as ended:
            value, place = r.load(x, item), ended.index
            condition = place < 3
        with pytest.raises(LanguageError, match=f"test: {use_name(use)} uses a .* that has ended"):
            if use == "store":
                r.store(y, 0, value)
            elif use == "apply":
                value + 1.0
            elif use == "when":
                with r.when(condition):
                    pass
            elif use == "loop":
                with r.loop(0, place):
                    pass
            else:
                with r.loop(0, 1, carried=[r.const(0, F32)]) as loop:
                    loop.carry(value)


def use_name(use: str) -> str:
    return {"apply": "add", "carry": "next"}.get(use, use)


def test_another_routines_value_is_refused() -> None:
    one, two = routine(), routine()
    with one.work() as item, two.work(), pytest.raises(LanguageError, match="has ended"):
        two.const(1) + item


def test_index_arithmetic_on_known_numbers_is_done_at_once() -> None:
    r = routine()
    with r.work() as item:
        for made, number in (
            (r.const(7) + 5, 12), (r.const(7) - 9, -2), (r.const(7) * 3, 21), (r.const(7) // 2, 3),
            (r.const(7) % 4, 3), (r.minimum(r.const(7), 5), 5), (r.maximum(r.const(7), 5), 7),
        ):  # fmt: skip
            assert (made.op.name, made.op.attr) == ("const", number)
        for made in (item + 0, 0 + item, item - 0, item * 1, 1 * item, item // 1):
            assert made.op is item.op
        assert (0 - item).op.name == "sub"
    assert set(names(r)) == {"work", "item", "const", "sub"}


def test_floats_are_not_folded() -> None:
    r = routine()
    with r.work():
        minus_zero = r.const(-0.0, F32)
        assert (minus_zero + 0.0).op.name == "add"


def test_python_numbers_take_the_type_of_the_other_operand() -> None:
    r = routine()
    x, _ = r.buffers
    with r.work() as item:
        vector = r.load(x, item, 8)
        for made in (
            vector + 1, 1 + vector, vector - 1, 1 - vector, vector * 2, 2 * vector, vector / 3,
            3 / vector, r.minimum(vector, 6), r.maximum(0, vector), -vector,
        ):  # fmt: skip
            assert made.type == Type(F32, 8)
        assert (vector < 0).type == (vector <= 0).type == Type(BOOL, 8)
        assert (vector > vector * 2).op is (vector * 2 < vector).op
        assert (item >= 2).op is r.apply("le", 2, item).op
        assert ((vector < 0) & (vector < 1) | ~(vector < 2)).type == Type(BOOL, 8)
        assert r.select(vector < 0, vector, 0.5).type == Type(F32, 8)
        assert r.select(item < 2, 0.5, vector).type == Type(F32, 8)
        assert (item // 2 % 3).type == Type(INDEX)
        assert r.below(3, 8).type == Type(BOOL, 8)
        assert r.below(item, 1).type == Type(BOOL)
        assert r.splat(item, 1) is item


@pytest.mark.parametrize("number", [0.5, float("inf"), float("nan"), 2**63, -(2**63) - 1])
def test_not_every_number_is_an_index(number: float) -> None:
    r = routine()
    with r.work() as item, pytest.raises(LanguageError, match=r"is no index"):
        item * number


def test_not_every_number_is_an_f32() -> None:
    r = routine()
    with r.work():
        with pytest.raises(LanguageError, match=r"1e\+39 is no f32"):
            r.const(1e39, F32)
        assert r.const(float("inf"), F32).type == Type(F32)
        assert r.const(1e39, F64).type == Type(F64)


def test_a_value_is_not_known_while_recording() -> None:
    r = routine()
    with r.work() as item:
        with pytest.raises(LanguageError, match=r"use when\(\) or select\(\)"):
            bool(item < 3)
        with pytest.raises(LanguageError, match=r"use when\(\) or select\(\)"):
            min(item, item + 1)


def test_mistakes_with_buffers() -> None:
    r = routine()
    x, y = r.buffers
    with pytest.raises(LanguageError, match="test: two buffers are called x"):
        r.writes("x", "float32", 3)
    with r.work() as item:
        with pytest.raises(LanguageError, match="test: x is read only"):
            r.store(x, 0, r.const(0, F32))
        with pytest.raises(LanguageError, match="test: y holds f32, not f64"):
            r.store(y, 0, r.const(0, F64))
        with pytest.raises(LanguageError, match="an index must be one index, got f32"):
            r.load(x, r.const(0, F32))
        with pytest.raises(LanguageError, match="an index must be one index, got indexx4"):
            r.load(x, r.lane(4))
        with pytest.raises(LanguageError, match="8 lanes need as many bools, got boolx4"):
            r.load(x, 0, 8, mask=r.below(item, 4))
        with pytest.raises(LanguageError, match=r"4 lanes need as many bools, got bool$"):
            r.store(y, 0, r.const(0, F32, 4), mask=item < 2)


def test_mistakes_with_control() -> None:
    r = routine()
    with pytest.raises(LanguageError, match=r"test: const outside of work\(\)"):
        r.const(1)
    with r.work() as item:
        said = "a loop's step must be at least 1, got 0"
        with pytest.raises(LanguageError, match=said), r.loop(0, 4, 0):
            pass
        said, four = r"when\(\) needs one bool, got boolx4", r.below(item, 4)
        with pytest.raises(LanguageError, match=said), r.when(four):
            pass
    with pytest.raises(LanguageError, match=r"work\(\) comes first and once"), r.work():
        pass
    with pytest.raises(LanguageError, match=r"test: mul outside of work\(\)"):
        item * item


def test_a_loop_carries_on_what_it_started_with() -> None:
    def carry(started: str, *carried: str) -> Routine:
        r = routine()
        with r.work(), r.loop(0, 4, carried=[r.const(0, started)]) as loop:
            loop.carry(*(r.const(0, kind) for kind in carried))
        return r

    assert "next" in names(carry(F32, F32))
    for wrong in ([], [F64], [F32, F32]):
        with pytest.raises(LanguageError, match="a loop must carry on what it started with"):
            carry(F32, *wrong)

    r = routine()
    said = "a loop must carry on"
    with r.work(), pytest.raises(LanguageError, match=said), r.loop(0, 4, carried=[r.const(0)]):
        pass  # nothing handed on


def test_the_text_of_a_record_does_not_depend_on_the_run() -> None:
    def record() -> str:
        r = routine()
        x, y = r.buffers
        with r.work() as item:
            r.store(y, item, r.load(x, item * 2, 4) * 0.5)
        return text(r)

    assert record() == record()
