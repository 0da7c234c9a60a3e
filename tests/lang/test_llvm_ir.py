import struct
from collections.abc import Callable, Iterator
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest

from faltung.lang.compile import assembly, object_code
from faltung.lang.llvm_ir import llvm_ir
from faltung.lang.ops import _RULES, BOOL, F32, F64, STORAGE, Op
from faltung.lang.routine import Routine, Value
from faltung.lang.target import AVX2, AVX512, NEON, Target

Memory = dict[str, Any]
Agree = Callable[[Routine, Memory], Memory]

TARGETS = {"neon": NEON, "avx2": AVX2, "avx512": AVX512}
LANES = (1, 2, 4, 8, 16, 32)

every_lanes = pytest.mark.parametrize("lanes", LANES)
every_target = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)


def every_operation(lanes: int) -> Routine:
    """A routine that uses all of the language, on memory of every dtype."""
    r = Routine("everything", items=4)
    xs = [r.reads(f"x{dtype}", dtype, 4 * lanes) for dtype in STORAGE]
    ys = [r.writes(f"y{dtype}", dtype, 8 * lanes) for dtype in STORAGE]
    with r.work() as item:
        for x, y in zip(xs, ys, strict=True):
            at, tail = item * lanes, r.below(4 - item, lanes)
            r.store(y, at, arithmetic(r, r.load(x, at, lanes), r.load(x, at, lanes, tail)))
            r.cut()
            r.prefetch(x, at - 99)
            with r.when(item % 2 < 1), r.loop(0, 4, 3, carried=[r.load(y, at, lanes)]) as loop:
                loop.carry(loop.carried[0] * 0.5)
            r.store(y, at + 4 * lanes, r.load(x, at, lanes) / 3.0, tail)
            r.store(y, at, r.const(1, y.kind, lanes), r.mask([n == 0 for n in range(lanes)]))
            places = indices(r, item, lanes)
            r.store(y, at, r.select(places, r.const(2, y.kind, lanes), r.load(x, at, lanes)))
    return r


def arithmetic(r: Routine, a: Value, b: Value) -> Value:
    """Every operation on floating-point numbers, in one sum."""
    lanes = a.type.lanes
    made = [a + b, a - b, a * b, a / b, r.minimum(a, b), r.maximum(a, b), r.fma(a, b, a), -a]
    made += [r.apply(name, a) for name in ("abs", "sqrt", "round", "pow2")]
    other = r.widen if a.type.kind == F32 else r.narrow
    back = r.narrow if a.type.kind == F32 else r.widen
    made += [back(other(a) * 3.0)]
    made += [r.apply("splat", r.sum(a), attr=lanes), r.pick(a, b, range(lanes, 2 * lanes))]
    either = ((a < b) & (a <= b)) | ~r.apply("eq", a, b)
    made += [r.select(either, a, b), r.select(r.sum(a) < 1.0, a, b)]
    total = made[0]
    for one in made[1:]:
        total = total + one
    return total


def indices(r: Routine, item: Value, lanes: int) -> Value:
    """Every operation on indices, as one condition."""
    a, b = r.splat(item, lanes) + r.lane(lanes), r.splat(item + 5, lanes)
    made = [a - b, a * b, a // b, a % b, r.minimum(a, b), r.maximum(a, b)]
    picked = r.pick(a, b, range(lanes))
    condition = (a < b) & (a <= picked) | r.const(True, BOOL, lanes)
    for one in made:
        condition = condition & r.apply("eq", one, a)
    return condition


def operations(ops: list[Op]) -> Iterator[Op]:
    for op in ops:
        yield op
        yield from operations(op.body)


def test_the_routine_uses_all_of_the_table() -> None:
    used = {op.name for op in operations(every_operation(4).body)}
    control = {"work", "item", "loop", "index", "carried", "result", "next", "when"}
    assert used == set(_RULES) | control | {"const", "lane", "load", "store", "cut", "prefetch"}


@every_lanes
def test_llvm_verifies_it(lanes: int) -> None:
    module = llvm.parse_assembly(llvm_ir(every_operation(lanes)))
    module.verify()
    assert [f.name for f in module.functions if not f.is_declaration] == [
        "body",
        "task",
        "launch",
        "thread_bytes",
    ]
    declared = [f.name for f in module.functions if f.is_declaration]
    assert all(name.startswith("llvm.") for name in declared)


@every_lanes
@every_target
def test_an_object_needs_nothing_from_outside(target: Target, lanes: int) -> None:
    """No symbol is left to be found: no fmaf, no conversion of halves, no memset."""
    code = object_code(llvm_ir(every_operation(lanes)), target)
    assert outside(code) == []
    sections = {s.name(): s.size() for s in llvm.ObjectFileRef.from_data(code).sections()}
    assert sections[b".text"] > 1000


def outside(code: bytes) -> list[str]:
    """The undefined symbols of a 64-bit ELF file."""
    (sections,) = struct.unpack_from("<Q", code, 40)
    size, count = struct.unpack_from("<HH", code, 58)
    headers = [struct.unpack_from("<IIQQQQIIQQ", code, sections + n * size) for n in range(count)]
    found = []
    for _, kind, _, _, start, length, link, _, _, entry in headers:
        if kind != 2:  # the table of symbols
            continue
        names = headers[link][4]
        for at in range(start, start + length, entry):
            name, _, _, where = struct.unpack_from("<IBBH", code, at)
            if where == 0 and name:
                found.append(code[names + name : code.index(b"\0", names + name)].decode())
    return found


def test_the_search_for_symbols_finds_them() -> None:
    calling = "declare float @fmaf(float)\ndefine float @launch(float %x) {\n"
    calling += "  %y = call float @fmaf(float %x)\n  ret float %y\n}\n"
    assert [outside(object_code(calling, t)) for t in TARGETS.values()] == [["fmaf"]] * 3


@pytest.mark.parametrize(
    ("target", "lanes", "instruction", "register"),
    [
        (AVX512, 16, "vfmadd", "%zmm"), (AVX512, 8, "vfmadd", "%ymm"), (AVX2, 8, "vfmadd", "%ymm"),
        (AVX2, 4, "vfmadd", "%xmm"), (NEON, 4, "fmla", "v0.4s"), (AVX2, 1, "vfmadd", "ss"),
    ],
)  # fmt: skip
def test_the_width_of_vectors(target: Target, lanes: int, instruction: str, register: str) -> None:
    r = Routine("axpy", items=4)
    x, y = r.reads("x", "float32", 4 * lanes), r.writes("y", "float32", 4 * lanes)
    with r.work() as item:
        a, b = r.load(x, item * lanes, lanes), r.load(y, item * lanes, lanes)
        r.store(y, item * lanes, r.fma(a, b, b))
    lines = assembly(llvm_ir(r), target).splitlines()
    fused = [line for line in lines if instruction in line]
    assert len(fused) == 1
    assert register in fused[0]


def test_a_cut_loads_again() -> None:
    def loads(cut: bool) -> int:
        r = Routine("cut")
        x, y = r.reads("x", "float32", 64), r.writes("y", "float32", 128)
        with r.work():
            for turn in range(2):
                for n in range(4):
                    r.store(y, 32 * turn + 8 * n, r.load(x, 8 * n, 8) * (turn + 2.0))
                if cut and turn == 0:
                    r.cut()
        lines = assembly(llvm_ir(r), AVX2).splitlines()
        return sum("(%rdx)" in line for line in lines)

    assert loads(True) == loads(False) + 4


# -- control ---------------------------------------------------------------------------------------


def floats(*numbers: float) -> Any:
    return np.array(numbers, np.float32)


def routine(*, reads: int = 8, writes: int = 8, items: int = 1) -> Routine:
    r = Routine("control", items)
    r.reads("x", "float32", reads)
    r.writes("y", "float32", writes)
    return r


def after(agree: Agree, r: Routine) -> list[float]:
    x, y = r.buffers
    memory = {"x": np.arange(1, x.count + 1, dtype=np.float32), "y": np.full(y.count, -1, "f")}
    found: list[float] = agree(r, memory)["y"].tolist()
    return found


@pytest.mark.parametrize(("begin", "end", "step"), [(0, 8, 1), (1, 8, 3), (2, 3, 5), (7, 8, 1)])
def test_a_loop_carries_values_on(agree: Agree, begin: int, end: int, step: int) -> None:
    r = routine()
    x, y = r.buffers
    with r.work() as item:
        start = [r.const(0, F32), r.const(1, F32)]
        with r.loop(begin, item + end, step, carried=start) as loop:
            total, product = loop.carried
            number = r.load(x, loop.index)
            loop.carry(total + number, product * number)
        r.store(y, 0, loop.results[0])
        r.store(y, 1, loop.results[1])
    numbers = [n + 1 for n in range(begin, end, step)]
    assert after(agree, r)[:2] == [sum(numbers), float(np.prod(numbers))]


def test_carried_values_change_places_at_once(agree: Agree) -> None:
    r = routine()
    _, y = r.buffers
    with r.work() as item:
        with r.loop(0, item + 5, carried=[r.const(1, F32), r.const(2, F32), item]) as loop:
            a, b, n = loop.carried
            r.store(y, n, a)
            loop.carry(b, a, n + 1)
        r.store(y, loop.results[2], loop.results[0])
    assert after(agree, r) == [1, 2, 1, 2, 1, 2, -1, -1]


@pytest.mark.parametrize(("begin", "end"), [(0, 0), (3, 3), (5, 2), (0, -4)])
def test_a_loop_of_no_turns_leaves_what_it_started_with(agree: Agree, begin: int, end: int) -> None:
    r = routine()
    x, y = r.buffers
    with r.work() as item:
        with r.loop(item + begin, item + end, carried=[r.load(x, 6)]) as loop:
            r.store(y, 0, loop.carried[0])
            loop.carry(loop.carried[0] + 1.0)
        r.store(y, 1, loop.results[0])
    assert after(agree, r)[:2] == [-1, 7]


def test_loops_in_loops(agree: Agree) -> None:
    """Pairs j ≤ i, counted and listed; the inner bound is the outer index."""
    r = routine(writes=16)
    x, y = r.buffers
    with r.work() as item:
        with r.loop(0, 4, carried=[r.const(0, F32), item]) as outer:
            with r.loop(0, outer.index + 1, carried=outer.carried) as inner:
                total, place = inner.carried
                r.store(y, place, r.load(x, inner.index))
                inner.carry(total + r.load(x, outer.index), place + 1)
            outer.carry(*inner.results)
        r.store(y, 15, outer.results[0])
    found = after(agree, r)
    assert found[:10] == [1, 1, 2, 1, 2, 3, 1, 2, 3, 4]
    assert found[15] == 1 + 2 * 2 + 3 * 3 + 4 * 4


def test_when(agree: Agree) -> None:
    r = routine(items=4)
    x, y = r.buffers
    with r.work() as item:
        number = r.load(x, item)
        with r.when(number < 3.0), r.when(~r.apply("eq", item, 0)):
            r.store(y, item, number * 10.0)
        with r.when(item < 1), r.loop(4, 6) as loop, r.when(loop.index < 5):
            r.store(y, loop.index, number)
    assert after(agree, r) == [-1, 20, -1, -1, 1, -1, -1, -1]


def test_a_value_of_a_when_is_worked_out_again_after_it(agree: Agree) -> None:
    """Had the first load been used for the second, it would not have happened."""
    r = routine(items=2)
    x, y = r.buffers
    with r.work() as item:
        with r.when(item < 1):
            r.store(y, item, r.load(x, item + 4) * 2.0)
        with r.loop(0, item):
            r.store(y, item + 4, r.load(x, item + 4) * 2.0)
        r.store(y, item + 2, r.load(x, item + 4) * 2.0)
    assert after(agree, r) == [10, -1, 10, 12, -1, 12, -1, -1]


def test_what_is_written_is_read_back(agree: Agree) -> None:
    r = routine()
    _, y = r.buffers
    with r.work(), r.loop(1, 8) as loop:
        r.store(y, loop.index, r.load(y, loop.index - 1) * 2.0)
        r.store(y, loop.index, r.load(y, loop.index) + 3.0)
    expected = [-1.0]
    for _ in range(7):
        expected.append(expected[-1] * 2 + 3)
    assert after(agree, r) == expected


def test_scalar_masks_of_a_loop_that_goes_on(agree: Agree) -> None:
    """A masked access of one lane is a branch, after which the loop's block is another."""
    r = routine()
    x, y = r.buffers
    with r.work(), r.loop(0, 8, carried=[r.const(0, F32)]) as loop:
        masked = r.load(x, loop.index, mask=loop.index % 2 < 1)
        total = loop.carried[0] + masked
        r.store(y, loop.index, total, mask=3 - loop.index < 1)
        loop.carry(total)
    assert after(agree, r) == [-1, -1, -1, 4, 9, 9, 16, 16]


@pytest.mark.parametrize("number", [0.1, -0.0, 1e-45, 3.4e38, float("inf"), float("nan"), 16777217])
@pytest.mark.parametrize("kind", [F32, F64])
def test_constants(agree: Agree, bits: Any, kind: str, number: float) -> None:
    dtype = {F32: "float32", F64: "float64"}[kind]
    r = Routine("constants")
    y = r.writes("y", dtype, 5)
    with r.work():
        r.store(y, 0, r.const(number, kind))
        r.store(y, 1, r.const(number, kind, 4))
    found = agree(r, {"y": np.zeros(5, dtype)})["y"]
    assert (bits(found) == bits(np.array([number]).astype(dtype))).all()
