"""What a routine costs: operations and bytes, counted from its record.

Loops whose bounds are known count as often as they turn; a loop with bounds of its own making
counts the turns it would take at the middle of its surrounding loops, with what they carry as it
was at first. A `when` counts whole, and so does what is masked.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass

from .ops import FLOATS, INDEX, Op, Type
from .routine import Routine

_INDEX: dict[str, Callable[..., int]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul,
    "quot": lambda a, b: a // max(b, 1), "rem": lambda a, b: a % max(b, 1),
    "min": min, "max": max,
    "lt": operator.lt, "le": operator.le, "eq": operator.eq,
    "and": operator.and_, "or": operator.or_, "not": operator.not_,
    "select": lambda condition, a, b: a if condition else b,
}  # fmt: skip
_FLOPS = {"fma": 2, **dict.fromkeys(("add", "sub", "mul", "div", "neg", "min", "max", "sqrt"), 1)}


@dataclass(frozen=True)
class Counts:
    """Floating-point operations (an fma is two), and bytes read and written, of all items."""

    flops: int = 0
    read: int = 0
    written: int = 0
    instructions: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.flops + other.flops, self.read + other.read, self.written + other.written,
            self.instructions + other.instructions,
        )  # fmt: skip

    def __mul__(self, times: int) -> "Counts":
        return Counts(
            self.flops * times, self.read * times, self.written * times, self.instructions * times
        )


def count(routine: Routine) -> Counts:
    """The counts of all items together."""
    total = Counts()
    for op in routine.body:
        total += _counted(op, {})
    return total


def _counted(op: Op, known: dict[Op, int]) -> Counts:
    if op.name in ("work", "loop"):
        begin, end = (0, op.attr) if op.name == "work" else (_number(a, known) for a in op.args[:2])
        step = 1 if op.name == "work" else op.attr
        turns = max(0, -(-(end - begin) // step))
        known[op.body[0]] = begin + turns // 2 * step
        carried = zip(op.body[1:], op.args[2:], strict=False)
        known.update((phi, _number(a, known)) for phi, a in carried if a.type == Type(INDEX))
        return _body(op, known) * turns
    if op.name == "when":
        return _body(op, known)
    lanes = op.args[1].type.lanes if op.name == "store" and op.args[1].type else 0
    if op.name == "store":
        return Counts(written=lanes * op.attr.item_size, instructions=1)
    if op.type is None or op.name in ("const", "index", "carried", "item", "result"):
        return Counts()
    if op.name == "load":
        return Counts(read=op.type.lanes * op.attr.item_size, instructions=1)
    flops = _FLOPS.get(op.name, 0) * op.type.lanes if op.type.kind in FLOATS else 0
    if op.name == "sum" and op.args[0].type:
        flops = op.args[0].type.lanes - 1
    return Counts(flops=flops, instructions=1)


def _body(op: Op, known: dict[Op, int]) -> Counts:
    total = Counts()
    for inner in op.body:
        total += _counted(inner, known)
    return total


def _number(op: Op, known: dict[Op, int]) -> int:
    """An index worked out for the middle of the loops around it; 0 for what data decides."""
    if op not in known:
        if op.name == "const":
            known[op] = op.attr if op.type == Type(INDEX) else 0
        elif op.name == "result":
            known[op] = _number(op.args[0].args[2 + op.attr], known)
        elif op.name in _INDEX:
            known[op] = int(_INDEX[op.name](*(_number(a, known) for a in op.args)))
        else:
            known[op] = 0
    return known[op]
