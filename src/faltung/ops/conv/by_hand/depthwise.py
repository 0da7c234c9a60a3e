"""Depthwise convolution: every channel has filters of its own and sees no other channel.

    y[n, o, q] = b[o] + Σ_t w[o, 0, t] · x[n, ⌊o·C/O⌋, q·s − low + t·d]

It is the grouped convolution with one group per channel. "Depthwise" says what is looked at: one
layer of depth at a time, and within it the neighbourhood. With O = C each channel has one filter;
with O = m·C it has m, and m is called the channel multiplier.

Use it where width and height should mix cheaply: with O = C it costs C times less than a full one.
It does little work per number loaded, so memory, not arithmetic, decides its speed.

Source: Sifre, "Rigid-Motion Scattering for Image Classification", 2014, section 6.2; Howard et al.,
"MobileNets", arXiv 1704.04861, section 3.1.
"""

from typing import Any

from torch import Tensor

from .definition import batched, channels_of, finished, index_map, spatial_dims, spec_of


def depthwise(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
) -> Tensor:
    """Depthwise convolution, all channels side by side, in 1-D to 3-D.

    x [N, C, in…] or [C, in…], w [m·C, 1, K…], b [m·C] -> y [N, m·C, out…] or [m·C, out…]. The same
    as `F.conv2d(x, w, b, stride, padding, dilation, groups=C)`.

    >>> import torch
    >>> x = torch.tensor([[1, 2, 3], [4, 5, 6]])
    >>> depthwise(x, torch.tensor([[[1, 1]], [[1, -1]]]))
    tensor([[ 3,  5],
            [-1, -1]])

    Raises `ArgumentError` or `ArgumentTypeError` for shapes and arguments that do not fit.
    """
    channels = channels_of(x, spatial_dims(w))
    spec = spec_of(x, w, b, stride, padding, dilation, groups=channels)
    multiplier = spec.out_channels // channels
    read = batched(x, spec).repeat_interleave(multiplier, dim=1)  # what each filter looks at
    y = x.new_zeros(spec.y_shape)
    for q, t, i in index_map(spec):
        y[:, :, *q] += w[:, 0, *t] * read[:, :, *i]  # a product per channel, no sum over channels
    return finished(y, b, x)
