"""Depthwise-separable convolution as a module."""

from typing import Any

from torch import Tensor, nn

from ..conv.modules import Conv2d
from .api import depthwise_separable_conv2d


class DepthwiseSeparableConv2d(nn.Module):
    """A depthwise 3×3 (by default) then a pointwise 1×1: [N, C, H, W] to [N, O, H', W'].

    Same as `nn.Sequential(nn.Conv2d(C, C, kernel_size, stride, padding, dilation, groups=C),
    nn.Conv2d(C, O, 1))`; the two are the submodules `depthwise` and `pointwise`. It has
    C·K² + C·O weights where the dense layer has C·O·K².

    >>> import torch
    >>> layer = DepthwiseSeparableConv2d(64, 128)
    >>> layer(torch.ones(1, 64, 32, 32)).shape
    torch.Size([1, 128, 32, 32])
    >>> sum(p.numel() for p in layer.parameters())  # 64·9 + 64 + 64·128 + 128
    8960

    Raises `ArgumentError` or `ArgumentTypeError` when called on an input that does not fit.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any = 3,
        stride: Any = 1,
        padding: Any = 1,
        dilation: Any = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        *,
        activation: str | None = None,
        algorithm: str | None = None,
    ) -> None:
        super().__init__()
        self.depthwise = Conv2d(
            in_channels, in_channels, kernel_size, stride, padding, dilation, in_channels, bias,
            padding_mode, device, dtype,
        )  # fmt: skip
        self.pointwise = Conv2d(in_channels, out_channels, 1, bias=bias, device=device, dtype=dtype)
        self.activation, self.algorithm = activation, algorithm

    def forward(self, input: Tensor) -> Tensor:
        """Depthwise, then pointwise."""
        first, second = self.depthwise, self.pointwise
        return depthwise_separable_conv2d(
            input, first.weight, second.weight, first.bias, second.bias, first.stride,
            first.padding, first.dilation, padding_mode=first.padding_mode,
            activation=self.activation, algorithm=self.algorithm,
        )  # fmt: skip
