"""Convolution as a window that slides over the picture: the first thing to write by hand.

    y[n, o, h, w] = b[o] + Σ_{c, i, j} weight[o, c, i, j] · x[n, c, h·s + i − p, w·s + j − p]

Cut the region under the window out of the (zero-padded) picture, multiply it element by element
with the weight, add everything up, add the bias, and move the window on: along the row, then to
the next row, the way the letter Z is drawn. The sum is an inner product, so it measures how much
the region looks like the filter.

Use it to see what a convolution is. It is the slowest way there is: N · O · ∏out Python steps.

Source: Goodfellow, Bengio and Courville, "Deep Learning", section 9.1, figure 9.1.
"""

from typing import Any

from torch import Tensor

from ....errors import ArgumentError
from .definition import batched, spec_of, zero_padded


def conv2d_sliding_window(
    x: Tensor, w: Tensor, b: Tensor | None = None, stride: Any = 1, padding: Any = 0
) -> Tensor:
    """2-D convolution, one window at a time.

    x [N, C, H, W] or [C, H, W], w [O, C, KH, KW], b [O] -> y [N, O, out, out] or [O, out, out].
    The same as `F.conv2d(x, w, b, stride, padding)`.

    >>> import torch
    >>> x = torch.arange(16).reshape(1, 4, 4)
    >>> conv2d_sliding_window(x, torch.ones(1, 1, 3, 3, dtype=torch.int64))
    tensor([[[45, 54],
             [81, 90]]])

    Raises `ArgumentError` for a weight that is not 2-D and for shapes that do not fit.
    """
    if w.dim() != 4:
        raise ArgumentError(f"weight must be [O, C, KH, KW], got {w.dim()} dimensions")
    spec = spec_of(x, w, b, stride, padding)
    padded = zero_padded(batched(x, spec), spec.padding)
    (rows, columns), (kh, kw), (sh, sw) = spec.output_size, spec.kernel_size, spec.stride
    y = x.new_zeros(spec.y_shape)
    for n in range(spec.batch):
        for o in range(spec.out_channels):
            bias = 0 if b is None else b[o]
            for row in range(rows):
                for column in range(columns):
                    top, left = row * sh, column * sw
                    region = padded[n, :, top : top + kh, left : left + kw]
                    y[n, o, row, column] = (region * w[o]).sum() + bias
    return y if x.dim() == 4 else y.squeeze(0)
