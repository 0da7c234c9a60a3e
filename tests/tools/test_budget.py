"""The error budget: what it allows, and that it allows nothing else."""

import pytest
import torch

from faltung import by_hand
from faltung.tools.budget import (
    Budget,
    WrongResultError,
    assert_equal,
    assert_within,
    error_in_budgets,
    in_double,
    in_own_dtype,
    where_they_differ,
)

UNIT = 2.0**-24  # float32's unit roundoff
DTYPES = [
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128,
]  # fmt: skip


def simple(y64, direct, magnitude=0.0, factor=1.0):
    wide = torch.tensor(y64, dtype=torch.float64)
    return Budget(wide, torch.full_like(wide, magnitude), torch.tensor(direct), factor)


def numbers(*shape, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    wide = torch.complex128 if dtype.is_complex else torch.float64
    return torch.randn(shape, generator=generator, dtype=wide).to(dtype)


def test_the_limit_is_the_direct_error_and_three_roundings_of_the_magnitude():
    assert simple([1.0, 2.0], [1.0, 2.5]).limit == 0.5
    assert simple([1.0, 2.0], [1.0, 2.0], magnitude=8.0).limit == 3 * 8 * UNIT
    assert simple([1.0], [1.25], magnitude=8.0, factor=4.0).limit == 4 * (0.25 + 3 * 8 * UNIT)


def test_the_error_is_counted_in_budgets():
    budget = simple([1.0, 2.0], [1.0, 2.5])
    assert error_in_budgets(torch.tensor([1.0, 2.0]), budget) == 0
    assert error_in_budgets(torch.tensor([1.25, 2.0]), budget) == 0.5
    assert error_in_budgets(torch.tensor([1.0, 1.0]), budget) == 2


def test_no_budget_at_all_forgives_nothing():
    budget = simple([1.0], [1.0])
    assert budget.limit == 0
    assert error_in_budgets(torch.tensor([1.0]), budget) == 0
    assert error_in_budgets(torch.tensor([1.0000001]), budget) == float("inf")


@pytest.mark.parametrize("strange", [float("nan"), float("inf"), -float("inf")])
def test_a_strange_number_is_infinitely_wrong(strange):
    budget = simple([1.0, 2.0], [1.0, 2.5], magnitude=1e30)
    assert error_in_budgets(torch.tensor([strange, 2.0]), budget) == float("inf")
    with pytest.raises(WrongResultError, match=r"error of inf budgets"):
        assert_within(torch.tensor([1.0, strange]), budget)


def test_strange_numbers_that_belong_there_must_be_the_same():
    nan, inf = float("nan"), float("inf")
    budget = simple([nan, inf, 1.0], [nan, inf, 1.0])
    assert error_in_budgets(torch.tensor([nan, inf, 1.0]), budget) == 0
    for wrong in ([1.0, inf, 1.0], [nan, -inf, 1.0], [inf, inf, 1.0], [nan, nan, 1.0]):
        assert error_in_budgets(torch.tensor(wrong), budget) == inf


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (torch.zeros(3), r"has shape \(3,\), not \(2,\)"),
        (torch.zeros(2, dtype=torch.float64), r"has dtype torch.float64, not torch.float32"),
        (torch.zeros(2, device="meta"), r"has device meta, not cpu"),
        ([1.0, 2.0], r"gives list, not a tensor"),
    ],
)
def test_a_result_of_the_wrong_kind(y, message):
    with pytest.raises(WrongResultError, match=message):
        error_in_budgets(y, simple([1.0, 2.0], [1.0, 2.5]))
    with pytest.raises(WrongResultError, match=message):
        assert_equal(y, torch.tensor([1.0, 2.0]))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_convolution_in_another_order_is_within_budget_and_a_wrong_one_is_not(dtype):
    x, w = numbers(2, 3, 6, 5, dtype=dtype), numbers(4, 3, 3, 3, dtype=dtype, seed=1)
    budget = Budget.of(by_hand.conv, (x, w))
    y = in_own_dtype(by_hand.conv, (x.flip(1), w.flip(1)))
    assert_within(y, budget)
    for wrong in (torch.zeros_like(y), torch.full_like(y, torch.nan), y.roll(1, -1), y * 1.25):
        with pytest.raises(WrongResultError, match="differs in"):
            assert_within(wrong, budget)


def test_a_lost_tap_of_padding_is_not_rounding():
    x, w = numbers(1, 1, 5, 5), numbers(1, 1, 3, 3, seed=1)
    budget = Budget.of(lambda x, w: by_hand.conv(x, w, padding=1), (x, w))
    y = by_hand.conv(x, w, padding=1)
    y[..., 0] = by_hand.conv(x.roll(1, -1), w, padding=1)[..., 0]
    assert error_in_budgets(y, budget) > 1000


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_sums_are_kept_in_float32_and_rounded_once(dtype):
    x = torch.ones(1, 1, 4096, dtype=dtype)
    w = torch.ones(1, 1, 4096, dtype=dtype)
    assert in_own_dtype(by_hand.conv, (x, w)).item() == 4096  # alone it sticks at 256 or 2048
    assert in_double(by_hand.conv, (x, w)).dtype == torch.float64


def test_float64_has_a_budget_although_it_is_its_own_judge():
    x, w = numbers(1, 2, 9, dtype=torch.float64), numbers(1, 2, 5, dtype=torch.float64, seed=1)
    budget = Budget.of(by_hand.conv, (x, w))
    single = Budget.of(by_hand.conv, (x.float(), w.float()))
    # float32's direct error counts twice, a rounding of the magnitudes once; 2^29 smaller
    assert single.limit / 2**29 < budget.limit < 2.001 * single.limit / 2**29


def test_a_direct_sum_that_overflows_is_no_yardstick():
    x = torch.full((1, 1, 3), 6e4, dtype=torch.float16)
    budget = Budget.of(by_hand.conv, (x, x))
    with pytest.raises(ValueError, match=r"the direct sum overflows torch.float16"):
        assert_within(x[..., :1], budget)


def test_operands_may_be_missing_and_results_empty():
    x, w = numbers(0, 2, 5, 5), numbers(3, 2, 3, 3)
    budget = Budget.of(by_hand.conv, (x, w, None))
    assert budget.limit == 0
    assert error_in_budgets(x.new_empty(0, 3, 3, 3), budget) == 0


def test_equality_is_of_every_bit_and_says_where():
    expected = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert_equal(expected.clone(), expected)
    with pytest.raises(
        WrongResultError, match=r"differs in 1 of 4 places, most at \[1, 0\]: 3.00000024, not 3$"
    ):
        assert_equal(torch.tensor([[1.0, 2.0], [3.0000002, 4.0]]), expected)
    with pytest.raises(WrongResultError, match=r"most at \[0\]: nan, not 1"):
        assert_equal(torch.tensor([torch.nan]), torch.tensor([1.0]))


def test_where_complex_and_whole_tensors_differ():
    assert where_they_differ(torch.tensor([1 + 2j]), torch.tensor([1 - 2j])).endswith(
        "1+2j, not 1-2j"
    )
    assert where_they_differ(torch.tensor([7, 8]), torch.tensor([7, 6])).endswith("[1]: 8, not 6")
    assert where_they_differ(torch.tensor([7]), torch.tensor([7])) == "differs in no place"


def test_a_result_may_want_a_gradient():
    y = torch.tensor([1.25, 2.0], requires_grad=True)
    assert error_in_budgets(y, simple([1.0, 2.0], [1.0, 2.5])) == 0.5
    assert_equal(y, torch.tensor([1.25, 2.0]))
