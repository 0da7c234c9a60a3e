import pytest
import torch

from faltung.by_hand import conv, conv_dilated, dilate_weight
from faltung.errors import ArgumentError


def test_equals_pytorch(ungrouped_problem):
    x, w, b = ungrouped_problem.tensors()
    y = conv_dilated(x, w, b, **ungrouped_problem.arguments)
    assert torch.equal(y, ungrouped_problem.expected(x, w, b))


@pytest.mark.parametrize(("d", "span"), [(1, 3), (2, 5), (3, 7)])
def test_reads_every_dth_position(d, span, whole_numbers):
    # row 10 of the text: a[0:5:2, 0:5:2] for d = 2, a[0:7:3, 0:7:3] for d = 3
    a, w = whole_numbers(7, 7), whole_numbers(1, 1, 3, 3, seed=2)
    y = conv_dilated(a[None, None], w, dilation=d)
    assert y[0, 0, 0, 0] == (a[0:span:d, 0:span:d] * w[0, 0]).sum()
    assert y.shape[2:] == (7 - span + 1, 7 - span + 1)


def test_the_weight_gets_holes():
    w = torch.arange(1, 5).reshape(1, 1, 2, 2)
    assert dilate_weight(w, (1, 3)).tolist() == [[[[1, 0, 0, 2], [3, 0, 0, 4]]]]
    assert torch.equal(dilate_weight(w, 1), w)
    assert dilate_weight(torch.ones(2, 3, 1, 4, 2), (5, 2, 1)).shape == (2, 3, 1, 7, 2)


def test_same_padding_counts_the_holes(whole_numbers):
    x, w = whole_numbers(1, 1, 6, 5), whole_numbers(1, 1, 3, 2, seed=2)
    y = conv_dilated(x, w, padding="same", dilation=(2, 3))
    assert y.shape == x.shape
    assert torch.equal(y, conv(x, w, padding=((2, 2), (1, 2)), dilation=(2, 3)))


def test_mistakes_are_explained():
    with pytest.raises(ArgumentError, match="dilation must be at least 1, got 0"):
        dilate_weight(torch.zeros(1, 1, 3), 0)
    with pytest.raises(ArgumentError, match="dilation must be one integer or 2"):
        conv_dilated(torch.zeros(1, 1, 3, 3), torch.zeros(1, 1, 2, 2), dilation=(1, 1, 1))
