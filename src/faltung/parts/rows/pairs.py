"""Two neighbouring output rows from fewer products than twice as many as one needs.

Two outputs of a correlation read four inputs through three taps, or three through two:

    y0 = d0·g0 + d1·g1 + d2·g2                 y0 = d0·g0 + d1·g1
    y1 = d1·g0 + d2·g1 + d3·g2                 y1 = d1·g0 + d2·g1

    y0 = (d0 − d2)·g0 + p + q                  y0 = (d0 − d1)·g0 + p
    y1 = (d3 − d1)·g2 + p − q                  y1 = (d2 − d1)·g1 + p
    p  = (d1 + d2)·(g0 + g1 + g2)/2            p  = d1·(g0 + g1)
    q  = (d2 − d1)·(g0 − g1 + g2)/2

with four products instead of six, or three instead of four. The numbers d are whole rows of the
image here, and g rows of the kernel. With a stride of s rows the taps t, t + s, t + 2s … of the
kernel see rows s apart, as one with stride 1 would; they are taken by threes. Adding up rows of the
image costs little where they have few channels and the result many, and nothing is lost: whole
numbers stay whole, but for a half in a weight.

Source: S. Winograd, "Arithmetic Complexity of Computations", SIAM 1980, section 4 (the algorithms
F(2, 3) and F(2, 2)); here along one axis only.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, lru_cache


class Goal(Enum):
    """What a product is added to."""

    BOTH = "both rows"
    APART = "the first row, and taken away from the second"
    FIRST = "the first row"
    SECOND = "the second row"


@dataclass(frozen=True)
class Combined:
    """A sum of rows of the image times a sum of rows of the kernel, each with its factor.

    The image's rows are counted from the one that the first tap sees for the first output.
    """

    to: Goal
    rows: tuple[tuple[int, int], ...]
    taps: tuple[tuple[int, float], ...]

    def factors(self, kernel_size: int) -> list[float]:
        """The factor of every row of the kernel, most of them 0."""
        found = dict(self.taps)
        return [found.get(tap, 0.0) for tap in range(kernel_size)]


@dataclass(frozen=True)
class Pairing:
    """The products of a pair of output rows, in groups that read the same rows of the image."""

    groups: tuple[tuple[Combined, ...], ...]

    @cached_property
    def products(self) -> tuple[Combined, ...]:
        """All of them: of both rows and apart in turns, then of the first and the second row."""
        of = [[p for group in self.groups for p in group if p.to == to] for to in Goal]
        return (*_in_turns(of[0], of[1]), *_in_turns(of[2], of[3]))

    @property
    def last_row(self) -> int:
        """The last row of the image that any of them reads.

        >>> pairing(7, stride=2, dilation=1).last_row
        8
        """
        return max(row for product in self.products for row, _ in product.rows)

    def count(self, to: Goal) -> int:
        """How many products are added to that."""
        return sum(product.to is to for product in self.products)

    @property
    def saved(self) -> float:
        """How many times as many products two rows take one by one."""
        taps = {tap for product in self.products for tap, _ in product.taps}
        return 2 * len(taps) / len(self.products)


@lru_cache(maxsize=256)
def pairing(kernel_size: int, stride: int, dilation: int) -> Pairing:
    """The products of a pair of neighbouring output rows.

    >>> one = pairing(7, stride=2, dilation=1)
    >>> [one.count(goal) for goal in Goal], one.saved
    ([2, 2, 3, 3], 1.4)
    """
    groups = []
    # so many taps on, a tap sees what the one before sees for the next output
    period = stride // dilation if stride % dilation == 0 else kernel_size
    for chain in (range(tap, kernel_size, period) for tap in range(min(period, kernel_size))):
        for start in range(0, len(chain), 3):
            taps = chain[start : start + 3]
            rows = [taps[0] * dilation + n * stride for n in range(len(taps) + 1)]
            groups.append(_PIECES[len(taps)](rows, taps))
    return Pairing(tuple(groups))


def _three(d: list[int], g: range) -> tuple[Combined, ...]:
    return (
        Combined(Goal.BOTH, ((d[1], 1), (d[2], 1)), ((g[0], 0.5), (g[1], 0.5), (g[2], 0.5))),
        Combined(Goal.APART, ((d[2], 1), (d[1], -1)), ((g[0], 0.5), (g[1], -0.5), (g[2], 0.5))),
        Combined(Goal.FIRST, ((d[0], 1), (d[2], -1)), ((g[0], 1),)),
        Combined(Goal.SECOND, ((d[3], 1), (d[1], -1)), ((g[2], 1),)),
    )


def _two(d: list[int], g: range) -> tuple[Combined, ...]:
    return (
        Combined(Goal.BOTH, ((d[1], 1),), ((g[0], 1), (g[1], 1))),
        Combined(Goal.FIRST, ((d[0], 1), (d[1], -1)), ((g[0], 1),)),
        Combined(Goal.SECOND, ((d[2], 1), (d[1], -1)), ((g[1], 1),)),
    )


def _one(d: list[int], g: range) -> tuple[Combined, ...]:
    return (
        Combined(Goal.FIRST, ((d[0], 1),), ((g[0], 1),)),
        Combined(Goal.SECOND, ((d[1], 1),), ((g[0], 1),)),
    )


_PIECES = {1: _one, 2: _two, 3: _three}


def _in_turns(a: list[Combined], b: list[Combined]) -> Iterator[Combined]:
    for n in range(max(len(a), len(b))):
        yield from (*a[n : n + 1], *b[n : n + 1])
