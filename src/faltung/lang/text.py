"""A routine as text: one line an operation, for reading, for golden tests, for explanations.

routine scale, 100 items
  reads x float32[800]
  writes y float32[800]
work i0 of 100
  v1 = mul i0, 8
  v2: f32x8 = load x[v1]
  …
"""

import itertools
from collections.abc import Iterator

from .ops import Op
from .routine import Routine


def text(routine: Routine) -> str:
    """The routine, line by line."""
    head = [f"routine {routine.name}, {routine.items} items"]
    for buffer in routine.buffers:
        verb = "writes" if buffer.written else "reads"
        head.append(f"  {verb} {buffer.name} {buffer.dtype}[{buffer.count}]")
    names = _Names()
    return "\n".join([*head, *_lines(routine.body, names, "")]) + "\n"


class _Names(dict[Op, str]):
    """A name for each operation's value, numbered as they are met; a constant is its number."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers = itertools.count()

    def __missing__(self, op: Op) -> str:
        if op.name == "const":
            lanes = f"x{op.type.lanes}" if op.type is not None and op.type.lanes > 1 else ""
            self[op] = f"{op.attr}{lanes}"
        else:
            self[op] = f"v{next(self._numbers)}"
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
        return f"{names[op]}: {op.type} = result {op.attr}"
    args = [names[a] for a in op.args]
    if op.name == "loop":
        index, *phis = (o for o in op.body if o.name in ("index", "carried"))
        carried = "".join(f", {names[p]} = {a}" for p, a in zip(phis, args[2:], strict=True))
        return f"loop {names[index]} = {args[0]} … {args[1]} step {op.attr}{carried}"
    if op.name == "load":
        masked = f" where {args[1]}" if len(args) > 1 else ""
        return f"{names[op]}: {op.type} = load {op.attr.name}[{args[0]}]{masked}"
    if op.name == "store":
        masked = f" where {args[2]}" if len(args) > 2 else ""
        return f"store {op.attr.name}[{args[0]}] = {args[1]}{masked}"
    if op.type is None:
        return f"{op.name} {', '.join(args)}".rstrip()
    attr = "" if op.attr is None else f" {op.attr}"
    return f"{names[op]}: {op.type} = {op.name} {', '.join(args)}{attr}"
