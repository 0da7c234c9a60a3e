"""Grouped convolution: the channels are split into G groups that never see each other.

    y[n, o, q] = b[o] + Σ_{c < C/G, t} w[o, c, t] · x[n, g·C/G + c, q·s − low + t·d],  g = ⌊o·G/O⌋

Cut the input's channels, the filters and the bias into G equal parts, convolve each part apart, and
put the outputs side by side. Parameters and multiplications fall by a factor G; the number of
filters and every spatial size stay. G = 1 is the ordinary convolution, G = C the depthwise one.

Use it to make a layer G times cheaper. Channels of different groups no longer mix, so it is
followed by a 1×1 convolution or by a channel shuffle.

Source: Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural
Networks", 2012, section 3.5 (a net split over two devices); Xie et al., "Aggregated Residual
Transformations for Deep Neural Networks", arXiv 1611.05431, section 3.
"""

from typing import Any

import torch
from torch import Tensor

from .definition import channel_groups, conv, spec_of


def grouped(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Grouped convolution as `groups` ordinary ones, in 1-D to 3-D.

    x [N, C, in…] or [C, in…], w [O, C/groups, K…], b [O] -> y [N, O, out…] or [O, out…]. The same
    as `F.conv2d(x, w, b, stride, padding, dilation, groups)`.

    >>> import torch
    >>> x = torch.tensor([[1, 2], [3, 4]])  # two channels, two positions
    >>> w = torch.tensor([[[1]], [[10]], [[1]], [[10]]])  # four filters of one channel each
    >>> grouped(x, w, groups=2)
    tensor([[ 1,  2],
            [10, 20],
            [ 3,  4],
            [30, 40]])

    Raises `ArgumentError` where `groups` does not divide both O and C, and for all else that
    `conv` refuses.
    """
    spec = spec_of(x, w, b, stride, padding, dilation, groups)
    channel_axis = x.dim() - spec.dims - 1
    outputs = []
    for o, c in channel_groups(spec):
        part = x.narrow(channel_axis, c.start, c.stop - c.start)
        bias = None if b is None else b[o]
        outputs.append(conv(part, w[o], bias, stride, padding, dilation))
    return torch.cat(outputs, dim=channel_axis)
