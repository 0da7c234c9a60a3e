import pytest
import torch
from torch.nn import functional as F

from faltung.by_hand import conv2d_im2col, conv_im2col, region_matrix
from faltung.errors import ArgumentError


def test_equals_pytorch(problem):
    x, w, b = problem.tensors()
    y = conv_im2col(x, w, b, **problem.arguments)
    assert torch.equal(y, problem.expected(x, w, b))


def test_the_name_of_the_textbook():
    assert conv2d_im2col is conv_im2col


@pytest.mark.parametrize(
    ("stride", "padding", "dilation"), [(1, 0, 1), (2, 1, 1), ((1, 3), (2, 0), (2, 1))]
)
def test_regions_are_those_of_unfold(stride, padding, dilation, whole_numbers):
    x = whole_numbers(2, 3, 6, 7)
    rows = region_matrix(x, (2, 3), stride, padding, dilation)
    columns = F.unfold(x, (2, 3), dilation, padding, stride)
    assert torch.equal(rows, columns.mT)


def test_region_matrix_of_the_text(whole_numbers):
    # a 5×5 picture, K = 3, s = 2, p = 1: 3·3 outputs and 9 taps
    x = whole_numbers(1, 1, 5, 5)
    regions = region_matrix(x, 3, stride=2, padding=1)
    assert regions.shape == (1, 9, 9)
    assert regions[0, 0].tolist() == [0, 0, 0, 0, *x[0, 0, 0, :2], 0, *x[0, 0, 1, :2]]
    assert torch.equal(regions[0, 4], x[0, 0, 1:4, 1:4].flatten())


def test_region_matrix_in_other_dimensions(whole_numbers):
    line = torch.arange(5)
    assert region_matrix(line.reshape(1, 1, 5), 3, dilation=2).tolist() == [[[0, 2, 4]]]
    volume = whole_numbers(1, 2, 3, 4, 5)
    regions = region_matrix(volume, (2, 1, 3))
    assert regions.shape == (1, 2 * 4 * 3, 2 * 6)
    assert torch.equal(regions[0, -1], volume[0, :, 1:, 3:, 2:].flatten())


def test_region_matrix_without_a_batch(whole_numbers):
    x = whole_numbers(2, 4, 5)
    assert torch.equal(region_matrix(x, (2, 2)), region_matrix(x[None], 2)[0])
    assert region_matrix(x, 2).shape == (2, 4, 8)  # an integer: batch 2, 4 channels, 1-D


def test_region_matrix_with_a_padding_mode():
    x = torch.tensor([[[1, 2, 3]]])
    assert region_matrix(x, 2, padding=1, padding_mode="circular").tolist() == [
        [[3, 1], [1, 2], [2, 3], [3, 1]]
    ]


def test_region_matrix_of_an_empty_batch():
    assert region_matrix(torch.zeros(0, 2, 4, 4), 3).shape == (0, 4, 18)


def test_mistakes_are_explained():
    with pytest.raises(ArgumentError, match="leave 0 spatial axes"):
        region_matrix(torch.zeros(3, 3), 2)
    with pytest.raises(ArgumentError, match="input must have 4 dimensions"):
        region_matrix(torch.zeros(3, 3), (2, 2))
    with pytest.raises(ArgumentError, match="larger than the padded input"):
        region_matrix(torch.zeros(1, 1, 3, 3), 4)
