import pytest
import torch

from faltung.by_hand import conv2d_sliding_window
from faltung.errors import ArgumentError


def test_equals_pytorch(plain_2d_problem):
    x, w, b = plain_2d_problem.tensors()
    y = conv2d_sliding_window(x, w, b, **plain_2d_problem.arguments)
    assert torch.equal(y, plain_2d_problem.expected(x, w, b))


def test_the_window_goes_along_the_rows_first():
    # a filter with one weight reads one corner of each region: the outputs name their windows
    x = torch.arange(12).reshape(1, 1, 3, 4)
    w = torch.tensor([[[[1, 0], [0, 0]]]])
    assert conv2d_sliding_window(x, w).flatten().tolist() == [0, 1, 2, 4, 5, 6]


def test_only_two_dimensions():
    with pytest.raises(ArgumentError, match=r"weight must be \[O, C, KH, KW\], got 3 dimensions"):
        conv2d_sliding_window(torch.zeros(1, 1, 3), torch.zeros(1, 1, 3))
