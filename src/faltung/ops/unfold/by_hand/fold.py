"""Fold: every value of a column is added back to the place it came from.

    x[n, c, i] = Σ of c[n, (c, t), q] over all (q, t) with q·s − low + t·d = i

The adjoint of unfold, not its inverse: a position that several windows see receives several values,
so fold(unfold(x)) is x times the number of windows over each position, and a position that none
sees is zero. Folding what a transposed weight makes of every input is transposed convolution.

Source: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning",
arXiv 1603.07285, section 4.1.
"""

import itertools
from typing import Any

from torch import Tensor

from ..arguments import fold_spec


def fold(
    columns: Tensor,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
    padding_mode: str = "zeros",
) -> Tensor:
    """Columns (N, C·∏K, L) or (C·∏K, L) -> (N, C, out…) or (C, out…); `F.fold` in loops.

    With another `padding_mode` than zeros, what lies in the padding is added to the position that
    the mode copied there.

    >>> import torch
    >>> fold(torch.ones(1, 6, 4), (3, 4), (2, 3))
    tensor([[[[1., 2., 2., 1.],
              [2., 4., 4., 2.],
              [1., 2., 2., 1.]]]])
    """
    spec = fold_spec(
        columns.shape, output_size, kernel_size, dilation, padding, stride, mode=padding_mode
    )
    batched = columns.reshape(spec.columns_shape)
    image = columns.new_zeros(spec.image_shape)
    taps = list(itertools.product(*map(range, spec.kernel_size)))
    for n in range(spec.batch):
        for row, (c, t) in enumerate(itertools.product(range(spec.channels), taps)):
            for column, q in enumerate(itertools.product(*map(range, spec.output_size))):
                i = spec.source(q, t)
                if i is not None:
                    image[(n, c, *i)] += batched[n, row, column]
    return image if columns.dim() == 3 else image[0]
