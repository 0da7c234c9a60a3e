"""The transforms of Winograd's minimal filtering, exactly, and how to record them.

    y = Aᵀ [(G g) ⊙ (Bᵀ d)]           m outputs of an r-tap filter from a tile d of n = m + r − 1

Cook and Toom's construction: a product of polynomials of n coefficients is fixed by its values at
n points, one of which may be infinity; transposing that gives a filter. With a_j the finite points,
row j of G is (1, a_j, a_j², …) / Π_{k≠j} (a_j − a_k), column j of Aᵀ is (1, a_j, a_j², …), and row
j of Bᵀ holds the coefficients of Π_{k≠j} (x − a_k); infinity adds the leading coefficients.

The points are chosen for small rounding errors: pairs ±a, which also share most of their
additions, all of few binary digits, so that Aᵀ and Bᵀ are exact in float32. What they cost in
accuracy is measured (`noise`) and stands in docs/design/008-winograd.md.

With a stride of s, the taps t ≡ ρ (mod s) read only every s-th number: each phase ρ is a filter of
its own, of ⌈(r − ρ)/s⌉ taps, transformed by itself, and the outputs of all are added up. So F(m, r)
takes n = s·(m − 1) + r products of as many inputs. A phase of one tap has the numbers themselves.

Source: Blahut, "Fast Algorithms for Signal Processing", 2010, section 5.2; Lavin and Gray,
arXiv 1509.09308; choice of points: Barabasz et al., arXiv 1803.10986, and Alam et al.,
arXiv 2201.10369.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from math import inf, prod, sqrt

from ...lang.routine import Routine, Value

Column = tuple[Fraction, ...]
Matrix = tuple[Column, ...]

# by n; the least product of rounded magnitudes of all sets of sixteenths, see `points`
_PAIRS: dict[int, tuple[Fraction, ...]] = {
    3: (Fraction(1),),
    4: (Fraction(1),),
    5: (Fraction(3, 8), Fraction(5, 4)),
    6: (Fraction(5, 8), Fraction(3, 2)),
    7: (Fraction(5, 16), Fraction(7, 8), Fraction(7, 4)),
    8: (Fraction(1, 2), Fraction(1), Fraction(2)),
}

# (m, r) -> rounding error of a 1-D float32 filter of 8 channels and more, in units of a direct
# sum's: root mean square on large images, or the largest on small ones if that is more
_NOISE = {
    (2, 2): 1.1, (3, 2): 1.2, (4, 2): 1.7,
    (2, 3): 1.0, (3, 3): 1.3, (4, 3): 1.7,
    (2, 4): 1.4, (3, 4): 1.5,
    (2, 5): 1.7, (4, 5): 2.9,
    (2, 6): 2.7,
    (2, 7): 4.1,
}  # fmt: skip

# the same for longer filters that are sums of such with as many taps as a tile has outputs
_NOISE_IN_PARTS = {3: 1.3, 4: 2.3}


@dataclass(frozen=True, eq=False)
class Transform:
    """F(m, r): the matrices for tiles of m outputs of an r-tap filter, along one axis.

    There is one object for each, which `transform` makes.
    """

    outputs: int
    """m"""
    taps: int
    """r"""
    at: Matrix
    """Aᵀ [m, n]: products to outputs."""
    g: Matrix
    """G [n, r]: filter to factors."""
    bt: Matrix
    """Bᵀ [n, n]: tile to factors."""
    noise: float = inf
    """Rounding error in float32 as a multiple of a direct sum's; axes multiply."""

    @property
    def size(self) -> int:
        """n: inputs of a tile, and products."""
        return len(self.bt)

    @cached_property
    def a(self) -> Matrix:
        """A [n, m]: gradients of outputs to factors, for the gradient of the filter."""
        return tuple(zip(*self.at, strict=True))

    @cached_property
    def gt(self) -> Matrix:
        """Gᵀ [r, n]: products to the gradient of the filter."""
        return tuple(zip(*self.g, strict=True))

    @cached_property
    def operations(self) -> dict[str, int]:
        """How many additions, multiplications and multiply-adds a matrix takes, by name.

        >>> transform(4, 3).operations
        {'bt': 12, 'at': 12, 'a': 8, 'gt': 11}
        """
        return {name: _counted(getattr(self, name))[1] for name in ("bt", "at", "a", "gt")}

    @cached_property
    def factors(self) -> tuple[Fraction, ...]:
        """The factors that `mapped` asks for, for Bᵀ and Aᵀ.

        >>> [str(c) for c in transform(4, 3).factors[:5]]
        ['225/256', '-169/64', '-9/4', '5/8', '-5/8']
        """
        return self.factors_of("bt", "at")

    def factors_of(self, *names: str) -> tuple[Fraction, ...]:
        """The factors that `mapped` asks for, for these matrices.

        >>> [str(c) for c in transform(2, 3).factors_of("gt")]
        ['-1', '1/2']
        """
        found = [c for name in names for c in _counted(getattr(self, name))[0]]
        return tuple(dict.fromkeys(found))


def tile_sizes(taps: int, stride: int = 1) -> tuple[int, ...]:
    """Every m for which F(m, taps) is known; 1 saves nothing, but costs no accuracy either.

    >>> tile_sizes(3)
    (1, 2, 3, 4)
    >>> tile_sizes(3, stride=2)
    (1, 2, 3, 4)
    """
    if taps < stride:
        return (1,)
    several = {r for r in _phases(taps, stride) if r > 1}
    tried = sorted({m for m, r in _NOISE if r in several})
    return (1, *(m for m in tried if all((m, r) in _NOISE for r in several)))


def sizes_in_parts(taps: int) -> tuple[int, ...]:
    """Every m so that a filter too long for one may be ⌈taps / m⌉ of F(m, m).

    >>> sizes_in_parts(11)
    (3, 4)
    """
    return tuple(m for m in _NOISE_IN_PARTS if taps > m)


def noise_in_parts(outputs: int) -> float:
    """The rounding error of a filter in parts of as many taps."""
    return _NOISE_IN_PARTS[outputs]


def points(count: int) -> tuple[Fraction, ...]:
    """That many different finite points: 0 if the number is odd, and pairs ±a.

    >>> [str(point) for point in points(5)]
    ['0', '5/8', '-5/8', '3/2', '-3/2']
    """
    pairs = [sign * a for a in _PAIRS[count + 1] for sign in (1, -1)]
    return (*[Fraction(0)] * (count % 2), *pairs)


@lru_cache(maxsize=64)
def transform(outputs: int, taps: int, stride: int = 1) -> Transform:
    """F(outputs, taps); for one output, every tap is a product.

    >>> f = transform(2, 3)
    >>> [" ".join(map(str, row)) for row in f.at]
    ['1 1 1 0', '0 1 -1 1']
    """
    if outputs == 1:
        return Transform(1, taps, ((_ONE,) * taps,), _unit(taps), _unit(taps), 1.0)
    if taps == 1:
        column = tuple((_ONE,) for _ in range(outputs))
        return Transform(outputs, 1, _unit(outputs), column, _unit(outputs), 1.0)
    if stride > 1:
        return _strided(outputs, taps, stride)
    return with_points(outputs, taps, points(outputs + taps - 2))


def _unit(count: int) -> Matrix:
    return tuple(tuple(Fraction(n == k) for k in range(count)) for n in range(count))


def _phases(taps: int, stride: int) -> list[int]:
    """How many taps each phase has."""
    return [-(-(taps - phase) // stride) for phase in range(min(stride, taps))]


def _strided(outputs: int, taps: int, stride: int) -> Transform:
    """The transforms of all phases, one after the other, on every s-th number and tap."""
    parts = [transform(outputs, count) for count in _phases(taps, stride)]
    size = stride * (outputs - 1) + taps
    bt, g = (
        tuple(
            _spread(row, phase, stride, width)
            for phase, part in enumerate(parts)
            for row in getattr(part, name)
        )
        for name, width in (("bt", size), ("g", taps))
    )  # fmt: skip
    at = tuple(
        tuple(c for row in rows for c in row) for rows in zip(*(p.at for p in parts), strict=True)
    )
    noise = sqrt(sum(part.taps * part.noise**2 for part in parts) / taps)
    return Transform(outputs, taps, at, g, bt, noise)


def _spread(row: Sequence[Fraction], first: int, step: int, count: int) -> Column:
    """A row whose entries belong to every so many numbers of `count`."""
    found = [_ZERO] * count
    found[first::step] = row
    return tuple(found)


def with_points(outputs: int, taps: int, a: tuple[Fraction, ...]) -> Transform:
    """F(outputs, taps) with these finite points, one fewer than products, and infinity.

    >>> f = with_points(2, 2, (Fraction(0), Fraction(-1)))
    >>> [" ".join(map(str, row)) for row in f.at]
    ['1 1 0', '0 -1 1']
    """
    others = [a[:j] + a[j + 1 :] for j in range(len(a))]
    scales = [prod(a_j - a_k for a_k in rest) for a_j, rest in zip(a, others, strict=True)]
    columns = [*(_powers(a_j, outputs) for a_j in a), _leading(outputs)]
    g = [tuple(p / n_j for p in _powers(a_j, taps)) for a_j, n_j in zip(a, scales, strict=True)]
    bt = [*((*_with_roots(rest), Fraction(0)) for rest in others), _with_roots(a)]
    return Transform(
        outputs, taps, tuple(zip(*columns, strict=True)), (*g, _leading(taps)), tuple(bt),
        _NOISE.get((outputs, taps), inf),
    )  # fmt: skip


def mapped(
    r: Routine, matrix: Matrix, values: Sequence[Value], factor: Callable[[Fraction], Value]
) -> list[Value]:
    """Record matrix · values, sharing sums where columns, or rows, differ in signs only.

    Values are f32 or f64 with any number of lanes, and so are factors, which `factor` makes.
    """
    terms = _paired(list(zip(*matrix, strict=True)), values)
    rows = list(zip(*(column for column, _ in terms), strict=True))
    made: dict[int, Value] = {}
    for n, row in enumerate(rows):
        if n in made:
            continue
        twin = next((k for k in range(n + 1, len(rows)) if _are_twins(row, rows[k])), None)
        kept = [(c, value) for c, (_, value) in zip(row, terms, strict=True)]
        if twin is None:
            made[n] = _sum(r, kept, factor)
            continue
        same = [c == other for c, other in zip(row, rows[twin], strict=True)]
        even = [term for term, alike in zip(kept, same, strict=True) if alike]
        odd = [term for term, alike in zip(kept, same, strict=True) if not alike]
        # with the factor of one of them taken out of the odd part, each twin is one multiply-add
        lead = odd[-1][0]
        part = _sum(r, [(c / lead, value) for c, value in odd], factor)
        middle = _sum(r, even, factor)
        made[n] = _sum(r, [(_ONE, middle), (lead, part)], factor)
        made[twin] = _sum(r, [(_ONE, middle), (-lead, part)], factor)
    return [made[n] for n in range(len(rows))]


def _counted(matrix: Matrix) -> tuple[dict[Fraction, None], int]:
    """The factors and the number of operations of a map."""
    r, found = Routine("counted"), dict[Fraction, None]()
    x = r.reads("x", "float32", len(matrix[0]))

    def noted(c: Fraction) -> Value:
        found[c] = None
        return r.const(float(c), "f32")

    with r.work():
        mapped(r, matrix, [r.load(x, n) for n in range(x.count)], noted)
    return found, sum(op.name in ("add", "sub", "mul", "fma") for op in r.body[0].body)


_ZERO, _ONE = Fraction(0), Fraction(1)


def _paired(columns: list[Column], values: Sequence[Value]) -> list[tuple[Column, Value]]:
    """Columns and their values, of which twins are replaced by their sum and difference."""
    terms: list[tuple[Column, Value]] = []
    left = list(zip(columns, values, strict=True))
    while left:
        column, value = left.pop(0)
        twin = next((n for n, (other, _) in enumerate(left) if _are_twins(column, other)), None)
        if twin is None:
            terms.append((column, value))
            continue
        other, partner = left.pop(twin)
        both = list(zip(column, other, strict=True))
        terms.append((tuple(a if a == b else _ZERO for a, b in both), value + partner))
        terms.append((tuple(a if a != b else _ZERO for a, b in both), value - partner))
    return terms


def _are_twins(a: Column, b: Column) -> bool:
    """Whether two differ in the signs of some entries, and in nothing else."""
    return a != b and all(abs(x) == abs(y) for x, y in zip(a, b, strict=True))


def _sum(
    r: Routine, terms: Sequence[tuple[Fraction, Value]], factor: Callable[[Fraction], Value]
) -> Value:
    """Σ c·v, beginning with one whose c is 1 if there is one."""
    (first, total), *rest = sorted((t for t in terms if t[0]), key=lambda term: term[0] != 1)
    if first != 1:
        total = total * factor(first)
    for c, value in rest:
        if abs(c) == 1:
            total = total + value if c == 1 else total - value
        else:
            total = r.fma(value, factor(c), total)
    return total


def _powers(a: Fraction, count: int) -> Column:
    """1, a, a², …: what evaluates a polynomial at a."""
    return tuple(a**n for n in range(count))


def _leading(count: int) -> Column:
    """0, …, 0, 1: what takes the leading coefficient, the value at infinity."""
    return (*[_ZERO] * (count - 1), _ONE)


def _with_roots(roots: Sequence[Fraction]) -> Column:
    """Coefficients of Π (x − root), the constant one first."""
    found = [_ONE]
    for root in roots:
        shifted, scaled = [_ZERO, *found], [*(root * c for c in found), _ZERO]
        found = [high - low for high, low in zip(shifted, scaled, strict=True)]
    return tuple(found)
