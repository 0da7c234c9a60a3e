import pytest
import torch
from torch.nn import functional as F

from faltung.by_hand import (
    conv,
    conv_transpose_gradient,
    conv_transpose_kernel_matrix,
    conv_transpose_scatter,
    conv_transpose_zero_insertion,
    grad_input,
    kernel_matrix,
)
from faltung.errors import ArgumentError, ArgumentTypeError
from faltung.ops.conv.arguments import conv_transpose_spec
from faltung.ops.conv.by_hand.transposed import flipped_and_swapped

WAYS = [
    conv_transpose_kernel_matrix,
    conv_transpose_gradient,
    conv_transpose_zero_insertion,
    conv_transpose_scatter,
]
every_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


@every_way
def test_equals_pytorch(way, transposed_problem):
    x, w, b = transposed_problem.tensors()
    y = way(x, w, b, **transposed_problem.arguments)
    assert torch.equal(y, transposed_problem.expected(x, w, b))


@every_way
def test_arguments_stand_in_pytorchs_order(way, whole_numbers):
    x, w, b = whole_numbers(1, 4, 3, 3), whole_numbers(4, 1, 2, 2, seed=2), whole_numbers(2, seed=4)
    arguments = (3, 1, 2, 2, 4)  # stride, padding, output_padding, groups, dilation
    assert torch.equal(way(x, w, b, *arguments), F.conv_transpose2d(x, w, b, *arguments))


def test_the_definition_is_the_same_operator(transposed_problem):
    x, w, _ = transposed_problem.tensors()
    spec = conv_transpose_spec(
        x.shape, w.shape, dims=transposed_problem.dims, **transposed_problem.arguments
    )
    y = grad_input(x.reshape(spec.y_shape), w, spec)
    assert torch.equal(
        y.reshape(*x.shape[: -spec.dims - 1], *y.shape[1:]), transposed_problem.expected(x, w, None)
    )


def test_row_7_as_a_matrix(whole_numbers):
    x, w = whole_numbers(1, 1, 2, 2), whole_numbers(1, 1, 3, 3, seed=2)
    matrix = kernel_matrix(w, 4)
    assert matrix.T.shape == (16, 4)
    by_matrix = (matrix.T @ x.reshape(4, 1)).reshape(1, 1, 4, 4)
    assert torch.equal(by_matrix, F.conv_transpose2d(x, w))
    assert torch.equal(by_matrix, conv_transpose_kernel_matrix(x, w))


def test_row_9_unflipped_weights_give_other_values(whole_numbers):
    x, w = whole_numbers(1, 1, 2, 2), whole_numbers(1, 1, 3, 3, seed=2)
    padded = F.pad(x, (2, 2, 2, 2))
    assert padded.shape == (1, 1, 6, 6)
    assert conv(padded, w).shape == F.conv_transpose2d(x, w).shape
    assert not torch.equal(conv(padded, w), F.conv_transpose2d(x, w))
    assert torch.equal(conv(padded, flipped_and_swapped(w, 1)), F.conv_transpose2d(x, w))


@every_way
def test_restores_the_shape_and_not_the_values(way, whole_numbers):
    x, w = whole_numbers(1, 2, 6, 7), whole_numbers(3, 2, 3, 2, seed=2)
    y = conv(x, w, stride=2, padding=1)
    back = way(y, w, stride=2, padding=1, output_padding=(1, 1))
    assert back.shape == x.shape
    assert not torch.equal(back, x)


@every_way
def test_is_the_adjoint_of_the_convolution(way, whole_numbers):
    # ⟨conv(z), x⟩ = ⟨z, transposed(x)⟩ for all z, x: one matrix is the transpose of the other
    z, w = whole_numbers(2, 2, 5, 6), whole_numbers(4, 1, 3, 2, seed=2)
    y = conv(z, w, stride=2, padding=1, groups=2)
    x = whole_numbers(*y.shape, seed=6)
    back = way(x, w, stride=2, padding=1, output_padding=(0, 0), groups=2)
    assert back.shape == z.shape
    assert (y * x).sum() == (z * back).sum()


@every_way
def test_same_padding_multiplies_the_size(way, whole_numbers):
    x, w = whole_numbers(1, 1, 3, 4), whole_numbers(1, 2, 3, 5, seed=2)
    y = way(x, w, stride=2, padding="same")
    assert y.shape == (1, 2, 6, 8)
    # totals: 3 − 2 = 1 and 5 − 2 = 3, the extra one at the high end
    assert torch.equal(y, F.conv_transpose2d(x, w, stride=2)[:, :, :-1, 1:-2])


@pytest.mark.parametrize("way", [w for w in WAYS if w is not conv_transpose_gradient])
def test_whole_number_dtypes(way, whole_numbers):
    x, w = (whole_numbers(*shape, dtype=torch.int64) for shape in ((1, 2, 4), (2, 1, 3)))
    assert torch.equal(way(x, w).double(), F.conv_transpose1d(x.double(), w.double()))


@every_way
def test_complex_conjugates_nothing(way):
    x, w = torch.tensor([[[1 + 2j]]]), torch.tensor([[[2 + 1j, 1j]]])
    assert way(x, w).tolist() == [[[(1 + 2j) * (2 + 1j), (1 + 2j) * 1j]]]


def test_the_gradient_works_where_gradients_are_off(whole_numbers):
    x, w = whole_numbers(1, 1, 3).requires_grad_(), whole_numbers(1, 1, 2, seed=2).requires_grad_()
    with torch.no_grad():
        y = conv_transpose_gradient(x, w)
    assert torch.equal(y, F.conv_transpose1d(x, w))


def test_the_gradient_needs_numbers_with_a_derivative():
    x = torch.ones(1, 1, 3, dtype=torch.int64)
    with pytest.raises(ArgumentTypeError, match=r"floating-point or complex x, got torch.int64"):
        conv_transpose_gradient(x, x)


@every_way
def test_mistakes_are_explained(way):
    x, w = torch.zeros(1, 2, 3, 3), torch.zeros(2, 2, 3, 3)
    with pytest.raises(ArgumentError, match="output_padding=2 must be smaller than stride 2"):
        way(x, w, stride=2, output_padding=2)
    with pytest.raises(ArgumentError, match="input has 2 channels but weight"):
        way(x, torch.zeros(3, 2, 3, 3))
    with pytest.raises(ArgumentError, match="would give the output size"):
        way(x, w, padding=3)
