"""Unfold: every window of the image, laid out as a column.

    c[n, (c, t), q] = x[n, c, q·s − low + t·d]

A column holds what one window sees: channel after channel, each tap in row-major order; the columns
follow the window as it slides in Z order. Nothing is computed, values are only copied, so a
convolution is a matrix product with these columns (im2col).

Source: Chellapilla, Puri and Simard, "High Performance Convolutional Neural Networks for Document
Processing", 2006, section 2.1.
"""

import itertools
from typing import Any

from torch import Tensor

from ..arguments import unfold_spec


def unfold(
    x: Tensor,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
    padding_mode: str = "zeros",
) -> Tensor:
    """x (N, C, in…) or (C, in…) -> columns (N, C·∏K, L) or (C·∏K, L); `F.unfold` in loops.

    >>> import torch
    >>> unfold(torch.arange(12.0).reshape(1, 1, 3, 4), (2, 3))
    tensor([[[ 0.,  1.,  4.,  5.],
             [ 1.,  2.,  5.,  6.],
             [ 2.,  3.,  6.,  7.],
             [ 4.,  5.,  8.,  9.],
             [ 5.,  6.,  9., 10.],
             [ 6.,  7., 10., 11.]]])
    """
    spec = unfold_spec(x.shape, kernel_size, dilation, padding, stride, mode=padding_mode)
    image = x.reshape(spec.image_shape)
    columns = x.new_zeros(spec.columns_shape)
    taps = list(itertools.product(*map(range, spec.kernel_size)))
    for n in range(spec.batch):
        for column, q in enumerate(itertools.product(*map(range, spec.output_size))):
            for row, (c, t) in enumerate(itertools.product(range(spec.channels), taps)):
                i = spec.source(q, t)
                if i is not None:
                    columns[n, row, column] = image[(n, c, *i)]
    return columns if x.dim() == spec.dims + 2 else columns[0]
