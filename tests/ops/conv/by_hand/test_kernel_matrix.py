import pytest
import torch
from torch.nn import functional as F

from faltung.by_hand import (
    conv2d_kernel_matrix,
    conv_kernel_matrix,
    kernel_matrix,
    kernel_matrix_sparse,
)
from faltung.errors import ArgumentError


def matrix_arguments(problem):
    size = problem.x[-problem.dims :]
    return size, problem.arguments


def test_equals_pytorch(problem):
    x, w, b = problem.tensors()
    y = conv_kernel_matrix(x, w, b, **problem.arguments)
    assert torch.equal(y, problem.expected(x, w, b))


def test_the_name_of_the_textbook():
    assert conv2d_kernel_matrix is conv_kernel_matrix


def test_sparse_is_the_same_matrix(problem):
    _, w, _ = problem.tensors()
    size, arguments = matrix_arguments(problem)
    sparse = kernel_matrix_sparse(w, size, **arguments)
    assert sparse.is_coalesced()
    assert torch.equal(sparse.to_dense(), kernel_matrix(w, size, **arguments))


def test_columns_are_what_pytorch_makes_of_a_single_one(problem):
    _, w, _ = problem.tensors()
    size, arguments = matrix_arguments(problem)
    channels = problem.x[-problem.dims - 1]
    count = (
        channels * size.numel()
        if isinstance(size, torch.Size)
        else channels * torch.Size(size).numel()
    )
    ones = torch.eye(count, dtype=w.dtype).reshape(count, channels, *size)
    assert torch.equal(
        kernel_matrix(w, size, **arguments), problem.expected(ones, w, None).flatten(1).T
    )


def test_the_matrices_of_the_text():
    w = torch.arange(1, 10).reshape(1, 1, 3, 3)
    small = kernel_matrix(w, 4)
    assert small.shape == (4, 16)
    # row 0 is the weight in the upper left corner of the 4×4 picture, row 3 in the lower right one
    assert small[0].tolist() == [1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9, 0, 0, 0, 0, 0]
    assert small[3].tolist() == [0, 0, 0, 0, 0, 1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9]
    figure = kernel_matrix(w, (5, 5))
    assert figure.shape == (9, 25)
    assert kernel_matrix_sparse(w, (5, 5)).values().numel() == 9 * 9


@pytest.mark.parametrize("size", [(3, 5), (5, 3), (3, 8), (8, 3)])
def test_height_and_width_are_not_swapped(size, whole_numbers):
    # the text pads rows by the height and columns by the width: right for squares only
    x, w = whole_numbers(1, 1, *size), whole_numbers(1, 1, 2, 3, seed=2)
    matrix = kernel_matrix(w, size)
    out = (size[0] - 1, size[1] - 2)
    assert matrix.shape == (out[0] * out[1], size[0] * size[1])
    assert torch.equal((matrix @ x.flatten()).reshape(out), F.conv2d(x, w)[0, 0])
    corner = F.pad(w[0, 0], (0, size[1] - 3, 0, size[0] - 2))  # the padding, right for rectangles
    assert torch.equal(matrix[0], corner.flatten())


def test_one_dimension_is_a_toeplitz_matrix(whole_numbers):
    matrix = kernel_matrix(whole_numbers(1, 1, 4), 9)
    assert torch.equal(matrix[1:, 1:], matrix[:-1, :-1])


def test_taps_on_the_same_input_add_up():
    w = torch.tensor([[[1, 10, 100]]])
    # x = (a, b), replicated: (a, a, b, b)
    matrix = kernel_matrix(w, 2, padding=1, padding_mode="replicate")
    assert matrix.tolist() == [[11, 100], [1, 110]]
    sparse = kernel_matrix_sparse(w, 2, padding=1, padding_mode="replicate")
    assert sparse.to_dense().tolist() == matrix.tolist()


def test_a_window_on_padding_alone_leaves_a_row_of_zeros():
    w = torch.tensor([[[1, 2]]])
    matrix = kernel_matrix_sparse(w, 1, padding=2)
    assert matrix.to_dense().tolist() == [[0], [2], [1], [0]]


def test_gradients_flow_into_the_weight(whole_numbers):
    w = whole_numbers(2, 1, 2, 2).requires_grad_()
    for build in (kernel_matrix, kernel_matrix_sparse):
        matrix = build(w, (3, 4))
        dense = matrix.to_dense() if matrix.is_sparse else matrix
        (grad,) = torch.autograd.grad(dense.sum(), w)
        assert torch.equal(grad, torch.full_like(w, 2 * 3))  # each weight stands in every row once


def test_mistakes_are_explained():
    with pytest.raises(ArgumentError, match="input_size must be one integer or 2"):
        kernel_matrix(torch.zeros(1, 1, 3, 3), (4, 4, 4))
    with pytest.raises(ArgumentError, match="larger than the padded input"):
        kernel_matrix_sparse(torch.zeros(1, 1, 3, 3), (4, 2))
