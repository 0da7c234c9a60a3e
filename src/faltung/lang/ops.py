"""The operations of the routine language: this table is the language.

A routine is a list of operations. Each makes at most one value, and a value has a kind and a number
of lanes: `f32×8` is eight float32 numbers that are worked on together. Operations work on every
lane alike, so a rule below is written for one lane. What an operation means is defined in
`interpret.py`; how it becomes machine code in `llvm_ir.py`. Which of its bit patterns a NaN has is
not part of any meaning.

| operation | on | meaning |
| --- | --- | --- |
| `const` | any | a number written in the routine |
| `add` `sub` `mul` | index, float | a + b, a − b, a · b |
| `div` | float | a / b |
| `quot` `rem` | index | ⌊a / b⌋ and a − b·⌊a / b⌋ of numbers that are not negative |
| `min` `max` | index, float | the smaller, the larger; −0 < +0; NaN if either is NaN |
| `fma` | float | a · b + c, rounded once |
| `neg` `abs` `sqrt` `round` | float | −a, |a|, √a, nearest whole number (ties to even) |
| `pow2` | float | 2^a for whole a of a normal result, and for nothing else |
| `widen` `narrow` | f32, f64 | the same number as an f64; the nearest f32 (ties to even) |
| `lt` `le` `eq` | index, float | comparison, giving a bool |
| `and` `or` `not` | bool | |
| `select` | bool, any, any | a where the condition holds, else b |
| `splat` | scalar | one number in every lane |
| `lane` | | the lane's own number 0, 1, …, as an index |
| `pick` | vector, vector | lanes of the two, by a list of places: 0…n−1 of a, n… of b |
| `sum` | vector | all lanes added, halves first: ((0+2)+(1+3)) |
| `load` `store` | buffer | consecutive elements from an index on; masked ones read as 0 |
| `loop` | | the body for index = begin, begin+step, … below end, carrying values on |
| `prefetch` | buffer | nothing; what lies at an element, if any, is brought into a near cache |
| `cut` | | nothing; what is loaded before it is loaded again after it, not kept in between |
| `when` | bool scalar | the body if the condition holds |
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

INDEX, F32, F64, BOOL = "index", "f32", "f64", "bool"
FLOATS = (F32, F64)

# how numbers may lie in memory -> the kind they have in a register, and their bytes
STORAGE = {
    "float32": (F32, 4),
    "float64": (F64, 8),
    "float16": (F32, 2),
    "bfloat16": (F32, 2),
}


@dataclass(frozen=True)
class Type:
    """The kind of a value and its number of lanes."""

    kind: str
    lanes: int = 1

    def __post_init__(self) -> None:
        if self.lanes < 1:
            raise LanguageError(f"a value has at least one lane, got {self.lanes}")

    def __str__(self) -> str:
        return self.kind if self.lanes == 1 else f"{self.kind}x{self.lanes}"


@dataclass(frozen=True)
class Buffer:
    """An array a routine is given: `count` numbers of a storage dtype, read or written.

    Of a scratch buffer each thread has one of its own, and no item finds what another left there;
    the caller gives one piece of memory for all of them.
    """

    name: str
    dtype: str
    count: int
    written: bool
    scratch: bool = False

    @property
    def kind(self) -> str:
        """The kind its numbers have in a register."""
        return STORAGE[self.dtype][0]

    @property
    def item_size(self) -> int:
        """Bytes of one number."""
        return STORAGE[self.dtype][1]

    @property
    def own_size(self) -> int | None:
        """Bytes that each thread has of its own; None where all share what is given."""
        return self.count * self.item_size if self.scratch else None


@dataclass(eq=False)
class Op:
    """One recorded operation; as an argument of others it stands for the value it made."""

    name: str
    type: Type | None
    args: tuple["Op", ...] = ()
    attr: Any = None
    body: list["Op"] = field(default_factory=list)
    home: list["Op"] | None = field(default=None, repr=False)  # the body it was recorded in


class LanguageError(TypeError):
    """A routine that the language does not allow; a mistake of ours, not of a user."""


def result_type(name: str, args: Sequence[Type], attr: Any = None) -> Type:
    """The type of what an operation makes, or `LanguageError` if its operands do not fit.

    >>> str(result_type("fma", [Type(F32, 8)] * 3))
    'f32x8'
    """
    rule = _RULES.get(name)
    if rule is None:
        raise LanguageError(f"there is no operation {name!r}")
    arity, kinds, result = rule
    if len(args) != arity:
        raise LanguageError(f"{name} takes {arity} operands, got {len(args)}")
    if kinds and any(a.kind not in kinds for a in args):
        listed = ", ".join(str(a) for a in args)
        raise LanguageError(f"{name} works on {' or '.join(kinds)}, got {listed}")
    if name == "select":
        return _select(args)
    if any(a != args[0] for a in args):
        listed = ", ".join(str(a) for a in args)
        raise LanguageError(f"{name} needs operands of one type, got {listed}")
    made: Type = result(args[0], attr)
    return made


def _select(args: Sequence[Type]) -> Type:
    condition, a, b = args
    if condition.kind != BOOL or a != b or condition.lanes not in (1, a.lanes):
        raise LanguageError(f"select needs bool, a, a; got {condition}, {a}, {b}")
    return a


def _same(a: Type, attr: Any) -> Type:
    return a


def _widened(a: Type, attr: Any) -> Type:
    return Type(F64, a.lanes)


def _narrowed(a: Type, attr: Any) -> Type:
    return Type(F32, a.lanes)


def _bool(a: Type, attr: Any) -> Type:
    return Type(BOOL, a.lanes)


def _splat(a: Type, lanes: Any) -> Type:
    if a.lanes != 1:
        raise LanguageError(f"splat takes one number, got {a}")
    return Type(a.kind, lanes)


def _pick(a: Type, places: Any) -> Type:
    if any(not 0 <= p < 2 * a.lanes for p in places):
        raise LanguageError(f"pick takes places below {2 * a.lanes}, got {places}")
    return Type(a.kind, len(places))


def _sum(a: Type, attr: Any) -> Type:
    if a.lanes & (a.lanes - 1):
        raise LanguageError(f"sum needs a power of two of lanes, got {a}")
    return Type(a.kind)


_NUMBER = (INDEX, *FLOATS)
_RULES: dict[str, tuple[int, tuple[str, ...], Any]] = {
    **dict.fromkeys(("add", "sub", "mul", "min", "max"), (2, _NUMBER, _same)),
    **dict.fromkeys(("quot", "rem"), (2, (INDEX,), _same)),
    "div": (2, FLOATS, _same),
    "fma": (3, FLOATS, _same),
    **dict.fromkeys(("neg", "abs", "sqrt", "round", "pow2"), (1, FLOATS, _same)),
    "widen": (1, (F32,), _widened),
    "narrow": (1, (F64,), _narrowed),
    **dict.fromkeys(("lt", "le", "eq"), (2, _NUMBER, _bool)),
    **dict.fromkeys(("and", "or"), (2, (BOOL,), _same)),
    "not": (1, (BOOL,), _same),
    "select": (3, (), _same),
    "splat": (1, (), _splat),
    "pick": (2, (), _pick),
    "sum": (1, FLOATS, _sum),
}
