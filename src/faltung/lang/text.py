"""A routine as text: one line an operation, for reading, for golden tests, for explanations.

routine scale, 100 items
  reads x float32[800]
  writes y float32[800]
work i0 of 100
  v1: index = mul i0, 8
  v2: f32x8 = load x[v1]
  v3: f32x8 = mul v2, 2.0x8
  store y[v1] = v3
"""

import itertools
from collections.abc import Iterator

from .ops import Op
from .routine import Routine


def text(routine: Routine) -> str:
    """The routine, line by line."""
    head = [f"routine {routine.name}, {routine.items} items"]
    for buffer in routine.buffers:
        verb = "scratch" if buffer.scratch else "writes" if buffer.written else "reads"
        head.append(f"  {verb} {buffer.name} {buffer.dtype}[{buffer.count}]")
    names = _Names()
    return "\n".join([*head, *_lines(routine.body, names, "")]) + "\n"


class _Names(dict[Op, str]):
    """Names of values, numbered as they are met; a loop's index is an i, a constant its number."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers = itertools.count()

    def __missing__(self, op: Op) -> str:
        if op.name == "const":
            lanes = f"x{op.type.lanes}" if op.type is not None and op.type.lanes > 1 else ""
            bits = isinstance(op.attr, tuple)
            self[op] = "".join("01"[bit] for bit in op.attr) if bits else f"{op.attr}{lanes}"
        else:
            letter = "i" if op.name in ("item", "index") else "v"
            self[op] = f"{letter}{next(self._numbers)}"
        return self[op]


def _lines(ops: list[Op], names: _Names, indent: str) -> Iterator[str]:
    for op in ops:
        if op.name in ("const", "item", "index", "carried"):
            continue  # a constant stands where it is used, the others in their loop's line
        yield indent + _line(op, names)
        yield from _lines(op.body, names, indent + "  ")


def _line(op: Op, names: _Names) -> str:
    if op.name == "work":
        return f"work {names[op.body[0]]} of {op.attr}"
    if op.name == "result":
        of_loop = names[op.args[0].body[0]]
        return f"{names[op]}: {op.type} = result {op.attr} of {of_loop}"
    args = [names[a] for a in op.args]
    if op.name == "loop":
        index, *phis = (names[o] for o in op.body if o.name in ("index", "carried"))
        carried = "".join(f", {p} = {a}" for p, a in zip(phis, args[2:], strict=True))
        return f"loop {index} = {args[0]} … {args[1]} step {op.attr}{carried}"
    if op.name == "load":
        masked = f" where {args[1]}" if len(args) > 1 else ""
        return f"{names[op]}: {op.type} = load {op.attr.name}[{args[0]}]{masked}"
    if op.name == "store":
        masked = f" where {args[2]}" if len(args) > 2 else ""
        return f"store {op.attr.name}[{args[0]}] = {args[1]}{masked}"
    if op.name == "prefetch":
        into = f" into cache {args[1]}" if len(args) > 1 else ""
        return f"prefetch {op.attr.name}[{args[0]}]{into}"
    if op.type is None:
        return f"{op.name} {', '.join(args)}".rstrip()
    attr = "" if op.attr is None else f" {op.attr}"
    return f"{names[op]}: {op.type} = {' '.join([op.name, ', '.join(args)]).rstrip()}{attr}"
