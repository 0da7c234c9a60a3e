"""Pairs and fours of rows at the ends of an image, by the code of all others."""

import numpy as np
import pytest

from faltung.ops.geometry import Axis
from faltung.parts.groups.borders import steady_first, steady_rows
from faltung.parts.rows.pairs import pairing

AXES = [
    Axis(56, 3, 1, (1, 1)), Axis(7, 3, 1, (0, 2)), Axis(2, 3, 1, (1, 1)), Axis(9, 5, 1, (2, 2)),
    Axis(8, 2, 1, (1, 0)), Axis(30, 7, 2, (3, 3)), Axis(1, 3, 1, (1, 1)),
]  # fmt: skip


@pytest.mark.parametrize("down", [2, 4])
@pytest.mark.parametrize("axis", AXES, ids=str)
def test_steady_rows_are_those_that_every_line_finds(axis: Axis, down: int) -> None:
    lines = -(-axis.output_size // down)
    steady = steady_rows(axis, lines, down)
    for row in range(-2, axis.kernel_size + axis.stride + 3):
        seen = [down * axis.stride * line - axis.padding[0] + row for line in range(lines)]
        assert (row in steady) == all(0 <= at < axis.input_size for at in seen)


@pytest.mark.parametrize("axis", AXES, ids=str)
def test_the_sums_stay_the_same(axis: Axis) -> None:
    before = pairing(axis.kernel_size, axis.stride, axis.dilation)
    steady = steady_rows(axis, -(-axis.output_size // 2), 2)
    after = steady_first(before, steady)
    assert len(before.products) == len(after.products)
    rows = np.random.default_rng(1).standard_normal(64)
    for one, other in zip(before.products, after.products, strict=True):
        assert one.to == other.to
        if any(row in steady for row, _ in one.rows):
            assert other.rows[0][0] in steady
        sums = [sum(rows[row] * factor for row, factor in each.rows) for each in (one, other)]
        taps = [np.array(each.factors(axis.kernel_size)) for each in (one, other)]
        assert np.array_equal(sums[0] * taps[0], sums[1] * taps[1])


def test_a_resnext_layer_needs_no_other_code_at_its_ends() -> None:
    axis = Axis(56, 3, 1, (1, 1))
    steady = steady_rows(axis, 28, 2)
    products = steady_first(pairing(3, 1, 1), steady).products
    assert all(product.rows[0][0] in steady for product in products)
    assert steady_rows(axis, 14, 4) == range(1, 5)
