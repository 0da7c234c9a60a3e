"""Four neighbouring output rows of three taps from six products, instead of twelve.

    y0 = d0·g0 + d1·g1 + d2·g2        p, q = ((d4 − 4·d2) ± (d3 − 4·d1)) · (g0 ± g1 + g2)/−2
    y1 = d1·g0 + d2·g1 + d3·g2        u, v = ((d4 − d2) ± 2·(d3 − d1)) · (g0 ± 2·g1 + 4·g2)/8
    y2 = d2·g0 + d3·g1 + d4·g2        f = (d4 − 5·d2 + 4·d0) · g0/4
    y3 = d3·g0 + d4·g1 + d5·g2        l = (d1 − 5/4·d3 + d5/4) · 4·g2

    y0 = ((p + q) + (u + v))/3 + f    y2 = ((p + q) + (u + v))/3 + (u + v)
    y1 = ((p − q) + 2·(u − v))/3      y3 = ((p − q) + 2·(u − v))/3 + 2·(u − v) + l

The numbers d are whole rows of the image, and g rows of the kernel. Winograd's filtering with the
points 0, ±1, ±2 and infinity divides weights by 6 and 24, which no binary fraction does exactly.
Here the 3 in both waits until products are summed up: what is divided then is three times a number
of few binary digits, and such a multiple times the float nearest to 1/3 rounds to its third exactly
(the error of the factor is below half a unit in the last place of any third). So whole numbers stay
whole, as with pairs of rows (`pairs.py`). Real ones round 1.6 to 2.8 times as much as PyTorch's.

Source: S. Winograd, "Arithmetic Complexity of Computations", SIAM 1980, section 4; A. Lavin and
S. Gray, arXiv 1509.09308, section 4, for F(4, 3) with these points; here along one axis only.
"""

from dataclasses import dataclass

from ...lang.routine import Routine, Value

Rows = tuple[tuple[int, float], ...]
"""Rows of the image, counted from the first that is read, and their factors."""

OUTPUTS, TAPS, PRODUCTS, READ = 4, 3, 6, 6


@dataclass(frozen=True)
class Twins:
    """Two products, of even + point · odd and of even − point · odd."""

    even: Rows
    odd: Rows
    point: int


TWINS = (
    Twins(((4, 1), (2, -4)), ((3, 1), (1, -4)), 1),
    Twins(((4, 1), (2, -1)), ((3, 1), (1, -1)), 2),
)
"""p and q, u and v."""

ENDS: tuple[Rows, Rows] = (
    ((4, 1), (2, -5), (0, 4)),
    ((1, 1), (3, -1.25), (5, 0.25)),
)
"""f and l: the only ones that read the first row and the last."""

FACTORS: list[list[float]] = [
    [-0.5, -0.5, -0.5], [-0.5, 0.5, -0.5], [0.125, 0.25, 0.5], [0.125, -0.25, 0.5],
    [0.25, 0, 0], [0, 0, 4],
]  # fmt: skip
"""What the taps of each product's weight are multiplied by: p, q, u, v, f, l."""


def four_outputs(
    r: Routine, p: Value, q: Value, u: Value, v: Value
) -> tuple[Value, Value, Value, Value]:
    """y0 without f, y1, y2 and y3 without l."""
    kind, lanes = p.type.kind, p.type.lanes
    third, two = r.const(1 / 3, kind, lanes), r.const(2, kind, lanes)
    apart, even = u - v, u + v
    y0 = ((p + q) + even) * third
    y1 = r.fma(apart, two, p - q) * third
    return y0, y1, y0 + even, r.fma(apart, two, y1)
