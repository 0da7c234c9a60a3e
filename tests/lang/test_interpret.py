"""The meaning of every operation, three times: NumPy or plain Python, interpreter, machine code."""

import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from faltung.lang.interpret import interpret
from faltung.lang.ops import BOOL, F32, F64
from faltung.lang.routine import Routine, Value

Memory = dict[str, Any]
Agree = Callable[[Routine, Memory], Memory]

LANES = (1, 4, 8, 16)
DTYPES = {F32: "float32", F64: "float64"}
NUMPY = {F32: np.float32, F64: np.float64}

every_lanes = pytest.mark.parametrize("lanes", LANES)
every_float = pytest.mark.parametrize("kind", [F32, F64])


def specials(kind: str) -> Any:
    """Zeros, infinities, NaN, the ends of the ranges, halves, and some of no meaning."""
    limits = np.finfo(NUMPY[kind])
    magnitudes = [
        0.0, 0.5, 1.0, 1.5, 2.5, 3.0, float(limits.tiny), float(limits.smallest_subnormal),
        float(limits.tiny) * 0.75, float(limits.max), 1 + float(limits.eps), math.inf,
        0.1, 1e7 + 0.5,
    ]  # fmt: skip
    return np.array([s * m for m in magnitudes for s in (1, -1)] + [math.nan], NUMPY[kind])


def numbers(kind: str, arity: int, lanes: int) -> list[Any]:
    """Every combination of special numbers, and as many random ones, in whole vectors."""
    few = specials(kind) if arity < 3 else specials(kind)[:: 2 if lanes > 1 else 3]
    columns = [
        np.array(c, NUMPY[kind]) for c in np.array([*itertools.product(few, repeat=arity)]).T
    ]
    random = np.random.default_rng(len(few)).standard_normal((arity, 160)).astype(NUMPY[kind])
    joined = [np.concatenate(pair) for pair in zip(columns, random, strict=True)]
    return [np.resize(one, -(-len(one) // 16) * 16) for one in joined]


def elementwise(
    operation: Callable[..., Value], kind: str, lanes: int, operands: list[Any]
) -> tuple[Routine, Memory]:
    """y = operation(a, b, …); bools are written as 1 and 0."""
    count, dtype = len(operands[0]), DTYPES[kind]
    r = Routine("elementwise", items=count // lanes)
    buffers = [r.reads("abc"[n], dtype, count) for n in range(len(operands))]
    y = r.writes("y", dtype, count)
    with r.work() as item:
        made = operation(r, *(r.load(b, item * lanes, lanes) for b in buffers))
        if made.type.kind == BOOL:
            made = r.select(made, r.const(1, kind, lanes), r.const(0, kind, lanes))
        r.store(y, item * lanes, made)
    memory = {"abc"[n]: operand for n, operand in enumerate(operands)}
    return r, {**memory, "y": np.full(count, np.nan, NUMPY[kind])}


def check(agree: Agree, bits: Any, run: tuple[Routine, Memory], expected: Any) -> None:
    found = agree(*run)["y"]
    same = bits(found) == bits(expected.astype(found.dtype))
    operands = {name: a[~same][:3] for name, a in run[1].items()}
    assert same.all(), f"{operands}: found {found[~same][:3]}, expected {expected[~same][:3]}"


def smaller(a: Any, b: Any) -> Any:
    """In plain words: NaN if there is one, −0 below +0, and else the smaller."""

    def one(x: Any, y: Any) -> Any:
        if math.isnan(x) or math.isnan(y):
            return math.nan
        return min(x, y, key=lambda n: (n, math.copysign(1, n)))

    return np.array([one(x, y) for x, y in zip(a, b, strict=True)], a.dtype)


BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "min": smaller,
    "max": lambda a, b: -smaller(-a, -b),
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "eq": lambda a, b: a == b,
}
UNARY: dict[str, Callable[[Any], Any]] = {
    "neg": lambda a: np.copysign(a, -np.copysign(1.0, a)),
    "abs": lambda a: np.copysign(a, 1.0),
    "sqrt": lambda a: np.array([math.sqrt(x) if x >= 0 else math.nan for x in a], a.dtype),
    # Python's round() takes ties to even
    "round": lambda a: np.array(
        [math.copysign(round(float(x)), x) if math.isfinite(x) else x for x in a], a.dtype
    ),
}


@every_lanes
@every_float
@pytest.mark.parametrize("name", BINARY)
def test_of_two_floats(agree: Agree, bits: Any, name: str, kind: str, lanes: int) -> None:
    a, b = numbers(kind, 2, lanes)
    run = elementwise(lambda r, a, b: r.apply(name, a, b), kind, lanes, [a, b])
    with np.errstate(all="ignore"):
        check(agree, bits, run, BINARY[name](a, b))


@every_lanes
@every_float
@pytest.mark.parametrize("name", UNARY)
def test_of_one_float(agree: Agree, bits: Any, name: str, kind: str, lanes: int) -> None:
    (a,) = numbers(kind, 1, lanes)
    run = elementwise(lambda r, a: r.apply(name, a), kind, lanes, [a])
    check(agree, bits, run, UNARY[name](a))


def test_the_square_root_of_a_float_is_rounded_once() -> None:
    """`math.sqrt` above is of doubles; rounding its result again gives the float's own root."""
    a = np.random.default_rng(0).random(10000, np.float32)
    assert np.array_equal(np.sqrt(a), UNARY["sqrt"](a))


def fused(a: float, b: float, c: float, kind: Any) -> Any:
    """The float nearest to a · b + c, found among the neighbours of a rough one."""
    if not (math.isfinite(a) and math.isfinite(b) and math.isfinite(c)):
        if math.isfinite(a) and math.isfinite(b):
            return c
        return a * b + c
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    if exact == 0:
        product_is_negative = math.copysign(1, a) != math.copysign(1, b)
        negative = product_is_negative and math.copysign(1, c) < 0
        # opposite numbers sum to +0, and two zeros to −0 only if both are
        return -0.0 if negative and (a == 0 or b == 0) else 0.0
    limits = np.finfo(kind)
    most = Fraction(float(limits.max))
    step = Fraction(2) ** (limits.maxexp - limits.nmant - 2)
    if abs(exact) >= most + step:
        return math.copysign(math.inf, 1 if exact > 0 else -1)
    rough = kind(float(max(-most, min(most, exact))))
    below, above = np.nextafter(rough, kind(-np.inf)), np.nextafter(rough, kind(np.inf))
    near = [x for x in (below, rough, above) if np.isfinite(x)]
    word = np.dtype(f"u{rough.itemsize}")
    best = min(near, key=lambda x: (abs(Fraction(float(x)) - exact), int(x.view(word)) & 1))
    return math.copysign(float(best), 1 if exact > 0 else -1)


@every_lanes
@every_float
def test_fma_is_rounded_once(agree: Agree, bits: Any, kind: str, lanes: int) -> None:
    a, b, c = numbers(kind, 3, lanes)
    run = elementwise(lambda r, a, b, c: r.fma(a, b, c), kind, lanes, [a, b, c])
    with np.errstate(all="ignore"):
        each = [
            fused(float(x), float(y), float(z), NUMPY[kind])
            for x, y, z in zip(a, b, c, strict=True)
        ]
    check(agree, bits, run, np.array(each))


def test_fma_at_the_ties_of_floats(agree: Agree, bits: Any) -> None:
    """Products that lie on, just above and just below the middle between two float32."""
    rng = np.random.default_rng(1)
    # (1 + 2^−12)² = 1 + 2^−11 + 2^−24: the last term is half of the last bit of a float32
    a = np.full(4096, 1 + 2.0**-12, np.float32)
    c = np.where(rng.random(4096) < 0.5, -1, 1) * np.float32(2) ** rng.integers(-149, -20, 4096)
    c = np.where(rng.random(4096) < 0.1, 0, c).astype(np.float32)
    run = elementwise(lambda r, a, b, c: r.fma(a, b, c), F32, 8, [a, a, c])
    each = [fused(float(x), float(x), float(z), np.float32) for x, z in zip(a, c, strict=True)]
    check(agree, bits, run, np.array(each))
    assert len(set(each)) > 3


@every_lanes
@every_float
def test_a_product_and_a_sum_are_two_roundings(
    agree: Agree, bits: Any, kind: str, lanes: int
) -> None:
    a, b, c = np.random.default_rng(2).standard_normal((3, 160)).astype(NUMPY[kind])
    run = elementwise(lambda r, a, b, c: a * b + c, kind, lanes, [a, b, c])
    check(agree, bits, run, (a * b).astype(NUMPY[kind]) + c)
    once = agree(*elementwise(lambda r, a, b, c: r.fma(a, b, c), kind, lanes, [a, b, c]))["y"]
    assert not np.array_equal(once, a * b + c)  # or the test above shows nothing


@every_lanes
@pytest.mark.parametrize(("kind", "low", "high"), [(F32, -126, 127), (F64, -1022, 1023)])
def test_pow2(agree: Agree, bits: Any, kind: str, low: int, high: int, lanes: int) -> None:
    whole = np.resize(np.arange(low, high + 1, dtype=NUMPY[kind]), 2048)
    run = elementwise(lambda r, a: r.apply("pow2", a), kind, lanes, [whole])
    check(agree, bits, run, np.array([2.0 ** float(x) for x in whole]))


@pytest.mark.parametrize("number", [0.5, -127, 128, math.inf, math.nan])
def test_pow2_is_of_whole_numbers_with_a_normal_result(number: float) -> None:
    operands = [np.full(16, number, np.float32)]
    with pytest.raises(ArithmeticError, match="whole numbers with a normal result, got"):
        interpret(*elementwise(lambda r, a: r.apply("pow2", a), F32, 4, operands))


@pytest.mark.parametrize("lanes", [1, 2, 4, 8, 16, 32])
@every_float
def test_sum_adds_halves(agree: Agree, bits: Any, kind: str, lanes: int) -> None:
    a = np.random.default_rng(3).standard_normal(64 * lanes).astype(NUMPY[kind])
    r = Routine("sum", items=64)
    x, y = r.reads("x", DTYPES[kind], len(a)), r.writes("y", DTYPES[kind], 64)
    with r.work() as item:
        r.store(y, item, r.sum(r.load(x, item * lanes, lanes)))
    found = agree(r, {"x": a, "y": np.full(64, np.nan, a.dtype)})["y"]

    def added(parts: list[Any]) -> Any:
        half = len(parts) // 2
        pairs = zip(parts[:half], parts[half:], strict=True)
        return parts[0] if len(parts) == 1 else added([one + two for one, two in pairs])

    expected = np.array([added(list(row)) for row in a.reshape(64, lanes)])
    assert np.array_equal(bits(found), bits(expected))


@every_lanes
@every_float
def test_pick_and_splat(agree: Agree, kind: str, lanes: int) -> None:
    rng = np.random.default_rng(lanes)
    a, b = np.arange(2 * lanes, dtype=NUMPY[kind]).reshape(2, lanes)
    for made in (1, 2, lanes, 2 * lanes):
        places = [int(p) for p in rng.integers(0, 2 * lanes, made)]
        r = Routine("pick")
        buffers = [r.reads(name, DTYPES[kind], lanes) for name in "ab"]
        y, z = r.writes("y", DTYPES[kind], made), r.writes("z", DTYPES[kind], lanes)
        with r.work():
            picked = r.pick(*(r.load(x, 0, lanes) for x in buffers), places)
            r.store(y, 0, picked)
            r.store(z, 0, r.apply("splat", r.load(buffers[1], lanes - 1), attr=lanes))
        empty = {"y": np.zeros(made, a.dtype), "z": np.zeros(lanes, a.dtype)}
        found = agree(r, {"a": a, "b": b, **empty})
        assert found["y"].tolist() == places
        assert found["z"].tolist() == [b[-1]] * lanes


@every_lanes
@every_float
def test_select_by_lane_and_as_a_whole(agree: Agree, kind: str, lanes: int) -> None:
    a, b = np.random.default_rng(lanes).standard_normal((2, 160)).astype(NUMPY[kind])
    run = elementwise(lambda r, a, b: r.select(a < b, a, b * 2.0), kind, lanes, [a, b])
    assert np.array_equal(agree(*run)["y"], np.where(a < b, a, b * 2))

    def whole(r: Routine, a: Value, b: Value) -> Value:
        first_of_both = r.pick(a, b, [0]) < r.pick(a, b, [lanes])
        return r.select(first_of_both, a, b)

    condition = np.repeat(a[::lanes] < b[::lanes], lanes)
    found = agree(*elementwise(whole, kind, lanes, [a, b]))["y"]
    assert np.array_equal(found, np.where(condition, a, b))


@every_lanes
def test_bools(agree: Agree, lanes: int) -> None:
    a, b = numbers(F32, 2, lanes)

    def both(r: Routine, a: Value, b: Value) -> Value:
        one, two = a < b, a < 1.0
        known = r.mask([lane % 3 == 0 for lane in range(lanes)])
        nothing = r.const(False, BOOL, lanes)
        mixed = (one & ~two) | (r.select(two, known, one) & r.apply("not", nothing))
        return r.pick(mixed, mixed, [*range(1, lanes), 0])

    found = agree(*elementwise(both, F32, lanes, [a, b]))["y"].reshape(-1, lanes)
    one, two = a < b, a < 1
    known = np.resize(np.arange(lanes) % 3 == 0, len(a))
    expected = (one & ~two) | np.where(two, known, one)
    assert np.array_equal(found, np.roll(expected.reshape(-1, lanes), -1, axis=1))


INDEX_OPERATIONS: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "quot": lambda a, b: a // b,
    "rem": lambda a, b: a % b,
    "min": min,
    "max": max,
}
INDEX_COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "eq": lambda a, b: a == b,
}


@every_lanes
@pytest.mark.parametrize("name", [*INDEX_OPERATIONS, *INDEX_COMPARISONS])
def test_indices(agree: Agree, name: str, lanes: int) -> None:
    """A 1 for every lane in which the operation made what it should have."""
    pairs = [(0, 1), (7, 7), (41, 6), (2**31, 3), (2**31 - 1, 2**31 + 11), (2**62, 2**61 + 5)]
    if name in ("sub", "min", "max", *INDEX_COMPARISONS):
        pairs += [(-5, 3), (3, -5), (-(2**40), -(2**40) - 1)]
    if name == "mul":
        pairs = [(a, b % 2**30) for a, b in pairs[:-1]]
    if name == "add":
        pairs = pairs[:-1]
    r = Routine("indices", items=2)
    y = r.writes("y", "float32", 2 * len(pairs) * lanes)
    with r.work() as item:
        for n, (a, b) in enumerate(pairs):
            # item and lane are not known while recording, so nothing is folded
            one = r.splat(item + a, lanes) + r.lane(lanes)
            two = r.splat(item + b, lanes)
            right = checked(r, name, [(a, b), (a + 1, b + 1)], one, two, item)
            ones, zeros = r.const(1, F32, lanes), r.const(0, F32, lanes)
            r.store(y, (item * len(pairs) + n) * lanes, r.select(right, ones, zeros))
    assert agree(r, {"y": np.full(y.count, np.nan, np.float32)})["y"].all()


def checked(
    r: Routine, name: str, pairs: list[tuple[int, int]], one: Value, two: Value, item: Value
) -> Value:
    """Whether an operation's lanes are right for both items."""
    lanes = one.type.lanes
    right = []
    for a, b in pairs:
        if name in INDEX_COMPARISONS:
            known = r.mask([INDEX_COMPARISONS[name](a + lane, b) for lane in range(lanes)])
            made = r.apply(name, one, two)
            right.append((made & known) | (~made & ~known))
            continue
        lane_right = r.mask([False] * lanes)
        made = r.apply(name, one, two)
        for lane in range(lanes):
            number = INDEX_OPERATIONS[name](a + lane, b)
            only = r.mask([n == lane for n in range(lanes)])
            lane_right = lane_right | (only & r.apply("eq", made, number))
        right.append(lane_right)
    first = r.splat(r.apply("eq", item, 0), lanes)
    return (first & right[0]) | (~first & right[1])


@pytest.mark.parametrize(
    ("operation", "error", "said"),
    [
        (lambda r, item: (item - 1) // 2, ArithmeticError, "quot and rem are of a ≥ 0 and b > 0"),
        (lambda r, item: item % (item - 1), ArithmeticError, "quot and rem are of a ≥ 0"),
        (lambda r, item: item // item, ArithmeticError, "quot and rem are of a ≥ 0 and b > 0"),
        (lambda r, item: (item + 2**62) * 2, OverflowError, "too large"),
        (lambda r, item: (item + (2**63 - 1)) + 1, OverflowError, "too large"),
    ],
)
def test_what_compiled_code_leaves_open_is_an_error(
    operation: Callable[..., Value], error: type[Exception], said: str
) -> None:
    r = Routine("open")
    with r.work() as item:
        operation(r, item)
    with pytest.raises(error, match=said):
        interpret(r, {})


def test_some_of_the_items() -> None:
    r = Routine("items", items=8)
    y = r.writes("y", "float32", 8)
    with r.work() as item:
        r.store(y, item, r.const(1, F32))
    memory = {"y": np.zeros(8, np.float32)}
    interpret(r, memory, 2, 5)
    assert memory["y"].tolist() == [0, 0, 1, 1, 1, 0, 0, 0]
