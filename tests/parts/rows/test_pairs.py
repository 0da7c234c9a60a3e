"""Two rows from fewer products: the identity itself, for every size of it."""

import numpy as np
import pytest

from faltung.parts.rows.pairs import Goal, pairing

SIZES = [(k, s, d) for k in range(1, 14) for s in range(1, 6) for d in (1, 2, 3)]


@pytest.mark.parametrize(("kernel_size", "stride", "dilation"), SIZES)
def test_the_products_add_up_to_both_rows(kernel_size: int, stride: int, dilation: int) -> None:
    rng = np.random.default_rng(0)
    found = pairing(kernel_size, stride, dilation)
    w = rng.integers(-9, 10, kernel_size).astype(np.float64)
    x = rng.integers(-9, 10, stride + (kernel_size - 1) * dilation + 1).astype(np.float64)
    sums = dict.fromkeys(Goal, 0.0)
    for product in found.products:
        rows = sum(x[row] * factor for row, factor in product.rows)
        sums[product.to] += rows * (product.factors(kernel_size) @ w)
    first = sum(w[t] * x[t * dilation] for t in range(kernel_size))
    second = sum(w[t] * x[stride + t * dilation] for t in range(kernel_size))
    assert sums[Goal.BOTH] + sums[Goal.APART] + sums[Goal.FIRST] == first
    assert sums[Goal.BOTH] - sums[Goal.APART] + sums[Goal.SECOND] == second


@pytest.mark.parametrize(("kernel_size", "stride", "dilation"), SIZES)
def test_no_more_products_than_one_by_one(kernel_size: int, stride: int, dilation: int) -> None:
    found = pairing(kernel_size, stride, dilation)
    assert len(found.products) <= 2 * kernel_size
    assert found.saved == 2 * kernel_size / len(found.products)
    assert sum(map(found.count, Goal)) == len(found.products)
    assert found.count(Goal.FIRST) == found.count(Goal.SECOND)
    assert found.count(Goal.APART) <= found.count(Goal.BOTH)


def test_products_come_in_turns() -> None:
    found = pairing(11, 4, 1)
    goals = [product.to for product in found.products]
    apart = found.count(Goal.APART)
    assert goals[: 2 * apart] == [Goal.BOTH, Goal.APART] * apart
    both = found.count(Goal.BOTH)
    assert goals[2 * apart : both + apart] == [Goal.BOTH] * (both - apart)
    assert goals[both + apart :] == [Goal.FIRST, Goal.SECOND] * found.count(Goal.FIRST)
    assert sorted(map(str, found.products)) == sorted(str(p) for g in found.groups for p in g)


@pytest.mark.parametrize(
    ("numbers", "saved"),
    [((3, 1, 1), 1.5), ((7, 2, 1), 1.4), ((6, 2, 1), 1.5), ((4, 4, 1), 1), ((3, 1, 2), 1),
     ((5, 2, 2), 10 / 7), ((3, 2, 1), 1.2)],
)  # fmt: skip
def test_what_is_saved(numbers: tuple[int, int, int], saved: float) -> None:
    assert pairing(*numbers).saved == pytest.approx(saved)


def test_the_first_row_of_an_image_s_sum_is_not_taken_away() -> None:
    for numbers in SIZES:
        for product in pairing(*numbers).products:
            assert product.rows[0][1] == 1


def test_factors_of_every_kernel_row() -> None:
    (product,) = (p for p in pairing(3, 1, 1).products if p.to is Goal.APART)
    assert product.factors(3) == [0.5, -0.5, 0.5]
    (product,) = (p for p in pairing(4, 1, 1).products if p.taps == ((2, 1),))
    assert product.factors(4) == [0, 0, 1, 0]
