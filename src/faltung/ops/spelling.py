"""How a problem is written in one line, for the families to fill in with their own words.

    unfold n2 c5 i3x4 k2x3 float32 cpu

Words are separated by spaces: the task first, dtype and device last, between them one word per
field, left out where the field has its default. A family names its words once, in a `Spelling`, and
gets both directions from it; the same string then names a problem in test ids, errors and plans.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..errors import ArgumentError
from . import naming

DTYPES = {
    "bool": 1, "uint8": 1, "int8": 1, "int16": 2, "int32": 4, "int64": 8,
    "float16": 2, "bfloat16": 2, "float32": 4, "float64": 8,
    "complex32": 4, "complex64": 8, "complex128": 16,
}  # fmt: skip
"""Every dtype a spec may name, with the bytes of one number."""

_PREFIXED = re.compile(r"([a-z]+)(\d[\d+x]*)")


@dataclass(frozen=True)
class Count:
    """One number: `n2`. Without a default it is always written."""

    prefix: str
    field: str
    default: int | None = None

    def write(self, value: int) -> str:
        """The word, empty for the default."""
        return "" if value == self.default else f"{self.prefix}{value}"

    def read(self, digits: str) -> int:
        """The value of the word's digits."""
        return int(digits)


@dataclass(frozen=True)
class PerAxis:
    """A number per spatial axis: `i3x4`, or `s2` for an equal one where there is a default.

    `unless` names a property of the spec that the field follows by default; then it is left out.
    """

    prefix: str
    field: str
    default: int | None = None
    unless: str | None = None

    def write(self, value: tuple[int, ...]) -> str:
        """The word, empty where every axis has the default."""
        if self.default is not None and set(value) <= {self.default}:
            return ""
        words = [str(v) for v in value]
        once = self.default is not None and len(set(words)) == 1
        return self.prefix + (words[0] if once else "x".join(words))

    def read(self, digits: str) -> tuple[int, ...]:
        """The value of the word's digits; one entry if written once for all axes."""
        return tuple(int(v) for v in digits.split("x"))


@dataclass(frozen=True)
class PairPerAxis:
    """A (low, high) pair per axis: `p3`, `p3x0`, `p1+2x0` where the ends differ; 0 by default."""

    prefix: str
    field: str
    default: int = 0

    def write(self, value: tuple[tuple[int, int], ...]) -> str:
        """The word, empty where there is no padding."""
        if all(pair == (0, 0) for pair in value):
            return ""
        words = [str(low) if low == high else f"{low}+{high}" for low, high in value]
        return self.prefix + (words[0] if len(set(words)) == 1 else "x".join(words))

    def read(self, digits: str) -> tuple[tuple[int, int], ...]:
        """The value of the word's digits; one entry if written once for all axes."""
        ends = [v.partition("+") for v in digits.split("x")]
        return tuple((int(low), int(high) if plus else int(low)) for low, plus, high in ends)


@dataclass(frozen=True)
class Choice:
    """A word that is its own value: `reflect`. The default, or None, is not written."""

    field: str
    choices: tuple[str, ...]
    default: str | None = None

    def write(self, value: str | None) -> str:
        """The value itself, empty for the default."""
        return "" if value is None or value == self.default else value


@dataclass(frozen=True)
class Activation:
    """An activation's name, with its number if it has one: `relu`, `leaky_relu(0.1)`."""

    field: str

    def write(self, value: str | None) -> str:
        """The name, empty for none."""
        return value or ""


@dataclass(frozen=True)
class Flag:
    """A word that stands or does not: `bias`."""

    field: str

    def write(self, value: bool) -> str:
        """The field's name if it is so."""
        return self.field if value else ""


Word = Count | PerAxis | PairPerAxis | Choice | Activation | Flag


@dataclass(frozen=True)
class Spelling:
    """The words of one family, in the order they are written."""

    tasks: tuple[str, ...]
    example: str
    words: tuple[Word, ...]

    def write(self, spec: Any) -> str:
        """The spelling of a spec."""
        written = [w.write(getattr(spec, w.field)) for w in self.words if not _follows(spec, w)]
        return " ".join([spec.task, *filter(None, written), spec.dtype, spec.device])

    def read(self, text: str) -> dict[str, Any]:
        """The fields that a spelling names: the spec's keyword arguments."""
        words = text.split()
        if len(words) < 3 or words[0] not in self.tasks:
            raise ArgumentError(
                f"a problem reads like {self.example!r} and starts with one of "
                f"{', '.join(self.tasks)}, got {text!r}"
            )
        fields: dict[str, Any] = {"task": words[0], "dtype": words[-2], "device": words[-1]}
        for word in words[1:-2]:
            name, value = self._field(word, text)
            if name in fields:
                raise ArgumentError(f"{name} is given twice in {text!r}")
            fields[name] = value
        missing = [name for name in self._required if name not in fields]
        if missing:
            raise ArgumentError(f"{text!r} does not say {', '.join(missing)}")
        return self._spread(fields)

    def _field(self, word: str, text: str) -> tuple[str, Any]:
        if word in self._literals:
            return self._literals[word]
        if self._activation is not None and (activation := naming.canonical(word)) is not None:
            return self._activation, activation
        match = _PREFIXED.fullmatch(word)
        reader = self._prefixes.get(match[1]) if match else None
        if match and reader:
            try:
                return reader.field, reader.read(match[2])
            except ValueError:
                pass  # '3x' or '1+': the message below says it
        raise ArgumentError(f"cannot read the word {word!r} in {text!r}")

    def _spread(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Repeat a value that was written once for all axes."""
        dims = len(fields["input_size"])
        for word in self.words:
            repeats = isinstance(word, (PerAxis, PairPerAxis)) and word.default is not None
            if repeats and len(fields.get(word.field, ())) == 1:
                fields[word.field] *= dims
        return fields

    @cached_property
    def _literals(self) -> dict[str, tuple[str, Any]]:
        """Words that stand for themselves, with the field and value each means."""
        found: dict[str, tuple[str, Any]] = {}
        for word in self.words:
            if isinstance(word, Flag):
                found[word.field] = word.field, True
            elif isinstance(word, Choice):
                found |= {choice: (word.field, choice) for choice in word.choices}
        return found

    @cached_property
    def _activation(self) -> str | None:
        """The field that an activation's name is for; None if there is none."""
        return next((w.field for w in self.words if isinstance(w, Activation)), None)

    @cached_property
    def _prefixes(self) -> dict[str, Count | PerAxis | PairPerAxis]:
        numbers = [w for w in self.words if isinstance(w, (Count, PerAxis, PairPerAxis))]
        return {word.prefix: word for word in numbers}

    @cached_property
    def _required(self) -> list[str]:
        """Fields that have no default."""
        optional = {w.field for w in self.words if isinstance(w, PerAxis) and w.unless}
        numbers = [w for w in self.words if isinstance(w, (Count, PerAxis))]
        return [w.field for w in numbers if w.default is None and w.field not in optional]


def _follows(spec: Any, word: Word) -> bool:
    """Whether the word's field has the value that another property of the spec gives it."""
    if not isinstance(word, PerAxis) or word.unless is None:
        return False
    return bool(getattr(spec, word.field) == getattr(spec, word.unless))
