"""Exact where the matrices are: fractions. Elsewhere a bound computed from absolute values.

The bound is Higham's: a sum of k rounded products has an error of at most k·eps/(1 − k·eps) times
the same sum of absolute values ("Accuracy and Stability of Numerical Algorithms", section 3.1).
"""

import math
from fractions import Fraction

import pytest
import torch
from torch.nn import functional as F

from faltung.by_hand import conv, conv1d_winograd, conv2d_winograd, cook_toom
from faltung.errors import ArgumentError, ArgumentTypeError

ROOT = math.sqrt(2)
ROOT_POINTS = (0, 1 / ROOT, -1 / ROOT, ROOT, -ROOT)
SIZES = [(1, 1), (1, 3), (2, 1), (2, 3), (3, 2), (4, 3), (6, 3), (2, 7), (5, 5)]


def times(matrix, vector):
    return [sum(entry * value for entry, value in zip(row, vector, strict=True)) for row in matrix]


def filtered(d, g, m):
    return [sum(g[k] * d[i + k] for k in range(len(g))) for i in range(m)]


@pytest.mark.parametrize(("m", "r"), SIZES)
@pytest.mark.parametrize(
    "points", [None, [Fraction(n, 3) for n in range(1, 12)], [0.1 * n for n in range(12)]]
)
def test_the_identity_holds_exactly(m, r, points):
    at, g, bt = cook_toom(m, r, points)
    n = m + r - 1
    assert [len(at), len(g), len(bt)] == [m, n, n]
    weights = [Fraction((-2) ** k + k, 7) for k in range(r)]
    inputs = [Fraction(3**k - 5 * k, 11) for k in range(n)]
    products = [a * b for a, b in zip(times(g, weights), times(bt, inputs), strict=True)]
    assert len(products) == n  # the only multiplications of an input by a weight
    assert times(at, products) == filtered(inputs, weights, m)


@pytest.mark.parametrize(("m", "r"), SIZES)
def test_whole_points_leave_no_fractions_in_at_and_bt(m, r):
    points = [0, *(sign * k for k in range(1, m + r) for sign in (1, -1))]
    at, _, bt = cook_toom(m, r, points)
    assert all(entry.denominator == 1 for matrix in (at, bt) for row in matrix for entry in row)


def test_the_matrices_of_lavin_and_gray():
    # section 4.3 of the paper: F(4×4, 3×3), all three matrices
    at, g, bt = cook_toom(4, 3)
    assert at == [
        [1, 1, 1, 1, 1, 0],
        [0, 1, -1, 2, -2, 0],
        [0, 1, 1, 4, 4, 0],
        [0, 1, -1, 8, -8, 1],
    ]
    assert bt == [
        [4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1],
    ]  # fmt: skip
    sixth, twelfth, twenty_fourth = Fraction(1, 6), Fraction(1, 12), Fraction(1, 24)
    assert g == [
        [Fraction(1, 4), 0, 0], [-sixth, -sixth, -sixth], [-sixth, sixth, -sixth],
        [twenty_fourth, twelfth, sixth], [twenty_fourth, -twelfth, sixth], [0, 0, 1],
    ]  # fmt: skip


@pytest.mark.parametrize(("m", "direct", "winograd"), [(2, 36, 16), (4, 144, 36), (6, 324, 64)])
def test_multiplications_drop(m, direct, winograd):
    _, g, bt = cook_toom(m, 3)
    assert direct == m * m * 3 * 3
    assert winograd == len(g) * len(bt) == (m + 3 - 1) ** 2


@pytest.mark.parametrize("m", [1, 2, (2, 4), (3, 1)])
def test_whole_numbers_come_out_when_rounded(m, unit_stride_problem):
    x, w, b = unit_stride_problem.tensors()
    expected = unit_stride_problem.expected(x, w, b)
    if unit_stride_problem.dims == 1:
        m = m if isinstance(m, int) else m[1]
        y = conv1d_winograd(x, w, b, m=m, **unit_stride_problem.arguments)
    else:
        y = conv2d_winograd(x, w, b, m=m, **unit_stride_problem.arguments)
    assert torch.equal(y.round(), expected)


def test_points_of_powers_of_two_are_exact(whole_numbers):
    # F(2, 3) halves and adds: float64 holds every step of it
    x, w = whole_numbers(2, 3, 7, 9), whole_numbers(4, 3, 3, 3, seed=2)
    assert torch.equal(conv2d_winograd(x, w, padding=1, m=2), F.conv2d(x, w, padding=1))


def one_tile(m, kernel, points, channels=5):
    """A tile, weights, and Σ_c |Aᵀ|[(|G||g||Gᵀ|) ⊙ (|Bᵀ||d||B|)]|A|: what the errors grow from."""
    generator = torch.Generator().manual_seed(m)
    sizes = [m + r - 1 for r in kernel]
    x = torch.randn(1, channels, *sizes, generator=generator)
    w = torch.randn(2, channels, *kernel, generator=generator)
    absolute = [
        [torch.tensor([[abs(float(e)) for e in row] for row in matrix], dtype=torch.float64)
         for matrix in cook_toom(m, r, points)]
        for r in kernel
    ]  # fmt: skip
    (at_h, g_h, bt_h), (at_w, g_w, bt_w) = absolute
    u = g_h @ w.double().abs() @ g_w.T
    v = bt_h @ x.double().abs() @ bt_w.T
    magnitude = at_h @ torch.einsum("ocij,ncij->noij", u, v) @ at_w.T
    # roundings on the way of one number: two sums of r, n and n terms, one of channels,
    # one product, and one rounding for an entry of each of the six constant matrices
    steps = sum(kernel) + 2 * sum(sizes) + channels + 1 + 6
    return x, w, magnitude, steps


@pytest.mark.parametrize(
    ("m", "kernel", "points"),
    [
        (2, (3, 3), None),
        (4, (3, 3), None),
        (4, (3, 3), ROOT_POINTS),
        (6, (3, 3), None),
        (2, (5, 5), None),
        (3, (2, 4), None),
        (4, (1, 3), ROOT_POINTS),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_errors_stay_within_the_budget(m, kernel, points, dtype):
    x, w, magnitude, steps = one_tile(m, kernel, points)
    y = conv2d_winograd(x.to(dtype), w.to(dtype), m=m, points=points)
    assert y.dtype == dtype
    # the oracle rounds too, in float64: its own steps come on top
    oracle_steps = math.prod(kernel) * x.shape[1] + 1
    unit, double_unit = torch.finfo(dtype).eps / 2, torch.finfo(torch.float64).eps / 2
    share = steps * unit / (1 - steps * unit) + oracle_steps * double_unit
    error = (y.double() - conv(x.double(), w.double())).abs()
    assert (error <= share * magnitude).all()
    assert (share * magnitude).max() < conv(x.double(), w.double()).abs().max()  # zeros would fail


def test_root_points_are_more_accurate_than_whole_ones(whole_numbers):
    generator = torch.Generator().manual_seed(0)
    x, w = (
        torch.randn(1, 16, 20, 20, generator=generator),
        torch.randn(8, 16, 3, 3, generator=generator),
    )
    exact = F.conv2d(x.double(), w.double())
    whole, root = (
        (conv2d_winograd(x, w, m=4, points=points) - exact).square().mean()
        for points in (None, ROOT_POINTS)
    )
    assert root < whole


def test_gradients_flow(whole_numbers):
    x, w = (
        whole_numbers(1, 2, 5, 4).requires_grad_(),
        whole_numbers(2, 2, 3, 3, seed=2).requires_grad_(),
    )
    ours = torch.autograd.grad(conv2d_winograd(x, w, padding=1).square().sum(), (x, w))
    theirs = torch.autograd.grad(F.conv2d(x, w, padding=1).square().sum(), (x, w))
    assert all(torch.equal(g.round(), h) for g, h in zip(ours, theirs, strict=True))


def test_mistakes_are_explained():
    x, w = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 3, 3)
    with pytest.raises(
        ArgumentError, match=r"4 needs 3 different finite points besides infinity, got \[0, 1\]"
    ):
        conv2d_winograd(x, w, points=[0, 1])
    with pytest.raises(
        ArgumentError, match=r"needs 3 different finite points besides infinity, got \[0, 1, 1\]"
    ):
        cook_toom(2, 3, [0, 1, 1])
    with pytest.raises(ArgumentError, match="different finite points"):
        cook_toom(2, 3, [0, 1, math.inf])
    with pytest.raises(ArgumentError, match=r"m and r of at least 1, got F\(0, 3\)"):
        cook_toom(0, 3)
    with pytest.raises(ArgumentTypeError, match=r"floating-point or complex x, got torch.int64"):
        conv2d_winograd(x.long(), w.long())
    with pytest.raises(ArgumentError, match=r"got 3 dimensions"):
        conv2d_winograd(torch.zeros(1, 1, 4), torch.zeros(1, 1, 3))
    with pytest.raises(ArgumentError, match=r"got 4 dimensions"):
        conv1d_winograd(x, w)
