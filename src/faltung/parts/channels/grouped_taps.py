"""One axis by minimal filtering: m outputs of m taps at a time, F(m, m), for windows of any length.

    y[m·q + k] = Σ_i Aᵀ[k, i] · Σ_g U_i[g] · V_i[q + g]             k = 0 … m−1,  i = 0 … 2m−2
    V_i[u] = Σ_j Bᵀ[i, j] · x[m·u + j − low − lead]     U_i[g] = Σ_t G[i, t] · w[m·g + t − lead]

The window is cut into groups of m taps and the outputs into tiles of m, so that tile q meets group
g in the m + m − 1 inputs of u = q + g: each is transformed once for all groups that see it. What is
left between the transforms are 2m − 1 plain convolutions over tiles, with one tap a group, whose
sums stay in registers: (2m − 1) / m² multiply-adds for one. A window that is no multiple of m gets
`lead` zero taps in front of it and others behind. Lines that lie d apart belong to one of d phases,
each an axis of dilation 1.

The points are 0, ±1, ±2, 1/2 and ∞. One odd number is a common denominator of G; it is left in U
and taken out of the outputs, so that whole numbers stay exact.

Source: Winograd, "Arithmetic Complexity of Computations", 1980; transforms as in `winograd`.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from ...ops.geometry import Axis
from ..winograd.transforms import Matrix, Transform, with_points

TILE = 4
"""m: outputs of a tile, and taps of a group."""
_POINTS = (*map(Fraction, (0, 1, -1, 2, -2)), Fraction(1, 2))

PRODUCTS = 2 * TILE - 1
"""Convolutions between the transforms, and inputs that a group of a tile sees."""


@lru_cache(maxsize=1)
def matrices() -> Transform:
    """F(m, m)."""
    return with_points(TILE, TILE, _POINTS)


@lru_cache(maxsize=1)
def denominator() -> int:
    """The odd number by which outputs must be divided.

    >>> denominator()
    45
    """
    common = math.lcm(*(c.denominator for row in matrices().g for c in row))
    return common // (common & -common)


def scaled_g() -> Matrix:
    """G times the denominator: short binary fractions."""
    return tuple(tuple(c * denominator() for c in row) for row in matrices().g)


def transformed_taps(w: Tensor, lead: int, groups: int) -> Tensor:
    """w [C, K, …] becomes U [C, 2m−1, groups, …] in float64, with `lead` zero taps in front."""
    channels, taps, *inner = w.shape
    filled = torch.zeros(channels, groups * TILE, *inner, dtype=torch.float64)
    filled[:, lead : lead + taps] = w
    g = torch.tensor([[float(c) for c in row] for row in scaled_g()], dtype=torch.float64)
    grouped = filled.reshape(channels, groups, TILE, -1)
    return torch.einsum("it,cgtn->cign", g, grouped).reshape(channels, PRODUCTS, groups, *inner)


@dataclass(frozen=True)
class GroupedTaps:
    """An axis of stride 1 cut so; a line is what lies at one place of the axis."""

    axis: Axis

    @property
    def groups(self) -> int:
        """Of taps."""
        return -(-self.axis.kernel_size // TILE)

    @property
    def phases(self) -> int:
        """Sets of lines, each `dilation` apart."""
        return max(1, min(self.dilation, self.axis.output_size))

    @property
    def dilation(self) -> int:
        """From one line of a phase to the next."""
        return self.axis.dilation if self.axis.kernel_size > 1 else 1

    @property
    def tiles(self) -> int:
        """Of a phase; the last ones of some phases may hold no output."""
        lines = -(-self.axis.output_size // self.phases)
        return -(-lines // TILE)

    @cached_property
    def lead(self) -> int:
        """Zero taps in front of the window: as many as leave most to padding."""
        spare = range(self.groups * TILE - self.axis.kernel_size + 1)
        return min(spare, key=lambda lead: self._meetings(*self._seen(lead)))

    @cached_property
    def first(self) -> int:
        """The first u whose inputs are not all padding, in any phase."""
        return self._seen(self.lead)[0]

    @cached_property
    def behind(self) -> int:
        """The end of those u."""
        return self._seen(self.lead)[1]

    @cached_property
    def meetings(self) -> int:
        """Pairs of a tile and a group that are not all padding, of all phases."""
        return self._meetings(self.first, self.behind) * self.phases

    def place(self, lead: int = 0) -> int:
        """Where u = 0, j = 0 of phase 0 looks."""
        return -self.axis.padding[0] - lead * self.dilation

    def _seen(self, lead: int) -> tuple[int, int]:
        begin, every = self.place(lead), range(self.tiles + self.groups - 1)
        reach, step = (PRODUCTS - 1) * self.dilation + self.phases - 1, TILE * self.dilation
        some = [u for u in every if begin + u * step + reach >= 0]
        some = [u for u in some if begin + u * step < self.axis.input_size]
        return (some[0], some[-1] + 1) if some else (0, 0)

    def _meetings(self, first: int, behind: int) -> int:
        return sum(max(0, min(behind, q + self.groups) - max(first, q)) for q in range(self.tiles))
