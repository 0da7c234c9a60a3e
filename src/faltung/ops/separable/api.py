"""Depthwise-separable convolution: look at each channel by itself, then mix them point by point.

    z[n, c, q] = b'[c] + Σ_t w'[c, t] · x[n, c, q·s − low + t·d]
    y[n, o, q] = b[o]  + Σ_c w[o, c] · z[n, c, q]

Source: Howard et al., "MobileNets", arXiv 1704.04861, section 3.1.
"""

from typing import Any

from torch import Tensor

from ...errors import ArgumentError
from ..conv.api import conv2d
from ..operands import checked


def depthwise_separable_conv2d(
    input: Tensor,
    depthwise_weight: Tensor,
    pointwise_weight: Tensor,
    depthwise_bias: Tensor | None = None,
    pointwise_bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    *,
    padding_mode: str = "zeros",
    activation: str | None = None,
    algorithm: str | None = None,
) -> Tensor:
    """Depthwise then pointwise: input [N, C, H, W] or [C, H, W] to [N, O, …].

    `depthwise_weight` is [C·m, 1, KH, KW], m filters a channel; `pointwise_weight` [O, C·m, 1, 1].
    Stride, padding and dilation belong to the depthwise step. `activation` comes after both.

    Same as `F.conv2d(F.conv2d(input, depthwise_weight, depthwise_bias, stride, padding, dilation,
    groups=C), pointwise_weight, pointwise_bias)`.

    >>> import torch
    >>> x = torch.ones(1, 64, 32, 32)
    >>> depthwise_separable_conv2d(
    ...     x, torch.ones(64, 1, 3, 3), torch.ones(128, 64, 1, 1), padding=1
    ... ).shape
    torch.Size([1, 128, 32, 32])

    Raises what `conv2d` raises, and `ArgumentError` if the pointwise weight is not 1×1.
    """
    call = "depthwise_separable_conv2d"
    required = {
        "input": input, "depthwise_weight": depthwise_weight, "pointwise_weight": pointwise_weight,
    }  # fmt: skip
    checked(call, required, {"depthwise_bias": depthwise_bias, "pointwise_bias": pointwise_bias})
    if input.dim() not in (3, 4):
        raise ArgumentError(f"{call}: input must be [N, C, H, W] or [C, H, W], got {input.dim()}-D")
    if pointwise_weight.dim() != 4 or pointwise_weight.shape[2:] != (1, 1):
        raise ArgumentError(
            f"{call}: pointwise_weight must be [O, C, 1, 1], got {tuple(pointwise_weight.shape)}"
        )
    middle = conv2d(
        input, depthwise_weight, depthwise_bias, stride, padding, dilation, input.shape[-3],
        padding_mode=padding_mode, algorithm=algorithm,
    )  # fmt: skip
    return conv2d(
        middle, pointwise_weight, pointwise_bias, activation=activation, algorithm=algorithm
    )
