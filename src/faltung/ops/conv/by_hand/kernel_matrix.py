"""Convolution as one big matrix that acts on the flattened input: the kernel matrix.

    M[(o, q), (c, i)] = Σ { w[o, c, t] : output q reads input i through tap t }
    y.flatten() = M · x.flatten()                         [O·∏out, C·∏in] · [C·∏in]

Convolution is linear, so there is such a matrix. Row (o, q) is filter o laid on the input at
position q, with zeros everywhere else: the weight padded to the input's size and flattened. Going
down one row moves the filter one step, so the same numbers appear on every diagonal. In 1-D that
is a Toeplitz matrix, in 2-D a Toeplitz matrix of Toeplitz matrices.

Compare with a fully connected layer, whose matrix has as many rows and columns and no structure:
here nearly all entries are zero (locality) and the rest repeat (shared weights). The transpose of M
is transposed convolution. Use it to reason, or sparse for a fixed linear map; its size grows with
outputs times inputs, so never for speed.

Source: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning",
arXiv 1603.07285, section 4.1 (convolution as a matrix operation).
"""

from math import prod
from typing import Any

import torch
from torch import Tensor

from ...arguments import integers
from ..arguments import conv_spec
from ..spec import ConvSpec
from .definition import batched, channel_groups, finished, index_map, spatial_dims, spec_of


def kernel_matrix(
    weight: Tensor,
    input_size: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
) -> Tensor:
    """The dense matrix of a convolution of inputs of one size, in 1-D to 3-D.

    weight [O, C/groups, K…] and input size in… -> [O·∏out, C·∏in]. Column j is what `F.conv2d`
    makes of an input that is 1 at flat position j and 0 elsewhere.

    >>> import torch
    >>> kernel_matrix(torch.tensor([[[1, 2, 3]]]), 5)
    tensor([[1, 2, 3, 0, 0],
            [0, 1, 2, 3, 0],
            [0, 0, 1, 2, 3]])

    Raises `ArgumentError` for shapes and arguments that do not fit.
    """
    spec = _spec(weight, input_size, stride, padding, dilation, groups, padding_mode)
    matrix = weight.new_zeros(
        spec.out_channels, *spec.output_size, spec.in_channels, *spec.input_size
    )
    for o, c in channel_groups(spec):
        for q, t, i in index_map(spec):
            matrix[o, *q, c, *i] += weight[o, :, *t]  # a sum: reflected taps may share an input
    return matrix.reshape(_matrix_shape(spec))


def kernel_matrix_sparse(
    weight: Tensor,
    input_size: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
) -> Tensor:
    """The kernel matrix as a coalesced sparse COO tensor: only the entries that hold a weight.

    The same matrix as `kernel_matrix(…).to_sparse()`, without ever storing the zeros.

    >>> import torch
    >>> matrix = kernel_matrix_sparse(torch.tensor([[[1, 2, 3]]]), 5)
    >>> matrix.shape, matrix.values()
    (torch.Size([3, 5]), tensor([1, 2, 3, 1, 2, 3, 1, 2, 3]))

    Raises `ArgumentError` for shapes and arguments that do not fit.
    """
    spec = _spec(weight, input_size, stride, padding, dilation, groups, padding_mode)
    rows, columns = _matrix_shape(spec)
    row = torch.arange(rows).reshape(spec.out_channels, *spec.output_size)
    column = torch.arange(columns).reshape(spec.in_channels, *spec.input_size)
    places = [torch.empty(0, 2, dtype=torch.int64)]
    values = [weight.new_empty(0)]
    for o, c in channel_groups(spec):
        for q, t, i in index_map(spec):
            places.append(torch.cartesian_prod(row[o, *q], column[c, *i]))
            values.append(weight[o, :, *t].flatten())
    matrix = torch.sparse_coo_tensor(
        torch.cat(places).T.to(weight.device), torch.cat(values), (rows, columns),
        check_invariants=True,
    )  # fmt: skip
    return matrix.coalesce()


def conv_kernel_matrix(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
) -> Tensor:
    """Convolution as kernel matrix times flattened input, in 1-D to 3-D.

    x [N, C, in…] or [C, in…], w [O, C/groups, K…], b [O] -> y [N, O, out…] or [O, out…]. The same
    as `F.conv2d(x, w, b, stride, padding, dilation, groups)`.

    >>> import torch
    >>> x = torch.arange(16).reshape(1, 1, 4, 4)
    >>> conv2d_kernel_matrix(x, torch.ones(1, 1, 3, 3, dtype=torch.int64))
    tensor([[[[45, 54],
              [81, 90]]]])

    Raises `ArgumentError` or `ArgumentTypeError` for shapes and arguments that do not fit.
    """
    spec = spec_of(x, w, b, stride, padding, dilation, groups, padding_mode=padding_mode)
    matrix = kernel_matrix(
        w, spec.input_size, spec.stride, spec.padding, spec.dilation, groups,
        padding_mode=padding_mode,
    )  # fmt: skip
    y = batched(x, spec).flatten(1) @ matrix.T  # every picture of the batch is one row
    return finished(y.reshape(spec.y_shape), b, x)


conv2d_kernel_matrix = conv_kernel_matrix  # the weight decides how many dimensions


def _spec(
    weight: Tensor,
    input_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    padding_mode: str,
) -> ConvSpec:
    dims = spatial_dims(weight)
    size = integers(input_size, dims, "input_size", minimum=0)
    return conv_spec(
        (1, weight.shape[1] * groups, *size), weight.shape, dims=dims, stride=stride,
        padding=padding, dilation=dilation, groups=groups, mode=padding_mode,
        dtype=str(weight.dtype).removeprefix("torch."),
    )  # fmt: skip


def _matrix_shape(spec: ConvSpec) -> tuple[int, int]:
    outputs = spec.out_channels * prod(spec.output_size)
    return outputs, spec.in_channels * prod(spec.input_size)
