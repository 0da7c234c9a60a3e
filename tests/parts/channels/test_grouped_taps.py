"""An axis by minimal filtering, in fractions and in float64."""

import itertools
from fractions import Fraction

import pytest
import torch

from faltung.ops.geometry import Axis
from faltung.parts.channels.grouped_taps import (
    PRODUCTS,
    TILE,
    GroupedTaps,
    denominator,
    matrices,
    scaled_g,
    transformed_taps,
)

AXES = [
    Axis(n, k, padding=padding, dilation=d)
    for n, k, padding, d in itertools.product(
        (1, 5, 12, 30), (1, 2, 3, 4, 5, 7, 13), ((0, 0), (3, 3), (6, 1), (20, 0)), (1, 2, 5)
    )
    if n + sum(padding) >= d * (k - 1) + 1
]


def by_definition(axis: Axis, x: list[int], w: list[int]) -> list[int]:
    return [
        sum(w[t] * x[i] for t, i in enumerate(sources) if i is not None) for sources in axis.sources
    ]


def by_tiles(axis: Axis, x: list[int], w: list[int]) -> list[Fraction]:
    """The formula of the file, in fractions, leaving out what it leaves out."""
    cut, t = GroupedTaps(axis), matrices()
    filled = [0] * cut.lead + w + [0] * TILE * cut.groups
    factors = [
        [sum(c * filled[TILE * g + k] for k, c in enumerate(row)) for row in scaled_g()]
        for g in range(cut.groups)
    ]
    y = [Fraction(99)] * axis.output_size
    for phase, q in itertools.product(range(cut.phases), range(cut.tiles)):
        sums = [Fraction()] * PRODUCTS
        for u in range(max(q, cut.first), min(q + cut.groups, cut.behind)):
            places = [
                cut.place(cut.lead) + phase + (TILE * u + j) * cut.dilation for j in range(PRODUCTS)
            ]
            seen = [x[place] if 0 <= place < axis.input_size else 0 for place in places]
            for i, row in enumerate(t.bt):
                value = sum(c * number for c, number in zip(row, seen, strict=True))
                sums[i] += value * factors[u - q][i]
        for k, row in enumerate(t.at):
            if (line := (TILE * q + k) * cut.dilation + phase) < axis.output_size:
                total = sum(c * s for c, s in zip(row, sums, strict=True))
                y[line] = Fraction(total) / denominator()
    return y


@pytest.mark.parametrize("axis", AXES, ids=str)
def test_it_is_the_definition(axis: Axis) -> None:
    x = [(7 * n * n + n) % 11 - 5 for n in range(axis.input_size)]
    w = [(5 * n * n + 3 * n) % 13 - 6 for n in range(axis.kernel_size)]
    assert by_tiles(axis, x, w) == by_definition(axis, x, w)


def test_scaled_factors_are_short_binary_fractions() -> None:
    assert denominator() == 45
    for row in scaled_g():
        assert all((c * 8).denominator == 1 and abs(c) <= 45 for c in row)


def test_zero_taps_lie_where_they_save_most() -> None:
    for axis in AXES:
        cut = GroupedTaps(axis)
        spare = range(cut.groups * TILE - axis.kernel_size + 1)
        assert cut.lead in spare
        assert cut.meetings == min(
            cut._meetings(*cut._seen(lead)) for lead in spare
        ) * cut.phases  # fmt: skip


def test_transformed_taps() -> None:
    w = torch.randint(-4, 5, (3, 6, 2)).double()
    made = transformed_taps(w, 1, 2)
    assert made.shape == (3, PRODUCTS, 2, 2) and made.dtype == torch.float64
    filled = torch.cat([torch.zeros(3, 1, 2), w, torch.zeros(3, 1, 2)], 1)
    for i, row in enumerate(scaled_g()):
        for group in range(2):
            taps = filled[:, TILE * group : TILE * (group + 1)]
            expected = sum(float(c) * taps[:, k] for k, c in enumerate(row))
            assert torch.equal(made[:, i, group], expected)
