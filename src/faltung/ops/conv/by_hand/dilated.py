"""Dilated (à trous) convolution: the taps of the filter stand d positions apart.

    y[q] = Σ_t w[t] · x[q·s − low + t·d]     is     y[q] = Σ_u v[u] · x[q·s − low + u]

with v the weight with d − 1 zeros, the "holes", between its taps: v[t·d] = w[t]. For d = 2 a 3×3
filter reads x[0:5:2, 0:5:2], for d = 3 x[0:7:3, 0:7:3]. It spans d·(K−1) + 1 positions and still
has K taps: the receptive field grows and the cost does not. Fast routines skip the holes; this
page multiplies by their zeros to show that both are one operator.

Use it to see far without pooling: semantic segmentation, WaveNet. A stack with one common d reads a
grid with gaps; growing dilations (1, 2, 4, …) fill them.

Source: Yu and Koltun, "Multi-Scale Context Aggregation by Dilated Convolutions", arXiv 1511.07122,
section 2.
"""

from typing import Any

from torch import Tensor

from ...arguments import integers
from ...geometry import window_span
from .definition import conv, spatial_dims


def dilate_weight(w: Tensor, dilation: Any) -> Tensor:
    """The weight with dilation − 1 zeros between neighbouring taps.

    w [O, C/G, K…] -> [O, C/G, d·(K−1) + 1…].

    >>> import torch
    >>> dilate_weight(torch.tensor([[[1, 2, 3]]]), 2)
    tensor([[[1, 0, 2, 0, 3]]])

    Raises `ArgumentError` for a dilation below 1 or of the wrong length.
    """
    dims = spatial_dims(w)
    steps = integers(dilation, dims, "dilation", minimum=1)
    span = (window_span(k, d) for k, d in zip(w.shape[2:], steps, strict=True))
    stuffed = w.new_zeros(*w.shape[:2], *span)
    stuffed[:, :, *(slice(None, None, d) for d in steps)] = w
    return stuffed


def conv_dilated(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
) -> Tensor:
    """Dilated convolution as an ordinary one with holes in the weight, in 1-D to 3-D.

    x [N, C, in…] or [C, in…], w [O, C, K…], b [O] -> y [N, O, out…] or [O, out…]. The same as
    `F.conv2d(x, w, b, stride, padding, dilation)`.

    >>> import torch
    >>> conv_dilated(torch.tensor([[1, 2, 3, 4, 5, 6]]), torch.tensor([[[1, 10]]]), dilation=3)
    tensor([[41, 52, 63]])

    Raises `ArgumentError` or `ArgumentTypeError` for shapes and arguments that do not fit.
    """
    return conv(x, dilate_weight(w, dilation), b, stride, padding)
