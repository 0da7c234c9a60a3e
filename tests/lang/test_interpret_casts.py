"""Casts between the two kinds of floating-point numbers, in every way that there is."""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from faltung.lang.ops import F32, F64
from faltung.lang.routine import Routine

Memory = dict[str, Any]
Agree = Callable[[Routine, Memory], Memory]

DTYPES = {F32: "float32", F64: "float64"}
NUMPY: dict[str, Any] = {F32: np.float32, F64: np.float64}

every_lanes = pytest.mark.parametrize("lanes", [1, 2, 4, 8, 16, 32])


def numbers(kind: str) -> Any:
    """Ordinary numbers, and those at the ends of what there is; a multiple of 32."""
    limits = np.finfo(NUMPY[kind])
    single = np.finfo(np.float32)
    ends = [
        0.0,
        math.inf,
        *(float(n) for n in (limits.tiny, limits.smallest_subnormal, limits.max)),
    ]
    ends += [float(single.max) * (1 + 2.0**-25), float(single.max) * (1 + 2.0**-24)]
    ends = [end for end in ends if kind == F64 or end <= float(single.max) or end == math.inf]
    special = np.array([s * end for end in ends for s in (1, -1)] + [math.nan], NUMPY[kind])
    random = np.random.default_rng(1).standard_normal(160).astype(NUMPY[kind])
    return np.concatenate([random, np.resize(special, 32)])


def cast(name: str, lanes: int, a: Any) -> tuple[Routine, Memory]:
    """A cast of as many numbers as `a` has, and memory for it."""
    of, to = (F32, F64) if name == "widen" else (F64, F32)
    r = Routine(name, items=len(a) // lanes)
    x, y = r.reads("x", DTYPES[of], len(a)), r.writes("y", DTYPES[to], len(a))
    with r.work() as item:
        r.store(y, item * lanes, getattr(r, name)(r.load(x, item * lanes, lanes)))
    return r, {"x": a, "y": np.full(len(a), np.nan, NUMPY[to])}


def check(agree: Agree, bits: Any, run: tuple[Routine, Memory], expected: Any) -> None:
    found = agree(*run)["y"]
    same = bits(found) == bits(expected)
    assert same.all(), f"of {run[1]['x'][~same][:3]}: {found[~same][:3]}, not {expected[~same][:3]}"


@every_lanes
def test_widen(agree: Agree, bits: Any, lanes: int) -> None:
    a = numbers(F32)
    exact = np.array([float(number) for number in a])
    check(agree, bits, cast("widen", lanes, a), exact)


def nearest(number: float) -> Any:
    """The float32 nearest to a double, found among the neighbours of NumPy's; ties to even."""
    rough = np.float32(number)
    if not (math.isfinite(number) and np.isfinite(rough)) or number == 0:
        return rough
    near = [np.nextafter(rough, np.float32(end)) for end in (-math.inf, math.inf)] + [rough]
    near = [one for one in near if np.isfinite(one)]
    return min(near, key=lambda n: (abs(Fraction(float(n)) - Fraction(number)), bits_of(n) % 2))


def bits_of(number: Any) -> int:
    return int(number.view(np.uint32))


@every_lanes
def test_narrow_rounds_to_the_nearest(agree: Agree, bits: Any, lanes: int) -> None:
    a = numbers(F64)
    singles = np.random.default_rng(4).standard_normal(len(a)).astype(np.float32)
    singles[::5] *= np.float32(1e-39)  # below the normal ones
    after = np.nextafter(singles, np.float32(math.inf))
    halfway = (singles.astype(np.float64) + after.astype(np.float64)) / 2
    just = np.nextafter(halfway, math.inf)
    a = np.concatenate([a, halfway, just])
    with np.errstate(all="ignore"):
        check(agree, bits, cast("narrow", lanes, a), np.array([nearest(x) for x in a.tolist()]))
