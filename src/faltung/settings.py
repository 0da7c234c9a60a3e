"""The few knobs, and a `with` block that turns them for a while.

    with faltung.using(algorithm="native_torch"):
        model(x)

Settings belong to the running context (thread, task); nothing is read from the environment, and
no setting changes what is computed beyond the rounding that `accuracy` allows.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import astuple, dataclass, replace
from enum import Enum
from functools import cache
from typing import Literal

from .errors import ArgumentError, ArgumentTypeError

ACCURACIES = ("exact", "default", "fast")


@dataclass(frozen=True, eq=False)
class Settings:
    """The knobs in force.

    algorithm
        Name of the algorithm every operator that has it must use; None lets the planner choose.
    accuracy
        `"exact"`: only algorithms that sum the products themselves. `"default"`: at most a few
        times the rounding error of a direct sum. `"fast"`: whatever is fastest.
    deterministic
        True: only algorithms that give the same bits on every run.
    memory_limit
        Most workspace in bytes that an algorithm may take besides its operands and result.
    measure
        True: run every algorithm that can do a call, the first time there is such a call, and take
        the fastest instead of the one that is estimated to be. It takes some 0.3 s per kind of call
        and is remembered on this computer. How results round then depends on a stopwatch: it may
        differ between computers, and between a run that measured and one that did not.
    debug
        True: print each plan once, when it is made.
    changing_weight
        True where every call has another weight, as in training: what an algorithm makes of a
        weight before it begins counts as part of each call. Not for users to set: `autograd` knows.

    Equal settings are the same object, so that hashing one costs nothing in a call's key.
    """

    algorithm: str | None = None
    accuracy: str = "default"
    deterministic: bool = True
    memory_limit: int | None = None
    measure: bool = False
    debug: bool = False
    changing_weight: bool = False


class Unchanged(Enum):
    """What a knob is set to that the caller does not name."""

    UNCHANGED = 0

    def __repr__(self) -> str:
        return self.name


UNCHANGED: Literal[Unchanged.UNCHANGED] = Unchanged.UNCHANGED


@cache
def _interned(
    algorithm: str | None,
    accuracy: str,
    deterministic: bool,
    memory_limit: int | None,
    measure: bool,
    debug: bool,
    changing_weight: bool,
) -> Settings:
    return Settings(
        algorithm, accuracy, deterministic, memory_limit, measure, debug, changing_weight
    )


_DEFAULT = _interned(*astuple(Settings()))
_current: ContextVar[Settings] = ContextVar("faltung_settings", default=_DEFAULT)
current = _current.get


@contextmanager
def using(
    *,
    algorithm: str | Unchanged | None = UNCHANGED,
    accuracy: str | Unchanged = UNCHANGED,
    deterministic: bool | Unchanged = UNCHANGED,
    memory_limit: int | Unchanged | None = UNCHANGED,
    measure: bool | Unchanged = UNCHANGED,
    debug: bool | Unchanged = UNCHANGED,
) -> Iterator[Settings]:
    """Turn the given knobs inside a `with` block; those not named keep their value.

    Raises `ArgumentError` or `ArgumentTypeError` for a value that a knob does not have.

    >>> with using(memory_limit=1 << 20) as inside:
    ...     inside.memory_limit, inside.accuracy
    (1048576, 'default')
    """
    before = current()
    wanted = Settings(
        before.algorithm if algorithm is UNCHANGED else algorithm,
        before.accuracy if accuracy is UNCHANGED else accuracy,
        before.deterministic if deterministic is UNCHANGED else deterministic,
        before.memory_limit if memory_limit is UNCHANGED else memory_limit,
        before.measure if measure is UNCHANGED else measure,
        before.debug if debug is UNCHANGED else debug,
        before.changing_weight,
    )
    _check(wanted)
    wanted = _interned(*astuple(wanted))
    token = _current.set(wanted)
    try:
        yield wanted
    finally:
        _current.reset(token)


def with_algorithm(name: str | None) -> Settings:
    """The settings in force, with the algorithm that one call asks for."""
    if name is None:
        return current()
    wanted = replace(current(), algorithm=name)
    _check(wanted)
    return _interned(*astuple(wanted))


def planner_chooses(knobs: Settings) -> Settings:
    """The same settings with the choice of algorithm left to the planner."""
    return knobs if knobs.algorithm is None else _interned(None, *astuple(knobs)[1:])


def for_changing_weight(knobs: Settings) -> Settings:
    """The same settings, for a weight that every step of a training changes.

    Some algorithms rearrange or transform the weight first and keep what they made. That pays for a
    weight that stays; for this one it counts in every call.
    """
    return _interned(*astuple(replace(knobs, changing_weight=True)))


def by_estimate(knobs: Settings) -> Settings:
    """The same settings, with nothing measured."""
    return _interned(*astuple(replace(knobs, measure=False))) if knobs.measure else knobs


def _check(wanted: Settings) -> None:
    if wanted.accuracy not in ACCURACIES:
        known = ", ".join(repr(word) for word in ACCURACIES)
        raise ArgumentError(f"accuracy must be one of {known}, got {wanted.accuracy!r}")
    if wanted.algorithm is not None and not isinstance(wanted.algorithm, str):
        raise ArgumentTypeError(
            f"algorithm must be the name of one or None, got {wanted.algorithm!r}"
        )
    limit = wanted.memory_limit
    if limit is not None:
        if not isinstance(limit, int) or isinstance(limit, bool):
            raise ArgumentTypeError(f"memory_limit must be a byte count or None, got {limit!r}")
        if limit < 0:
            raise ArgumentError(f"memory_limit must be at least 0 bytes, got {limit}")
    for name in ("deterministic", "measure", "debug"):
        value = getattr(wanted, name)
        if not isinstance(value, bool):
            raise ArgumentTypeError(f"{name} must be True or False, got {value!r}")
