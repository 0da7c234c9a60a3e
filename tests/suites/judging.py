"""When a result of ours is as good as PyTorch's own.

The truth is PyTorch's call in float64 (complex128). In a narrower dtype, ours may be no further
from it than PyTorch's own result in that dtype is, plus one rounding of the largest sum. Where the
dtype is as wide as the truth the data are whole numbers, whose sums are exact, and integer and
boolean dtypes are exact anyway: there every value must be equal.
"""

import math

import torch

from faltung.tools.budget import Budget, assert_equal, assert_within

# PyTorch makes a complex product from three real ones (Higham, "Stability of a method for
# multiplying complex matrices with three real matrix multiplications", 1992), its imaginary part as
# (xr + xi)(wr + wi) − xr·wr − xi·wi. For |x||w| = 1 the first of them is at most 2 and rounds three
# times, the others are at most 1 together and round once, and so do the two differences, at most 2
# and 1; the real part rounds a product and a difference: 6 + 1 + 2 + 1 roundings and 1 + 1
COMPLEX_ROUNDING = math.hypot(10, 2)

DOUBLE = (torch.float64, torch.complex128)


def in_double(tensor):
    return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)


def magnitude(tensor):
    return in_double(tensor).abs()


def make_whole(tensor):
    """Round the numbers of a tensor where they lie."""
    numbers = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    numbers.detach().round_()
    return tensor


def assert_as_good(y, expected, y64, magnitude64, error_factor):
    """Ours against PyTorch's, the truth, and the sums of magnitudes behind it."""
    exact = expected.dtype in DOUBLE or not (expected.is_floating_point() or expected.is_complex())
    if exact and error_factor == 1:
        assert_equal(y, expected)
        return
    rounding = COMPLEX_ROUNDING if expected.is_complex() else 1.0
    assert_within(y, Budget(y64, rounding * magnitude64, expected, error_factor))
