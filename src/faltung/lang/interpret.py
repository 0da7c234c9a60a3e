"""The meaning of a routine: run it in Python, one operation at a time, with every index checked.

This file is the definition of the language: what compiled code does on any input for which the
interpreter raises nothing must be the same, to the bit. Values are NumPy arrays of their lanes.
"""

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from .ops import _RULES, BOOL, F32, F64, INDEX, Buffer, Op, Type
from .routine import Routine

Lanes = Any  # an array of a value's lanes
Memory = dict[str, Any]  # a buffer's name -> its numbers; bfloat16 as uint16

_KINDS = {INDEX: np.int64, F32: np.float32, F64: np.float64, BOOL: np.bool_}
_MEMORY = {
    "float32": np.float32, "float64": np.float64, "float16": np.float16, "bfloat16": np.uint16,
}  # fmt: skip
# what an item finds in a scratch buffer: NaN
_NOTHING = dict.fromkeys(("float32", "float64", "float16"), np.nan) | {"bfloat16": 0x7FC0}


def interpret(routine: Routine, memory: Memory, first: int = 0, last: int | None = None) -> None:
    """Run the items first … last − 1 on `memory`, which holds an array for every buffer.

    Raises `IndexError` where an access leaves its buffer, with the routine's and buffer's names.
    """
    for buffer in routine.buffers:
        found = memory[buffer.name]
        if found.shape != (buffer.count,) or found.dtype != _MEMORY[buffer.dtype]:
            raise ValueError(
                f"{routine.name}: {buffer.name} is {buffer.dtype}[{buffer.count}], got "
                f"{found.dtype}{list(found.shape)}"
            )
    _Run(routine, memory).items(first, routine.items if last is None else last)


class _Run:
    """One run: the memory, and the value of each operation so far."""

    def __init__(self, routine: Routine, memory: Memory) -> None:
        self.routine, self.memory = routine, memory
        self.values: dict[Op, Lanes] = {}
        self.results: dict[Op, list[Lanes]] = {}

    def items(self, first: int, last: int) -> None:
        (work,) = self.routine.body
        for item in range(first, last):
            for buffer in self.routine.buffers:
                if buffer.scratch:
                    self.memory[buffer.name][:] = _NOTHING[buffer.dtype]
            self.values[work.body[0]] = np.array([item])
            self.run(work.body[1:])

    def run(self, ops: Sequence[Op]) -> list[Lanes]:
        """Run a body; what its `next` hands on."""
        following: list[Lanes] = []
        for op in ops:
            args = [self.values[a] for a in op.args if a.name != "loop"]
            if op.name == "next":
                following = args
            elif op.name in ("cut", "prefetch"):
                continue
            elif op.name == "loop":
                self.results[op] = self.loop(op, args)
            elif op.name == "when":
                if args[0][0]:
                    self.run(op.body)
            elif op.name == "store":
                self.store(op.attr, *args)
            elif op.name == "load":
                self.values[op] = self.load(op.attr, op.type, *args)
            elif op.name == "result":
                self.values[op] = self.results[op.args[0]][op.attr]
            else:
                self.values[op] = _value(op, args)
        return following

    def loop(self, op: Op, args: list[Lanes]) -> list[Lanes]:
        begin, end, *carried = args
        count = 1 + len(carried)
        index, *phis = op.body[:count]
        for turn in range(int(begin[0]), int(end[0]), op.attr):
            self.values[index] = np.array([turn])
            self.values.update(zip(phis, carried, strict=True))
            carried = self.run(op.body[count:])
        return carried

    def load(self, buffer: Buffer, kind: Type | None, at: Lanes, mask: Lanes = None) -> Lanes:
        assert kind is not None
        wanted = np.ones(kind.lanes, bool) if mask is None else mask
        out: Lanes = np.zeros(kind.lanes, _KINDS[kind.kind])
        for lane in self.places(buffer, at, wanted):
            out[lane] = _from_memory(self.memory[buffer.name][int(at[0]) + lane], buffer.dtype)
        return out

    def store(self, buffer: Buffer, at: Lanes, value: Lanes, mask: Lanes = None) -> None:
        wanted = np.ones(len(value), bool) if mask is None else mask
        for lane in self.places(buffer, at, wanted):
            self.memory[buffer.name][int(at[0]) + lane] = _to_memory(value[lane], buffer.dtype)

    def places(self, buffer: Buffer, at: Lanes, wanted: Lanes) -> Iterator[int]:
        start = int(at[0])
        for lane in np.flatnonzero(wanted):
            if not 0 <= start + lane < buffer.count:
                raise IndexError(
                    f"{self.routine.name}: {buffer.name}[{start}:{start + len(wanted)}] leaves "
                    f"[0, {buffer.count})"
                )
            yield int(lane)


def known(op: Op, depth: int = 50) -> Lanes | None:
    """What an operation makes, if it is made of constants only, and of not too many."""
    if depth == 0 or op.name not in ("const", "lane", *_RULES):
        return None
    args: list[Lanes] = []
    for arg in op.args:
        args.append(known(arg, depth - 1))
        if args[-1] is None:
            return None
    return _value(op, args)


def _value(op: Op, args: list[Lanes]) -> Lanes:
    assert op.type is not None
    lanes, kind = op.type.lanes, _KINDS[op.type.kind]
    if op.name == "const":
        return np.array(op.attr) if isinstance(op.attr, tuple) else np.full(lanes, op.attr, kind)
    if op.name == "lane":
        return np.arange(lanes)
    if op.name == "splat":
        return np.repeat(args[0], lanes)
    if op.name == "pick":
        return np.concatenate(args)[list(op.attr)]
    if op.type.kind == INDEX and op.name != "select":
        args = [a.astype(object) for a in args]  # Python's integers: an overflow is an error below
    with np.errstate(all="ignore"):
        result: Lanes = _MEANING[op.name](*args)
        return result.astype(kind, copy=False)


def _natural(operation: Callable[..., Lanes]) -> Callable[..., Lanes]:
    def checked(a: Lanes, b: Lanes) -> Lanes:
        if np.any(a < 0) or np.any(b <= 0):
            raise ArithmeticError(f"quot and rem are of a ≥ 0 and b > 0, got {a} and {b}")
        return operation(a, b)

    return checked


def _min(a: Lanes, b: Lanes) -> Lanes:
    # NumPy leaves open which of two zeros is the smaller
    tie = a if a.dtype == object else np.where(np.signbit(a), a, b)
    return np.where(a == b, tie, np.minimum(a, b))


def _max(a: Lanes, b: Lanes) -> Lanes:
    tie = a if a.dtype == object else np.where(np.signbit(a), b, a)
    return np.where(a == b, tie, np.maximum(a, b))


def _pow2(a: Lanes) -> Lanes:
    normal = np.finfo(a.dtype)
    if not np.all((a == np.rint(a)) & (a >= normal.minexp) & (a < normal.maxexp)):
        raise ArithmeticError(f"pow2 is of whole numbers with a normal result, got {a}")
    return np.ldexp(np.ones_like(a), a.astype(np.int32))


def _fma(a: Lanes, b: Lanes, c: Lanes) -> Lanes:
    rounded = [_fused(x, y, z) for x, y, z in zip(a, b, c, strict=True)]
    return np.array(rounded, a.dtype)


def _fused(a: Any, b: Any, c: Any) -> Any:
    """a · b + c rounded once, through exact fractions."""
    if not (np.isfinite(a) and np.isfinite(b)):
        return a * b + c
    if not np.isfinite(c):
        return c  # a · b is finite, even where it does not fit into a float
    exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
    if exact == 0:
        return a * b + c  # the sign of a zero, which a fraction has not
    return _nearest(exact, type(a))


def _nearest(exact: Fraction, kind: Any) -> Any:
    """The float nearest to a fraction, ties to even."""
    try:
        double = np.float64(exact.numerator / exact.denominator)  # int / int rounds once
    except OverflowError:
        return kind(np.inf if exact > 0 else -np.inf)
    if kind is np.float64:
        return double
    # rounding twice is right if the first leaves an odd last bit wherever it is not exact
    slip = exact - Fraction(float(double))
    if slip and double.view(np.int64) % 2 == 0:
        double = np.nextafter(double, np.inf if slip > 0 else -np.inf)
    return kind(double)


def _sum(a: Lanes) -> Lanes:
    while len(a) > 1:
        half = len(a) // 2
        a = a[:half] + a[half:]
    return a


_MEANING: dict[str, Callable[..., Lanes]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "quot": _natural(np.floor_divide),
    "rem": _natural(np.remainder),
    "min": _min,
    "max": _max,
    "fma": _fma,
    "neg": np.negative,
    "abs": np.abs,
    "sqrt": np.sqrt,
    "round": np.rint,
    "pow2": _pow2,
    "widen": lambda a: a.astype(np.float64),
    "narrow": lambda a: a.astype(np.float32),
    "lt": np.less,
    "le": np.less_equal,
    "eq": np.equal,
    "and": np.logical_and,
    "or": np.logical_or,
    "not": np.logical_not,
    "select": np.where,
    "sum": _sum,
}


def _from_memory(number: Any, dtype: str) -> Any:
    if dtype == "bfloat16":
        return np.array([int(number) << 16], np.uint32).view(np.float32)[0]
    return number


def _to_memory(number: Any, dtype: str) -> Any:
    """A register's number in a storage dtype, rounded to nearest, ties to even."""
    if dtype != "bfloat16":
        with np.errstate(all="ignore"):
            return _MEMORY[dtype](number)
    bits = int(np.array([number], np.float32).view(np.uint32)[0])
    if np.isnan(number):
        return np.uint16(bits >> 16 | 0x40)  # stays a NaN whatever bits are cut off
    return np.uint16((bits + 0x7FFF + (bits >> 16 & 1)) >> 16)
