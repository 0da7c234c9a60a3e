"""Recording a routine: Python runs once and leaves a list of operations behind.

    r = Routine("scale", items=100)
    x, y = r.reads("x", "float32", 800), r.writes("y", "float32", 800)
    with r.work() as item:                      # the items are shared out among threads
        at = item * 8
        r.store(y, at, r.load(x, at, 8) * 2.0)

Python's own `for` unrolls; `with r.loop(...)` makes a loop of the routine. Values have `+ − * / <`
and mix with Python numbers. Nothing is computed twice: the same operation on the same values is
recorded once per scope, and index arithmetic on known numbers is done at once. A value lives until
the end of the `with` it was made in.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from .ops import BOOL, F32, F64, FLOATS, INDEX, Buffer, LanguageError, Op, Type, result_type

Operand = Any  # a Value, or a Python number that becomes a constant


class Value:
    """What an operation made, with Python's operators."""

    __slots__ = ("op", "routine")

    def __init__(self, routine: "Routine", op: Op) -> None:
        self.routine, self.op = routine, op

    @property
    def type(self) -> Type:
        """Kind and lanes."""
        assert self.op.type is not None
        return self.op.type

    def __add__(self, other: Operand) -> "Value":
        return self.routine.apply("add", self, other)

    __radd__ = __add__

    def __sub__(self, other: Operand) -> "Value":
        return self.routine.apply("sub", self, other)

    def __rsub__(self, other: Operand) -> "Value":
        return self.routine.apply("sub", other, self)

    def __mul__(self, other: Operand) -> "Value":
        return self.routine.apply("mul", self, other)

    __rmul__ = __mul__

    def __truediv__(self, other: Operand) -> "Value":
        return self.routine.apply("div", self, other)

    def __rtruediv__(self, other: Operand) -> "Value":
        return self.routine.apply("div", other, self)

    def __floordiv__(self, other: Operand) -> "Value":
        return self.routine.apply("quot", self, other)

    def __mod__(self, other: Operand) -> "Value":
        return self.routine.apply("rem", self, other)

    def __neg__(self) -> "Value":
        return self.routine.apply("neg", self)

    def __lt__(self, other: Operand) -> "Value":
        return self.routine.apply("lt", self, other)

    def __le__(self, other: Operand) -> "Value":
        return self.routine.apply("le", self, other)

    def __gt__(self, other: Operand) -> "Value":
        return self.routine.apply("lt", other, self)

    def __ge__(self, other: Operand) -> "Value":
        return self.routine.apply("le", other, self)

    def __and__(self, other: Operand) -> "Value":
        return self.routine.apply("and", self, other)

    def __or__(self, other: Operand) -> "Value":
        return self.routine.apply("or", self, other)

    def __invert__(self) -> "Value":
        return self.routine.apply("not", self)

    def __bool__(self) -> bool:
        raise LanguageError("a value is not known while recording: use when() or select()")


class Loop:
    """A loop being recorded: its index, the values it carries, and, after it, the last of them."""

    def __init__(self, index: Value, carried: tuple[Value, ...]) -> None:
        self.index, self.carried = index, carried
        self.following: tuple[Value, ...] | None = None
        self.results: tuple[Value, ...] = ()

    def carry(self, *values: Value) -> None:
        """The carried values of the next turn."""
        self.following = values


class Routine:
    """A routine being recorded; `items` pieces of work are shared out among threads."""

    def __init__(self, name: str, items: int = 1) -> None:
        self.name, self.items = name, items
        self.buffers: list[Buffer] = []
        self.body: list[Op] = []
        self._scopes: list[tuple[list[Op], dict[Any, Op]]] = [(self.body, {})]

    def reads(self, name: str, dtype: str, count: int) -> Buffer:
        """An array of `count` numbers that the routine only reads."""
        return self._buffer(Buffer(name, dtype, count, written=False))

    def writes(self, name: str, dtype: str, count: int) -> Buffer:
        """An array of `count` numbers that the routine writes, and may read back."""
        return self._buffer(Buffer(name, dtype, count, written=True))

    def scratch(self, name: str, dtype: str, count: int) -> Buffer:
        """An array of `count` numbers for each thread, in which an item finds nothing of others.

        Where it lies is the routine's affair: the caller gives one piece of memory for all of them,
        after the other buffers (`lang/scratch.py`).
        """
        return self._buffer(Buffer(name, dtype, count, written=True, scratch=True))

    def load(self, buffer: Buffer, at: Operand, lanes: int = 1, mask: Value | None = None) -> Value:
        """`lanes` consecutive numbers from element `at` on; masked lanes are not read and are 0."""
        kind = Type(buffer.kind, lanes)
        args = [self._index(at), *self._mask(mask, lanes)]
        # a buffer that is written may hold another number at every reading
        return self._record("load", kind, args, buffer, pure=not buffer.written)

    def prefetch(self, buffer: Buffer, at: Operand, cache: int = 1) -> None:
        """Have the cache line of element `at` brought near, for a load that comes much later.

        `cache` says how near: 1 is the nearest. `at` may be anything: nothing happens where the
        buffer has no such element.
        """
        if cache not in (1, 2, 3):
            raise LanguageError(f"{self.name}: caches are 1, 2 and 3, not {cache}")
        level = [] if cache == 1 else [self.const(cache).op]
        self._record("prefetch", None, [self._index(at), *level], buffer, pure=False)

    def cut(self) -> None:
        """Load again what is needed after this place, though it was loaded before.

        A number that is kept until it is needed again takes a register, and a register too many
        costs a store and a load: more than the load from the near cache that it saves.
        """
        self._record("cut", None, [], None, pure=False)
        for _, known in self._scopes:
            for key in [key for key in known if key[0] == "load"]:
                del known[key]

    def store(self, buffer: Buffer, at: Operand, value: Value, mask: Value | None = None) -> None:
        """Write a value's lanes to consecutive elements from `at` on, but the masked ones."""
        if not buffer.written:
            raise LanguageError(f"{self.name}: {buffer.name} is read only")
        if value.type.kind != buffer.kind:
            raise LanguageError(f"{self.name}: {buffer.name} holds {buffer.kind}, not {value.type}")
        args = [self._index(at), value.op, *self._mask(mask, value.type.lanes)]
        self._record("store", None, args, buffer, pure=False)

    def const(self, number: float, kind: str = INDEX, lanes: int = 1) -> Value:
        """A number."""
        if kind == INDEX and not (float(number).is_integer() and -(2**63) <= number < 2**63):
            raise LanguageError(f"{number} is no index")
        if kind == F32:
            try:
                struct.pack("<f", number)
            except OverflowError:
                raise LanguageError(f"{number} is no f32") from None
        exact: Any = {INDEX: int, BOOL: bool}.get(kind, float)(number)
        return self._record("const", Type(kind, lanes), [], exact)

    def mask(self, lanes: Sequence[bool]) -> Value:
        """A bool of its own for every lane, known while recording."""
        return self._record("const", Type(BOOL, len(lanes)), [], tuple(map(bool, lanes)))

    def lane(self, lanes: int) -> Value:
        """0, 1, … in the lanes of an index vector."""
        return self._record("lane", Type(INDEX, lanes), [], None)

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """a · b + c, rounded once."""
        return self.apply("fma", a, b, c)

    def widen(self, a: Value) -> Value:
        """f32 as f64: the same numbers."""
        return self.apply("widen", a)

    def narrow(self, a: Value) -> Value:
        """f64 as f32: the nearest numbers, ties to even."""
        return self.apply("narrow", a)

    def splat(self, a: Value, lanes: int) -> Value:
        """One number in every lane."""
        return self.apply("splat", a, attr=lanes) if lanes != 1 else a

    def below(self, limit: Operand, lanes: int) -> Value:
        """The mask of the lanes whose number is below `limit`."""
        end = self._value(limit, Type(INDEX))
        if end.op.name == "const":
            return self.mask([lane < end.op.attr for lane in range(lanes)])
        return self.lane(lanes) < self.splat(end, lanes)

    def select(self, condition: Value, a: Value, b: Value) -> Value:
        """a where the condition holds, else b."""
        return self.apply("select", condition, a, b)

    def minimum(self, a: Operand, b: Operand) -> Value:
        """The smaller."""
        return self.apply("min", a, b)

    def maximum(self, a: Operand, b: Operand) -> Value:
        """The larger."""
        return self.apply("max", a, b)

    def pick(self, a: Value, b: Value, places: Sequence[int]) -> Value:
        """Lanes of two vectors laid end to end, by their places."""
        return self.apply("pick", a, b, attr=tuple(places))

    def sum(self, a: Value) -> Value:
        """All lanes added."""
        return self.apply("sum", a)

    def apply(self, name: str, *operands: Operand, attr: Any = None) -> Value:
        """Record an operation of the table; Python numbers take the type of the other operands."""
        # the last decides, because the first of a select is its condition
        like = next((o.type for o in reversed(operands) if isinstance(o, Value)), Type(INDEX))
        values = [self._value(o, like) for o in operands]
        folded = self._folded(name, values)
        if folded is not None:
            return folded
        kind = result_type(name, [v.type for v in values], attr)
        return self._record(name, kind, [v.op for v in values], attr)

    @contextmanager
    def work(self) -> Iterator[Value]:
        """The loop over this thread's share of the items; exactly one, around everything."""
        if self.body:
            raise LanguageError(f"{self.name}: work() comes first and once")
        index = Op("item", Type(INDEX))
        with self._scope(Op("work", None, attr=self.items), [index]):
            yield Value(self, index)

    @contextmanager
    def loop(
        self, begin: Operand, end: Operand, step: int = 1, carried: Sequence[Value] = ()
    ) -> Iterator[Loop]:
        """A loop over index = begin, begin + step, … below end.

        What is carried starts as `carried`, must be handed on with `loop.carry(...)`, and is
        `loop.results` afterwards.
        """
        if step < 1:
            raise LanguageError(f"{self.name}: a loop's step must be at least 1, got {step}")
        inputs = [self._index(begin), self._index(end), *(value.op for value in carried)]
        op = Op("loop", None, tuple(inputs), step)
        phis = [Op("index", Type(INDEX)), *(Op("carried", value.type) for value in carried)]
        loop = Loop(Value(self, phis[0]), tuple(Value(self, phi) for phi in phis[1:]))
        with self._scope(op, phis):
            yield loop
            following = loop.following or ()
            if [v.type for v in following] != [v.type for v in carried]:
                raise LanguageError(f"{self.name}: a loop must carry on what it started with")
            self._record("next", None, [v.op for v in following], None, pure=False)
        loop.results = tuple(
            self._record("result", value.type, [op], number, pure=False)
            for number, value in enumerate(carried)
        )

    @contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        """What is recorded inside happens only if the condition holds."""
        if condition.type != Type(BOOL):
            raise LanguageError(f"{self.name}: when() needs one bool, got {condition.type}")
        with self._scope(Op("when", None, (condition.op,)), []):
            yield

    @contextmanager
    def _scope(self, op: Op, given: list[Op]) -> Iterator[None]:
        self._add(op)
        for phi in given:
            phi.home = op.body
        op.body.extend(given)
        self._scopes.append((op.body, {}))
        yield
        self._scopes.pop()

    def _record(
        self, name: str, kind: Type | None, args: Sequence[Op], attr: Any, *, pure: bool = True
    ) -> Value:
        # as text, −0 is not 0
        key = (name, kind, tuple(map(id, args)), str(attr) if name == "const" else attr)
        if pure:
            for _, known in reversed(self._scopes):
                if key in known:
                    return Value(self, known[key])
        if len(self._scopes) == 1:
            raise LanguageError(f"{self.name}: {name} outside of work()")
        op = Op(name, kind, tuple(args), attr)
        self._add(op)
        if pure:
            self._scopes[-1][1][key] = op
        return Value(self, op)

    def _add(self, op: Op) -> None:
        for arg in op.args:
            if not any(arg.home is ops for ops, _ in self._scopes):
                raise LanguageError(
                    f"{self.name}: {op.name} uses a {arg.name} of a loop, when or routine that has "
                    f"ended"
                )
        op.home = self._scopes[-1][0]
        op.home.append(op)

    def _folded(self, name: str, values: list[Value]) -> Value | None:
        """Index arithmetic whose result is known, or is one of the operands."""
        if len(values) != 2 or any(v.type != Type(INDEX) for v in values):
            return None
        a, b = (v.op.attr if v.op.name == "const" else None for v in values)
        if a is not None and b is not None and name in _FOLD:
            if name in ("quot", "rem") and (a < 0 or b <= 0):
                raise LanguageError(f"{self.name}: {name} of {a} and {b}")
            return self.const(_FOLD[name](a, b))
        if (name in ("add", "sub") and b == 0) or (name in ("mul", "quot") and b == 1):
            return values[0]
        if (name == "add" and a == 0) or (name == "mul" and a == 1):
            return values[1]
        return None

    def _value(self, operand: Operand, like: Type) -> Value:
        if isinstance(operand, Value):
            return operand
        kind = like.kind if like.kind != BOOL else INDEX
        return self.const(operand, kind, like.lanes)

    def _index(self, operand: Operand) -> Op:
        value = self._value(operand, Type(INDEX))
        if value.type != Type(INDEX):
            raise LanguageError(f"{self.name}: an index must be one index, got {value.type}")
        return value.op

    def _mask(self, mask: Value | None, lanes: int) -> list[Op]:
        if mask is None:
            return []
        if mask.type != Type(BOOL, lanes):
            raise LanguageError(f"{self.name}: {lanes} lanes need as many bools, got {mask.type}")
        return [mask.op]

    def _buffer(self, buffer: Buffer) -> Buffer:
        if any(b.name == buffer.name for b in self.buffers):
            raise LanguageError(f"{self.name}: two buffers are called {buffer.name}")
        self.buffers.append(buffer)
        return buffer


_FOLD: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "quot": lambda a, b: a // b,
    "rem": lambda a, b: a % b,
    "min": min,
    "max": max,
}

__all__ = ["BOOL", "F32", "F64", "FLOATS", "INDEX", "Buffer", "Loop", "Routine", "Value"]
