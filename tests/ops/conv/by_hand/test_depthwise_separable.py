import pytest
import torch
from torch.nn import functional as F

from faltung.by_hand import depthwise, depthwise_separable, pointwise
from faltung.errors import ArgumentError


def test_row_15_of_the_text(whole_numbers):
    # 1×64×32×32 to 1×128×32×32; the numbers of a smaller picture are checked below
    x = whole_numbers(1, 64, 32, 32)
    dw, pw = whole_numbers(64, 1, 3, 3, seed=2), whole_numbers(128, 64, 1, 1, seed=4)
    y = pointwise(depthwise(x, dw, padding=1), pw)
    assert y.shape == (1, 128, 32, 32)
    assert torch.equal(y, F.conv2d(F.conv2d(x, dw, padding=1, groups=64), pw))
    separable, full = dw.numel() + pw.numel(), 128 * 64 * 3 * 3
    assert (separable, full) == (8768, 73728)


@pytest.mark.parametrize("multiplier", [1, 2])
@pytest.mark.parametrize(
    "arguments", [{}, {"padding": 1}, {"stride": (2, 1), "padding": (0, 2), "dilation": (1, 2)}]
)
def test_is_a_pointwise_after_a_depthwise(multiplier, arguments, whole_numbers):
    x = whole_numbers(2, 3, 6, 7)
    dw, db = whole_numbers(3 * multiplier, 1, 3, 2, seed=2), whole_numbers(3 * multiplier, seed=4)
    pw, pb = whole_numbers(5, 3 * multiplier, 1, 1, seed=6), whole_numbers(5, seed=8)
    y = depthwise_separable(x, dw, pw, db, pb, **arguments)
    assert torch.equal(y, F.conv2d(F.conv2d(x, dw, db, groups=3, **arguments), pw, pb))
    assert torch.equal(y, pointwise(depthwise(x, dw, db, **arguments), pw, pb))
    assert torch.equal(depthwise_separable(x[0], dw, pw, db, pb, **arguments), y[0])


def test_is_one_full_convolution_of_rank_one_weights(whole_numbers):
    x, dw, pw = (
        whole_numbers(1, 3, 5, 5),
        whole_numbers(3, 1, 3, 3, seed=2),
        whole_numbers(4, 3, 1, 1, seed=4),
    )
    assert torch.equal(depthwise_separable(x, dw, pw), F.conv2d(x, pw * dw[:, 0]))


def test_other_dimensions(whole_numbers):
    x, dw, pw = (
        whole_numbers(2, 2, 7),
        whole_numbers(2, 1, 3, seed=2),
        whole_numbers(3, 2, 1, seed=4),
    )
    assert torch.equal(depthwise_separable(x, dw, pw), F.conv1d(F.conv1d(x, dw, groups=2), pw))
    x, dw, pw = x[..., None, None], dw[..., None, None], pw[..., None, None]
    assert torch.equal(depthwise_separable(x, dw, pw), F.conv3d(F.conv3d(x, dw, groups=2), pw))


def test_mistakes_are_explained():
    x, dw = torch.zeros(1, 2, 4, 4), torch.zeros(2, 1, 3, 3)
    with pytest.raises(ArgumentError, match=r"a pointwise weight has kernel size 1, got \(3, 3\)"):
        depthwise_separable(x, dw, torch.zeros(4, 2, 3, 3))
    with pytest.raises(ArgumentError, match="input has 2 channels but weight"):
        depthwise_separable(x, dw, torch.zeros(4, 3, 1, 1))
    with pytest.raises(ArgumentError, match="input must have 4 dimensions"):
        depthwise_separable(torch.zeros(4), dw, torch.zeros(4, 2, 1, 1))
