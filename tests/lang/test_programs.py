"""Random programs: what the interpreter says is what the machine does, to the bit."""

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from faltung.lang.count import count
from faltung.lang.ops import BOOL, F32, F64, INDEX, STORAGE, Type
from faltung.lang.routine import Routine, Value
from faltung.lang.text import text

Memory = dict[str, Any]

NUMBERS = 64  # in each buffer that is read
ITEMS = 3
SLOTS = 24  # vectors in each item's part of the buffer that is written
FLOAT_OPS = ("add", "sub", "mul", "div", "min", "max", "fma", "neg", "abs", "sqrt", "round")
INDEX_OPS = ("add", "mul", "quot", "rem", "min", "max")
ARITY = {"fma": 3, "neg": 1, "abs": 1, "sqrt": 1, "round": 1, "not": 1}
STEPS = (
    "float", "float", "float", "load", "load", "again", "compare", "bool", "select", "pick", "sum",
    "pow2", "cast", "index", "store", "loop", "when", "cut",
    "prefetch",
)  # fmt: skip


class Program:
    """A routine being made up; `values` holds what may be used in the present scope."""

    def __init__(self, draw: Callable[..., Any]) -> None:
        self.draw = draw
        self.lanes = self.one_of(1, 2, 4, 8, 16)
        dtypes = [self.one_of(*STORAGE) for _ in range(2)]
        self.kind = F64 if "float64" in dtypes else F32
        if self.kind == F64:
            dtypes = ["float64", "float64"]
        r = self.r = Routine("random", ITEMS)
        self.xs = [r.reads(f"x{n}", dtype, NUMBERS) for n, dtype in enumerate(dtypes)]
        written = self.one_of(*(d for d in STORAGE if STORAGE[d][0] == self.kind))
        self.y = r.writes("y", written, ITEMS * SLOTS * self.lanes)
        self.values: list[Value] = []
        self.stores = 0
        with r.work() as item:
            self.item = item
            self.values += [item, r.const(self.number(), self.kind, self.lanes)]
            self.steps(draw(st.integers(3, 14)), depth=0)
            for value in self.of(Type(self.kind, self.lanes))[-3:]:
                self.keep(value)

    def one_of(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def number(self) -> float:
        return float(self.one_of(0.0, -0.0, 1.0, -2.5, 0.1, 3.0, 1e30, float("inf"), float("nan")))

    def of(self, kind: Type) -> list[Value]:
        return [v for v in self.values if v.type == kind]

    def any(self, kind: Type) -> Value:
        """A value of a type, made if there is none."""
        there = self.of(kind)
        if there:
            return self.draw(st.sampled_from(there))  # type: ignore[no-any-return]
        if kind.kind == BOOL:
            operand = Type(INDEX) if kind.lanes == 1 else Type(self.kind, kind.lanes)
            return self.any(operand) < self.any(operand)
        return self.r.const(self.number(), kind.kind, kind.lanes)

    def vector(self) -> Value:
        return self.any(Type(self.kind, self.lanes))

    def place(self, size: int) -> Value:
        """An index from which a whole vector lies in a buffer."""
        return self.any(Type(INDEX)) % (size - self.lanes + 1)

    def mask(self) -> Value | None:
        if self.one_of(True, False):
            return None
        if self.one_of(True, False):
            return self.r.below(self.any(Type(INDEX)) % 20, self.lanes)
        return self.any(Type(BOOL, self.lanes))

    def keep(self, value: Value) -> None:
        """Write a vector into the item's part of y."""
        if self.stores < SLOTS:
            at = (self.item * SLOTS + self.stores) * self.lanes
            self.r.store(self.y, at, value, self.mask())
            self.stores += 1

    def steps(self, count: int, depth: int) -> None:
        for _ in range(count):
            step = self.one_of(*STEPS)
            if depth < 3 or step not in ("loop", "when"):
                made = getattr(self, f"step_{step}")(depth)
                if made is not None:
                    self.values.append(made)

    def step_float(self, depth: int) -> Value:
        name = self.one_of(*FLOAT_OPS)
        return self.r.apply(name, *(self.vector() for _ in range(ARITY.get(name, 2))))

    def step_load(self, depth: int) -> Value:
        return self.r.load(self.one_of(*self.xs), self.place(NUMBERS), self.lanes, self.mask())

    def step_again(self, depth: int) -> Value:
        """What this item may have written itself; what others write is no one's business."""
        at = self.item * SLOTS * self.lanes + self.place(SLOTS * self.lanes)
        return self.r.load(self.y, at, self.lanes, self.mask())

    def step_compare(self, depth: int) -> Value:
        return self.r.apply(self.one_of("lt", "le", "eq"), self.vector(), self.vector())

    def step_bool(self, depth: int) -> Value:
        name, kind = self.one_of("and", "or", "not"), Type(BOOL, self.lanes)
        return self.r.apply(name, *(self.any(kind) for _ in range(ARITY.get(name, 2))))

    def step_select(self, depth: int) -> Value:
        condition = self.any(Type(BOOL, self.one_of(1, self.lanes)))
        return self.r.select(condition, self.vector(), self.vector())

    def step_pick(self, depth: int) -> Value:
        places = st.lists(st.integers(0, 2 * self.lanes - 1), min_size=self.lanes)
        return self.r.pick(self.vector(), self.vector(), self.draw(places)[: self.lanes])

    def step_sum(self, depth: int) -> Value:
        return self.r.splat(self.r.sum(self.vector()), self.lanes)

    def step_pow2(self, depth: int) -> Value:
        a, r = self.vector(), self.r
        number = r.select(r.apply("eq", a, a), a, 0.0)
        return r.apply("pow2", r.apply("round", r.maximum(r.minimum(number, 127.0), -126.0)))

    def step_cast(self, depth: int) -> Value:
        a, r = self.vector(), self.r
        if self.kind == F64:
            return r.widen(r.narrow(a))
        return r.narrow(r.widen(a) * self.number())

    def step_index(self, depth: int) -> Value:
        name = self.one_of(*INDEX_OPS)
        a, b = self.any(Type(INDEX)), self.one_of(1, 2, 3, 7, self.item + 1)
        return self.r.apply(name, a % 1000, b)

    def step_store(self, depth: int) -> None:
        self.keep(self.vector())

    def step_cut(self, depth: int) -> None:
        self.r.cut()

    def step_prefetch(self, depth: int) -> None:
        self.r.prefetch(self.xs[0], self.any(Type(INDEX)) - 1000)  # inside or not

    def step_when(self, depth: int) -> None:
        before = list(self.values)
        with self.r.when(self.any(Type(BOOL))):
            self.steps(self.one_of(1, 2, 4), depth + 1)
            self.keep(self.vector())
        self.values = before

    def step_loop(self, depth: int) -> None:
        before, r = list(self.values), self.r
        start = [self.vector(), self.any(Type(INDEX))]
        end = self.any(Type(INDEX)) % 4
        with r.loop(self.one_of(0, 1, 2), end, self.one_of(1, 2), carried=start) as loop:
            self.values += [loop.index, *loop.carried]
            self.steps(self.one_of(1, 2, 4), depth + 1)
            loop.carry(self.vector(), self.any(Type(INDEX)) % 1000)
        self.values = [*before, *loop.results]


def contents(dtype: str, size: int, seed: int) -> Any:
    """Random numbers, a third of them special."""
    rng = np.random.default_rng(seed)
    special = rng.choice([0.0, -0.0, 1.0, 2.5, -3.5, np.inf, -np.inf, np.nan, 1e-40, 6e4], size)
    numbers = np.where(rng.random(size) < 0.3, special, rng.standard_normal(size))
    if dtype == "bfloat16":
        return (numbers.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return numbers.astype(dtype)


@settings(
    max_examples=120, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
@given(data=st.data(), seed=st.integers(0, 1000))
def test_random_programs(agree: Callable[..., Memory], data: Any, seed: int) -> None:
    program = Program(data.draw)
    note(text(program.r))
    buffers = program.r.buffers
    agree(program.r, {b.name: contents(b.dtype, b.count, seed + n) for n, b in enumerate(buffers)})
    assert count(program.r).written >= 0
