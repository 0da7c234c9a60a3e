import pytest
import torch
from torch.nn import functional as F

from faltung.by_hand import pointwise
from faltung.errors import ArgumentError

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


@pytest.mark.parametrize("size", [(7,), (1,), (4, 5), (1, 3), (2, 3, 4)])
@pytest.mark.parametrize("channels", [(3, 5), (4, 1), (1, 2)])
def test_equals_pytorch(size, channels, whole_numbers):
    c, o = channels
    x, w = whole_numbers(2, c, *size), whole_numbers(o, c, *(1 for _ in size), seed=2)
    b = whole_numbers(o, seed=4)
    expected = CONV[len(size)](x, w, b)
    assert torch.equal(pointwise(x, w, b), expected)
    assert torch.equal(pointwise(x[0], w, b), expected[0])
    assert torch.equal(pointwise(x[:0], w, b), expected[:0])
    assert torch.equal(pointwise(x.mT.contiguous().mT, w), CONV[len(size)](x, w))


def test_looks_at_no_neighbour(whole_numbers):
    x, w = whole_numbers(1, 3, 4, 5), whole_numbers(2, 3, 1, 1, seed=2)
    other = x.clone()
    other[0, :, 2, 3] += 1
    changed = (pointwise(x, w) != pointwise(other, w)).any(1)[0]
    assert changed.nonzero().tolist() == [[2, 3]]


def test_is_a_fully_connected_layer_at_each_point(whole_numbers):
    x, w, b = whole_numbers(2, 3, 4, 5), whole_numbers(6, 3, 1, 1, seed=2), whole_numbers(6, seed=4)
    layer = F.linear(x.permute(0, 2, 3, 1), w[:, :, 0, 0], b).permute(0, 3, 1, 2)
    assert torch.equal(pointwise(x, w, b), layer)


def test_mistakes_are_explained():
    with pytest.raises(ArgumentError, match=r"a pointwise weight has kernel size 1, got \(1, 3\)"):
        pointwise(torch.zeros(1, 2, 4, 4), torch.zeros(2, 2, 1, 3))
    with pytest.raises(ArgumentError, match="input has 2 channels but weight"):
        pointwise(torch.zeros(1, 2, 4, 4), torch.zeros(2, 3, 1, 1))
