"""Activations of sums that are still in registers, just before they are stored.

    relu  max(x, 0)            silu       x · σ(x)                        σ(v) = 1 / (1 + e^−v)
    relu6 min(max(x, 0), 6)    gelu       x · Φ(x)                        Φ: the normal distribution
    leaky_relu max(x, a·x)     gelu_tanh  x · σ(√(8/π) · (x + 0.044715 x³))
    hardswish x · min(max(x + 3, 0), 6) / 6                               sigmoid σ(x)
    elu  x where that is at least 0, a · (e^x − 1) elsewhere

a is the number in the name, `leaky_relu(0.1)`; without one 0.01, and 1 for elu.

Recorded from operations of the language, for any number of lanes of f32 and f64. The smooth ones
are accurate relative to their value also where that is tiny, unlike formulas with 1 + tanh or
1 + erf; only a factor below the smallest normal number may come out as 0. NaN stays NaN, and other
special numbers come out as from PyTorch: relu(−0) is −0; silu, gelu_tanh and hardswish make
−∞ · 0 = NaN of −∞. Two do better: gelu is 0 there, and hardswish of large numbers is finite.

An exponential is 2^n · p(r) with r = v − n · ln 2, |r| ≤ ln 2 / 2: a Taylor series whose terms from
r² on are fitted. gelu is max(x, 0) − |x| · Q(|x|), rounded once; Q(a) = 1 − Φ(a), the upper tail,
is e^(−a²/2) · P(a) / R(a) with polynomials P and R, as in Cody's erfc (Math. Comp. 23, 1969,
631–637), but the same ones for all a. All coefficients are our own: Remez's exchange at 60 digits
for the smallest relative error, then rounded, those of P one after the other, each time fitting the
later ones anew. P and R have positive ones only, so nothing cancels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import pi, sqrt

from ..lang.ops import F32, F64, LanguageError
from ..lang.routine import Routine, Value
from ..ops.naming import split

_LOG2_E = 1.4426950408889634
_GENTLE = (1e-20, 1.0)  # slopes of leaky_relu for which the larger of x and a·x is right
_CUBIC = 0.044715  # Hendrycks and Gimpel's, arXiv 1606.08415, section 2


def activated(r: Routine, name: str | None, value: Value) -> Value:
    """Record the named activation of a value; None records nothing.

    `value` is f32 or f64 with any number of lanes. The names are those of `ops.activations`.
    Raises `LanguageError` for others and for other kinds.

    >>> r = Routine("relu", items=1)
    >>> x, y = r.reads("x", "float32", 8), r.writes("y", "float32", 8)
    >>> with r.work():
    ...     r.store(y, 0, activated(r, "relu", r.load(x, 0, 8)))
    """
    if name is None:
        return value
    base, number = _known(name)
    if value.type.kind not in _NUMBERS:
        raise LanguageError(f"{name} works on {' or '.join(_NUMBERS)}, got {value.type}")
    return _RECORDED[base](r, value) if number is None else _NUMBERED[base](r, value, number)


def is_long(name: str | None) -> bool:
    """Whether an activation is so many operations that recording it for every vector is too much.

    A loop over sums that wait in memory has them once, and takes about as long.

    >>> is_long("relu"), is_long("gelu")
    (False, True)
    """
    return name is not None and _known(name)[0] in _LONG


def _known(name: str) -> tuple[str, float | None]:
    try:
        return split(name)
    except ValueError:
        words = ", ".join((*_RECORDED, *_NUMBERED))
        raise LanguageError(f"there is no activation {name!r}, only {words}") from None


@dataclass(frozen=True)
class _Numbers:
    """What the functions need to know about a kind of number."""

    ln2: tuple[float, float]
    """ln 2 in two parts, the first so short that its products with an exponent are exact."""
    exponential: Sequence[float]
    """(e^r − 1 − r) / r² for |r| ≤ ln 2 / 2, lowest power first."""
    most: int
    """The exponent of the largest number."""
    sigmoid: tuple[float, float]
    """Where e^−x has overflown, and where it is still a normal number."""
    sigmoid_cubic: tuple[float, float]
    """The same for gelu_tanh's cubic polynomial of x."""
    tail_end: float
    """Up to here Q(a) is a normal number."""
    above: Sequence[float]
    """P, lowest power first."""
    below: Sequence[float]
    """R, lowest power first."""
    least: float
    """Where e^x − 1 is −1, rounded."""


_NUMBERS = {
    F32: _Numbers(
        ln2=(0.693115234375, 3.1946184945309415e-05),
        exponential=(
            0.49999993408580910, 0.16666520109014293, 0.041668394681661007,
            0.0083687805881558985, 0.0013814457667694545,
        ),
        most=127,
        sigmoid=(-89.0, 87.3),
        sigmoid_cubic=(-10.07, 9.99),
        tail_end=12.95,
        above=(0.5, 0.43714568, 0.182338491, 0.0403178595, 0.00406580232),
        below=(1.0, 1.67217624, 1.19887674, 0.467092425, 0.101068534, 0.0101913316),
        least=-18.0,
    ),
    F64: _Numbers(
        ln2=(0.6931471803691238, 1.9082149292705877e-10),
        exponential=(
            0.50000000000000106713, 0.16666666666666406394, 0.041666666666529514521,
            0.0083333333334980500599, 0.0013888888943857423221, 0.00019841269499814657818,
            0.000024801492814027145563, 2.7557591440958794925e-6, 2.7630364785255698224e-7,
            2.4998769178319437297e-8,
        ),
        most=1023,
        sigmoid=(-710.0, 708.3),
        sigmoid_cubic=(-21.161, 21.144),
        tail_end=37.52,
        above=(
            0.5, 0.8261323540785918, 0.6767558512918679, 0.35510346226531614, 0.13092728596718178,
            0.03528005250354107, 0.007026440736304577, 0.0010224883148904555,
            0.00010443111134241885, 6.806217862097597e-06, 2.175201773725215e-07,
        ),
        below=(
            1.0, 2.450149268960049, 2.8084479759493823, 1.991911090146353, 0.9735911137342169,
            0.3452806168291493, 0.09096285424739936, 0.017873354502129717, 0.002580058778935434,
            0.0002623152186656246, 1.7060658136463712e-05, 5.452422269045782e-07,
        ),
        least=-38.0,
    ),
}  # fmt: skip


def _relu(r: Routine, x: Value) -> Value:
    zero = _like(r, 0, x)
    return r.select(x < zero, zero, x)


def _relu6(r: Routine, x: Value) -> Value:
    return _between(r, 0, 6, x)


def _leaky_relu(r: Routine, x: Value, slope: float) -> Value:
    bent = x * slope
    if _GENTLE[0] <= slope <= _GENTLE[1]:
        return r.select(x < bent, bent, x)
    return r.select(_like(r, 0, x) < x, x, bent)


def _elu(r: Routine, x: Value, alpha: float) -> Value:
    """Relatively accurate where e^x is near 1: of e^x = 2^n · (1 + q) it is 2^n · q + (2^n − 1)."""
    of, zero = _NUMBERS[x.type.kind], _like(r, 0, x)
    near = _between(r, of.least, 0, x)
    exponent = r.apply("round", near * _LOG2_E)
    whole = r.select(exponent < zero, exponent, zero)  # and of NaN, which pow2 does not take
    high, low = (_like(r, -part, x) for part in of.ln2)
    rest = r.fma(whole, low, r.fma(whole, high, near))
    more = r.fma(rest * rest, _polynomial(r, rest, of.exponential), rest)
    power = r.apply("pow2", whole)
    below = r.fma(power, more, power - 1) * alpha
    return r.select(x < zero, below, x)


def _hardswish(r: Routine, x: Value) -> Value:
    # the factor first: six sixths are 1 in both kinds, so that x ≥ 3 stays x
    return _between(r, 0, 6, x + 3) * (1 / 6) * x


def _sigmoid(r: Routine, x: Value) -> Value:
    return 1 / _one_and_power(r, -_between(r, *_NUMBERS[x.type.kind].sigmoid, x))


def _silu(r: Routine, x: Value) -> Value:
    return x / _one_and_power(r, -_between(r, *_NUMBERS[x.type.kind].sigmoid, x))


def _gelu_tanh(r: Routine, x: Value) -> Value:
    slope = -2 * sqrt(2 / pi)
    near = _between(r, *_NUMBERS[x.type.kind].sigmoid_cubic, x)
    factor = r.fma(near * near, _like(r, slope * _CUBIC, x), _like(r, slope, x))
    return x / _one_and_power(r, near * factor)


def _gelu(r: Routine, x: Value) -> Value:
    near, tail = _upper_tail(r, r.apply("abs", x))
    return r.fma(-near, tail, _relu(r, x))


def _one_and_power(r: Routine, v: Value) -> Value:
    """1 + e^v; infinite where that overflows."""
    of = _NUMBERS[v.type.kind]
    exponent, most = r.apply("round", v * _LOG2_E), _like(r, of.most, v)
    whole = r.select(exponent < most, exponent, most)  # and of NaN, which pow2 does not take
    high, low = (_like(r, -part, v) for part in of.ln2)
    rest = r.fma(whole, low, r.fma(whole, high, v))
    return r.fma(_exponential(r, rest, 1), r.apply("pow2", whole), _like(r, 1, v))


def _upper_tail(r: Routine, a: Value) -> tuple[Value, Value]:
    """a ≥ 0 and Q(a), the part of the normal distribution above it.

    A larger a than `tail_end` becomes that, and Q becomes 0.
    """
    of = _NUMBERS[a.type.kind]
    end = _like(r, of.tail_end, a)
    near = r.select(a < end, a, end)
    whole = r.apply("round", near * near * (-0.5 * _LOG2_E))
    high, low = (_like(r, 2 * part, a) for part in of.ln2)
    # minus twice the rest; the square is rounded together with what is taken away from it
    rest = r.fma(whole, low, r.fma(near, near, whole * high))
    power = _exponential(r, rest, -0.5) * r.apply("pow2", whole)
    # numbers that are not normal would take 20 times as long
    power = r.select(a < end, power, _like(r, 0, a))
    return near, power * _polynomial(r, near, of.above) / _polynomial(r, near, of.below)


def _exponential(r: Routine, rest: Value, factor: float) -> Value:
    """e^(factor · rest), a power of at most √2; above 2 for one near e."""
    series = (1, 1, *_NUMBERS[rest.type.kind].exponential)
    return _polynomial(r, rest, [c * factor**n for n, c in enumerate(series)])


def _polynomial(r: Routine, x: Value, coefficients: Sequence[float]) -> Value:
    """Horner's rule, lowest power first."""
    total = _like(r, coefficients[-1], x)
    for coefficient in reversed(coefficients[:-1]):
        total = r.fma(total, x, _like(r, coefficient, x))
    return total


def _between(r: Routine, low: float, high: float, x: Value) -> Value:
    """x, but at least `low` and at most `high`; NaN stays NaN."""
    least, most = _like(r, low, x), _like(r, high, x)
    x = r.select(x < least, least, x)
    return r.select(most < x, most, x)


def _like(r: Routine, number: float, value: Value) -> Value:
    """A number in every lane of a value's type."""
    return r.const(number, value.type.kind, value.type.lanes)


_LONG = ("silu", "gelu", "gelu_tanh", "sigmoid", "elu")  # what has an exponential in it
_RECORDED: dict[str, Callable[[Routine, Value], Value]] = {
    "relu": _relu,
    "relu6": _relu6,
    "silu": _silu,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "hardswish": _hardswish,
    "sigmoid": _sigmoid,
}
_NUMBERED: dict[str, Callable[[Routine, Value, float], Value]] = {
    "leaky_relu": _leaky_relu,
    "elu": _elu,
}
