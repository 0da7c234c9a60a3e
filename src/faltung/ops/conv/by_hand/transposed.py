"""Transposed convolution, in the four ways it is explained. They are one operator.

    y[n, o, i] = b[o] + Σ { w[c, o, t] · x[n, c, q] : i = q·s − low + t·d }

Think of the convolution that maps pictures of y's size to pictures of x's size. Transposed
convolution is its transpose, so input and output trade places and stride makes pictures larger:

    kernel matrix    y = Mᵀ x, where M is the matrix of that convolution
    gradient         y = Mᵀ x is also the gradient of that convolution: d(Mz)/dz applied to x
    zero insertion   spread x out with s − 1 zeros between its values, pad it, and run an ordinary
                     convolution with the filter flipped and its channels swapped
    scatter          every input value stamps the filter, times itself, on the output

    out = (n − 1)·s − low − high + d·(K−1) + output_padding + 1

It restores the *shape* that the convolution started from, not the values: Mᵀ is not M⁻¹, which is
why "deconvolution" is a poor name for it. Use it to make pictures larger with learned weights:
decoders, generators, segmentation heads. Where K is not a multiple of s, outputs get unequal
numbers of stamps: a checkerboard.

Source: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning",
arXiv 1603.07285, section 4; Zeiler et al., "Deconvolutional Networks", 2010.
"""

from math import prod
from typing import Any

import torch
from torch import Tensor

from ....errors import ArgumentTypeError
from ...operands import checked
from ..arguments import conv_transpose_spec
from ..spec import ConvSpec
from .definition import (
    batched,
    channel_groups,
    conv,
    finished,
    forward,
    index_map,
    positions,
    spatial_dims,
)


def conv_transpose_kernel_matrix(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Transposed convolution as a product with the transposed kernel matrix, in 1-D to 3-D.

    x [N, C, in…] or [C, in…], w [C, O/groups, K…], b [O] -> y [N, O, out…] or [O, out…]. The same
    as `F.conv_transpose2d(x, w, b, stride, padding, output_padding, groups, dilation)`.

    >>> import torch
    >>> x, w = torch.tensor([[[1, 2]]]), torch.tensor([[[1, 10, 100]]])
    >>> conv_transpose_kernel_matrix(x, w)  # matrix [[1, 10, 100, 0], [0, 1, 10, 100]]
    tensor([[[  1,  12, 120, 200]]])

    Raises `ArgumentError` or `ArgumentTypeError` for shapes and arguments that do not fit.
    """
    # the spec speaks of the convolution that is transposed: its output is our x, its input our y
    spec = _spec(x, w, b, stride, padding, output_padding, groups, dilation)
    matrix = w.new_zeros(spec.out_channels, *spec.output_size, spec.in_channels, *spec.input_size)
    for o, c in channel_groups(spec):
        for q, t, i in index_map(spec):
            matrix[o, *q, c, *i] += w[o, :, *t]
    matrix = matrix.reshape(
        spec.out_channels * prod(spec.output_size), spec.in_channels * prod(spec.input_size)
    )
    y = batched(x, spec).flatten(1) @ matrix  # (Mᵀ x)ᵀ = xᵀ M
    return finished(y.reshape(spec.x_shape), b, x)


def conv_transpose_gradient(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Transposed convolution as what a convolution's backward pass computes, in 1-D to 3-D.

    Run the convolution on any z of the result's size (zeros will do: it is linear, so its
    derivative is the same everywhere) and send x back through it. Shapes and arguments are those
    of `conv_transpose_kernel_matrix`; floating-point and complex dtypes only, because autograd
    differentiates no others. The result is a constant to autograd.

    >>> import torch
    >>> x, w = torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[1.0, 10.0, 100.0]]])
    >>> conv_transpose_gradient(x, w, stride=2)
    tensor([[[  1.,  10., 102.,  20., 200.]]])

    Raises `ArgumentError` or `ArgumentTypeError` for shapes and arguments that do not fit.
    """
    spec = _spec(x, w, b, stride, padding, output_padding, groups, dilation)
    if not (x.is_floating_point() or x.is_complex()):
        raise ArgumentTypeError(f"a gradient needs a floating-point or complex x, got {x.dtype}")
    z = x.new_zeros(spec.x_shape).requires_grad_()
    with torch.enable_grad():
        # for complex numbers autograd conjugates the weight once more, which leaves it as it was
        through = forward(z, w.detach().conj(), spec)
    (y,) = torch.autograd.grad(through, z, batched(x, spec).detach())
    return finished(y, b, x)


def conv_transpose_zero_insertion(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Transposed convolution as an ordinary convolution of a spread-out input, in 1-D to 3-D.

    Input q goes to position q·s + (span − 1 − low) of a picture of zeros that is span − 1 larger
    than the result, so that each window of it ends on one output. A padding larger than span − 1
    pushes the first inputs off the edge: they are cropped. Shapes and arguments are those of
    `conv_transpose_kernel_matrix`.

    >>> import torch
    >>> x, w = torch.tensor([[[1, 2]]]), torch.tensor([[[1, 10, 100]]])
    >>> conv_transpose_zero_insertion(x, w, stride=2)  # convolves [0, 0, 1, 0, 2, 0, 0]
    tensor([[[  1,  10, 102,  20, 200]]])

    Raises `ArgumentError` or `ArgumentTypeError` for shapes and arguments that do not fit.
    """
    spec = _spec(x, w, b, stride, padding, output_padding, groups, dilation)
    inputs = batched(x, spec)
    size = tuple(axis.input_size + axis.span - 1 for axis in spec.axes)
    spread = x.new_zeros(spec.batch, spec.out_channels, *size)
    for q in positions(spec.output_size):
        at = tuple(
            position * axis.stride + axis.span - 1 - axis.padding[0]
            for position, axis in zip(q, spec.axes, strict=True)
        )
        if all(0 <= a < n for a, n in zip(at, size, strict=True)):
            spread[:, :, *at] = inputs[:, :, *q]
    y = conv(spread, flipped_and_swapped(w, groups), dilation=spec.dilation, groups=groups)
    return finished(y, b, x)


def conv_transpose_scatter(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Transposed convolution as stamping: each input value adds its filter to the output.

    Stamps land on a canvas that is large enough for all of them, every d-th position from q·s on;
    padding then says how much of the canvas is cut off. Shapes and arguments are those of
    `conv_transpose_kernel_matrix`.

    >>> import torch
    >>> x, w = torch.tensor([[[1, 2]]]), torch.tensor([[[1, 10, 100]]])
    >>> conv_transpose_scatter(x, w, stride=2)  # [1, 10, 100, 0, 0] + [0, 0, 2, 20, 200]
    tensor([[[  1,  10, 102,  20, 200]]])

    Raises `ArgumentError` or `ArgumentTypeError` for shapes and arguments that do not fit.
    """
    spec = _spec(x, w, b, stride, padding, output_padding, groups, dilation)
    inputs = batched(x, spec)
    size = tuple(max(a.padded_size, a.padding[0] + a.input_size) for a in spec.axes)
    canvas = x.new_zeros(spec.batch, spec.in_channels, *size)
    for o, c in channel_groups(spec):
        for q in positions(spec.output_size):
            under = (
                slice(position * a.stride, position * a.stride + a.span, a.dilation)
                for position, a in zip(q, spec.axes, strict=True)
            )
            stamp = torch.tensordot(inputs[:, o, *q], w[o], dims=1)  # [N, O/G, K…]
            canvas[:, c, *under] += stamp
    kept = (slice(a.padding[0], a.padding[0] + a.input_size) for a in spec.axes)
    return finished(canvas[:, :, *kept], b, x)


def flipped_and_swapped(w: Tensor, groups: int) -> Tensor:
    """[C, O/G, K…] turned into [O, C/G, K…] with every spatial axis reversed.

    >>> import torch
    >>> flipped_and_swapped(torch.tensor([[[1, 2, 3]], [[4, 5, 6]]]), groups=1)
    tensor([[[3, 2, 1],
             [6, 5, 4]]])
    """
    channels, group_outputs, *kernel = w.shape
    swapped = w.reshape(groups, channels // groups, group_outputs, *kernel).transpose(1, 2)
    spatial = list(range(2, w.dim()))
    return swapped.reshape(groups * group_outputs, channels // groups, *kernel).flip(spatial)


def _spec(
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> ConvSpec:
    dtype, device = checked("conv_transpose", {"input": x, "weight": w}, {"bias": b})
    return conv_transpose_spec(
        x.shape, w.shape, None if b is None else b.shape, dims=spatial_dims(w), stride=stride,
        padding=padding, output_padding=output_padding, groups=groups, dilation=dilation,
        dtype=dtype, device=device,
    )  # fmt: skip
