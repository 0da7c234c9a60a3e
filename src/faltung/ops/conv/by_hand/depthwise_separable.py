"""Depthwise-separable convolution: first each channel in space, then all channels at each point.

    z[n, c, q] = Σ_t depthwise[c, 0, t] · x[n, c, q·s − low + t·d]          space
    y[n, o, q] = Σ_c pointwise[o, c] · z[n, c, q]                           channels

A full convolution looks at space and channels at once and needs O · C · ∏K weights. Looking at one
after the other needs C · ∏K + O · C, about 1/O + 1/∏K of it: for 3×3 and many channels, an eighth
to a ninth. The price: the filters of all outputs share the same C spatial patterns.

Use it where parameters and work are scarce: MobileNet, Xception, EfficientNet.

Source: Chollet, "Xception", arXiv 1610.02357, section 1; Howard et al., "MobileNets",
arXiv 1704.04861, section 3.1.
"""

from typing import Any

from torch import Tensor

from ....errors import ArgumentError
from .definition import channels_of, conv, spatial_dims


def depthwise_separable(
    x: Tensor,
    depthwise_weight: Tensor,
    pointwise_weight: Tensor,
    depthwise_bias: Tensor | None = None,
    pointwise_bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
) -> Tensor:
    """A depthwise convolution followed by a pointwise one, in 1-D to 3-D.

    x [N, C, in…] or [C, in…], depthwise weight [m·C, 1, K…] and bias [m·C], pointwise weight
    [O, m·C, 1…] and bias [O] -> y [N, O, out…] or [O, out…]. The same as
    `F.conv2d(F.conv2d(x, dw, db, stride, padding, dilation, groups=C), pw, pb)`.

    >>> import torch
    >>> x = torch.tensor([[1, 2, 3], [4, 5, 6]])
    >>> depthwise_separable(x, torch.tensor([[[1, 1]], [[1, -1]]]), torch.tensor([[[1], [100]]]))
    tensor([[-97, -95]])

    Raises `ArgumentError` for a pointwise kernel size other than 1 and for shapes and arguments
    that do not fit.
    """
    if any(k != 1 for k in pointwise_weight.shape[2:]):
        raise ArgumentError(
            f"a pointwise weight has kernel size 1, got {tuple(pointwise_weight.shape[2:])}"
        )
    channels = channels_of(x, spatial_dims(depthwise_weight))
    z = conv(x, depthwise_weight, depthwise_bias, stride, padding, dilation, groups=channels)
    return conv(z, pointwise_weight, pointwise_bias)
