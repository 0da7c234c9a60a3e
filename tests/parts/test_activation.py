"""Activations recorded before a store: what they compute, for each kind and number of lanes."""

import math
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import mpmath  # PyTorch brings it along
import numpy as np
import pytest
import torch

from faltung.lang import compile as lang_compile
from faltung.lang.compile import Compiled, assembly, object_code
from faltung.lang.interpret import interpret
from faltung.lang.llvm_ir import llvm_ir
from faltung.lang.ops import LanguageError
from faltung.lang.routine import Routine
from faltung.lang.target import AVX2, AVX512, Target, host_target, unavailable
from faltung.ops.activations import activate
from faltung.ops.naming import ACTIVATIONS, split
from faltung.parts.activation import _NUMBERS, activated, is_long

DTYPES = ("float32", "float64")
NAMES = (*ACTIVATIONS, "leaky_relu(0.1)", "leaky_relu(-2)", "leaky_relu(3.5)", "elu(0.3)")

# How many roundings lie between x and the result, each of which moves it by at most one of its
# last places: for e^v two, for P and R two each, and then sums, products and quotients. The
# argument v of gelu_tanh is itself rounded five times, which `slip` counts.
ROUNDINGS = {
    "relu": 0, "relu6": 0, "leaky_relu": 2, "hardswish": 4, "sigmoid": 4, "silu": 4, "gelu": 9,
    "gelu_tanh": 4, "leaky_relu(0.1)": 2, "leaky_relu(-2)": 2, "leaky_relu(3.5)": 2, "elu": 4,
    "elu(0.3)": 5,
}  # fmt: skip

_DOUBLE = SimpleNamespace(exp=np.exp, expm1=np.expm1, erfc=np.vectorize(math.erfc), of=float)
_EXACT = SimpleNamespace(
    exp=np.vectorize(mpmath.exp, otypes=[object]),
    expm1=np.vectorize(mpmath.expm1, otypes=[object]),
    erfc=np.vectorize(mpmath.erfc, otypes=[object]),
    of=mpmath.mpf,
)


def _cubic(x: Any, m: Any) -> Any:
    return m.of(mpmath.sqrt(8 / mpmath.pi)) * (x + m.of("0.044715") * x**3)


TRUE: dict[str, Callable[[Any, Any], Any]] = {
    "relu": lambda x, m: np.maximum(x, 0),
    "relu6": lambda x, m: np.minimum(np.maximum(x, 0), 6),
    "leaky_relu": lambda x, m: np.where(x > 0, x, m.of("0.01") * x),
    "leaky_relu(0.1)": lambda x, m: np.where(x > 0, x, m.of("0.1") * x),
    "leaky_relu(-2)": lambda x, m: np.where(x > 0, x, -2 * x),
    "leaky_relu(3.5)": lambda x, m: np.where(x > 0, x, m.of("3.5") * x),
    "elu": lambda x, m: np.where(x > 0, x, m.expm1(np.minimum(x, 0))),
    "elu(0.3)": lambda x, m: np.where(x > 0, x, m.of("0.3") * m.expm1(np.minimum(x, 0))),
    "hardswish": lambda x, m: x * np.minimum(np.maximum(x + 3, 0), 6) / 6,
    "sigmoid": lambda x, m: 1 / (1 + m.exp(-x)),
    "silu": lambda x, m: x / (1 + m.exp(-x)),
    "gelu": lambda x, m: x * m.erfc(-x / m.of(mpmath.sqrt(2))) / 2,
    "gelu_tanh": lambda x, m: x / (1 + m.exp(-_cubic(x, m))),
}
SMOOTH = ("sigmoid", "silu", "gelu", "gelu_tanh", "elu")


@pytest.fixture(autouse=True)
def _many_digits() -> Any:
    with mpmath.workdps(40), np.errstate(over="ignore"):
        yield


def elementwise(name: str | None, dtype: str, lanes: int, count: int) -> Routine:
    """y = activation(x)."""
    r = Routine("activated", count // lanes)
    x, y = r.reads("x", dtype, count), r.writes("y", dtype, count)
    with r.work() as item:
        r.store(y, item * lanes, activated(r, name, r.load(x, item * lanes, lanes)))
    return r


def machine_code(routine: Routine, target: Target) -> Compiled:
    if reason := unavailable():
        pytest.skip(reason)
    code = object_code(llvm_ir(routine), target)
    return Compiled(lang_compile._loaded(code), len(routine.buffers))


def computed(name: str, x: Any) -> Any:
    """The compiled activation of an array."""
    lanes = 8
    padded = np.concatenate([x, np.zeros(-len(x) % lanes, x.dtype)])
    y = np.full_like(padded, np.nan)
    routine = elementwise(name, str(x.dtype), lanes, len(padded))
    machine_code(routine, host_target())(1, padded.ctypes.data, y.ctypes.data)
    return y[: len(x)]


def specials(dtype: str) -> list[float]:
    limits = np.finfo(dtype)
    positive = (0.0, limits.smallest_subnormal, limits.tiny / 100, limits.tiny, math.inf)
    return [math.nan, -1e30, *positive, *(-v for v in positive)]


def last_places(name: str, y: Any, x: Any, m: Any) -> tuple[Any, Any]:
    """Errors in last places of the true result, and how many of them are allowed."""
    wide = x.astype(float) if m is _DOUBLE else np.array([m.of(v) for v in x.tolist()], object)
    true = TRUE[name](wide, m)
    place = np.spacing(np.abs(true.astype(x.dtype)))
    errors = np.abs(y.astype(wide.dtype) - true).astype(float) / place
    # a factor of x, or sigmoid itself, below the smallest normal number may be 0
    scale = 1.0 if name == "sigmoid" else np.abs(x.astype(float))
    flushed = scale * float(np.finfo(x.dtype).tiny) if name in SMOOTH else 0.0
    return errors, ROUNDINGS[name] + slip(name, x) + flushed / place


def slip(name: str, x: Any) -> Any:
    """Last places of σ(v) that five roundings of v make: |v|·(1 − σ(v)) each."""
    if name != "gelu_tanh":
        return 0.0
    v = _cubic(x.astype(float), _DOUBLE)
    return 5 * np.abs(v) / (1 + np.exp(v))


def sweep(dtype: str, count: int) -> Any:
    """Numbers over all that matters, densest around 0, where results are of the size of x."""
    ends = (1.0, 6.0, 20.0, 110.0) if dtype == "float32" else (1.0, 6.0, 40.0, 760.0)
    random = np.random.default_rng(0)
    pieces = [random.uniform(-end, end, count) for end in ends]
    small = 10.0 ** random.uniform(-37, 0, count)
    return np.concatenate([*pieces, small, -small]).astype(dtype)


@pytest.mark.parametrize("name", NAMES)
def test_float32_is_right_everywhere(name: str) -> None:
    x = sweep("float32", 50_000)
    errors, allowed = last_places(name, computed(name, x), x, _DOUBLE)
    assert (errors <= allowed).all(), x[~(errors <= allowed)][:5]


@pytest.mark.parametrize("name", NAMES)
def test_float64_is_right_everywhere(name: str) -> None:
    x = sweep("float64", 300)
    errors, allowed = last_places(name, computed(name, x), x, _EXACT)
    assert (errors <= allowed).all(), x[~(errors <= allowed)][:5]


@pytest.mark.parametrize("name", NAMES)
def test_float32_is_about_as_right_as_pytorch(name: str) -> None:
    # further down 1 + tanh and 1 + erf of PyTorch's have no digits left
    x = np.random.default_rng(0).uniform(-2, 20, 200_000).astype(np.float32)
    ours, _ = last_places(name, computed(name, x), x, _DOUBLE)
    theirs, _ = last_places(name, activate(name, torch.from_numpy(x)).numpy(), x, _DOUBLE)
    assert ours.max() <= theirs.max() + 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_special_numbers_are_as_from_pytorch(name: str, dtype: str) -> None:
    x = np.array(specials(dtype), dtype)
    found = computed(name, x)
    # one at a time: for some of these PyTorch's vectors differ from its scalars
    expected = np.array([activate(name, torch.tensor(v)).numpy() for v in x])
    if name == "gelu":
        assert found[x == -np.inf] == 0
        expected[x == -np.inf] = 0
    np.testing.assert_array_equal(found, expected)
    # a NaN has any sign, and gelu is +0 far down
    signed = ~np.isnan(found) & ((x > -1) if name == "gelu" else True)
    assert (np.signbit(found) == np.signbit(expected))[signed].all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_large_numbers_stay_what_they_are(dtype: str) -> None:
    x = np.array([3, 5, 6, 7, 50, np.finfo(dtype).max], dtype)
    assert (computed("hardswish", x) == x).all()
    for name in ("silu", "gelu", "gelu_tanh"):
        assert (computed(name, x)[-2:] == x[-2:]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_compiled_code_means_the_same_with_any_number_of_lanes(name: str, dtype: str) -> None:
    random = np.random.default_rng(0)
    numbers = [*specials(dtype), *random.uniform(-9, 9, 12), *random.uniform(-800, 800, 10)]
    count, widths = len(numbers), range(1, 18)
    assert count == 34
    r = Routine("activated")
    x, y = r.reads("x", dtype, count), r.writes("y", dtype, len(widths) * count)
    with r.work():
        for n, lanes in enumerate(widths):
            with r.loop(0, count // lanes * lanes, lanes) as loop:
                value = activated(r, name, r.load(x, loop.index, lanes))
                r.store(y, loop.index + n * count, value)
    given = np.array(numbers, dtype)
    meant = np.full(len(widths) * count, np.nan, dtype)
    interpret(r, {"x": given, "y": meant})
    host = host_target()
    for target in (host, AVX2) if host.vector_bits == 512 else (host,):
        found = np.full_like(meant, np.nan)
        machine_code(r, target)(1, given.ctypes.data, found.ctypes.data)
        np.testing.assert_array_equal(found, meant)
        assert (np.signbit(found) == np.signbit(meant))[~np.isnan(meant)].all()
    # the same numbers whatever the lanes
    alone = meant[:count]
    for n, lanes in enumerate(widths):
        whole = count // lanes * lanes
        np.testing.assert_array_equal(meant[n * count :][:whole], alone[:whole])


@pytest.mark.parametrize("kind", _NUMBERS)
def test_fits_are_closer_than_roundings(kind: str) -> None:
    of = _NUMBERS[kind]
    half_place = mpmath.mpf(2) ** (-25 if kind == "f32" else -54)
    kept = np.float32 if kind == "f32" else np.float64

    def value(coefficients: Any, x: Any) -> Any:
        return mpmath.polyval([mpmath.mpf(float(kept(c))) for c in reversed(coefficients)], x)

    for r in mpmath.linspace(-mpmath.log(2) / 2, mpmath.log(2) / 2, 301):
        series = value((1, 1, *of.exponential), r)
        assert abs(series / mpmath.exp(r) - 1) < half_place / 4
    for a in (of.tail_end * (mpmath.mpf(n) / 600) ** 2 for n in range(601)):
        tail = mpmath.erfc(a / mpmath.sqrt(2)) / 2 * mpmath.exp(a * a / 2)
        assert abs(value(of.above, a) / value(of.below, a) / tail - 1) < half_place
    assert sum(of.ln2) == pytest.approx(math.log(2), rel=2**-40)
    for exponent in (of.most, -of.most):
        assert kept(exponent * of.ln2[0]) == exponent * of.ln2[0]


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("relu", 1),
        ("relu6", 2),
        ("leaky_relu", 2),
        ("hardswish", 5),
        ("silu", 20),
        ("gelu", 36),
        ("leaky_relu(0.1)", 2),
        ("elu", 22),
    ],
)
def test_they_are_cheap(name: str, most: int) -> None:
    text = assembly(llvm_ir(elementwise(name, "float32", 16, 160)), AVX512)
    body = text[text.index("body:") : text.index(".Lfunc_end0")]
    steps = re.findall(r"^\tv(?!mov|p?broadcast|zeroupper|p?xor)\w+", body, re.MULTILINE)
    assert 0 < len(steps) <= most, steps


def test_there_is_one_for_every_name() -> None:
    r = Routine("names")
    x = r.reads("x", "float32", 4)
    with r.work():
        value = r.load(x, 0, 4)
        assert activated(r, None, value) is value
        for name in NAMES:
            assert activated(r, name, value).type == value.type
            assert is_long(name) == (split(name)[0] in SMOOTH)
        with pytest.raises(LanguageError, match="no activation 'swish', only relu, relu6, silu"):
            activated(r, "swish", value)
        with pytest.raises(LanguageError, match="silu works on f32 or f64, got indexx4"):
            activated(r, "silu", r.lane(4))
