import pytest
import torch
from torch.nn import functional as F

from faltung.by_hand import depthwise
from faltung.errors import ArgumentError

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


@pytest.mark.parametrize("multiplier", [1, 2, 3])
@pytest.mark.parametrize(
    ("size", "kernel", "arguments"),
    [
        ((5, 6), (3, 2), {}),
        ((7, 4), (3, 3), {"stride": (2, 1), "padding": (0, 2), "dilation": (3, 1)}),
        ((3, 3), (7, 7), {"padding": 3}),
        ((9,), (4,), {"stride": 5, "padding": 1}),
        ((3, 4, 5), (2, 1, 3), {"dilation": (1, 1, 2)}),
    ],
)
def test_equals_pytorch(multiplier, size, kernel, arguments, whole_numbers):
    x, b = whole_numbers(2, 3, *size), whole_numbers(3 * multiplier, seed=4)
    w = whole_numbers(3 * multiplier, 1, *kernel, seed=2)
    expected = CONV[len(size)](x, w, b, groups=3, **arguments)
    assert torch.equal(depthwise(x, w, b, **arguments), expected)
    assert torch.equal(depthwise(x[0], w, b, **arguments), expected[0])
    assert torch.equal(depthwise(x[:0], w, b, **arguments), expected[:0])
    assert torch.equal(
        depthwise(x.mT.contiguous().mT, w, **arguments), expected - b.reshape(-1, *[1] * len(size))
    )


def test_unequal_padding(whole_numbers):
    x, w = whole_numbers(1, 2, 4, 4), whole_numbers(2, 1, 2, 2, seed=2)
    y = depthwise(x, w, padding=((1, 0), (0, 2)))
    assert torch.equal(y, F.conv2d(F.pad(x, (0, 2, 1, 0)), w, groups=2))


def test_a_channel_changes_only_its_own_outputs(whole_numbers):
    x, w = whole_numbers(1, 3, 4, 4), whole_numbers(6, 1, 2, 2, seed=2)
    other = x.clone()
    other[:, 1] += 1
    changed = (depthwise(x, w) != depthwise(other, w)).flatten(2).any(2)
    assert changed.tolist() == [[False, False, True, True, False, False]]


def test_mistakes_are_explained():
    with pytest.raises(
        ArgumentError, match=r"input has 4 channels but weight .* with groups=4 needs 8"
    ):
        depthwise(torch.zeros(1, 4, 5, 5), torch.zeros(4, 2, 3, 3))
    with pytest.raises(ArgumentError, match="groups=4 does not divide the 6 output channels"):
        depthwise(torch.zeros(1, 4, 5, 5), torch.zeros(6, 1, 3, 3))
    with pytest.raises(ArgumentError, match="input must have 4 dimensions, or 3 without a batch"):
        depthwise(torch.zeros(5), torch.zeros(6, 1, 3, 3))
