"""A large depthwise convolution trained as two parallel branches and merged into one.

    y = large(x) + small(x) = merged(x),     merged = large + small padded to the large size

The small branch catches local detail that a large kernel alone learns badly; after training both
are one convolution. Source: Ding et al., "Scaling Up Your Kernels to 31x31", arXiv 2203.06717,
section 3.1, guideline 3.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import ArgumentError
from ..arguments import integers
from ..geometry import same_padding
from .modules import Conv2d


class LargeKernelConv2d(nn.Module):
    """Depthwise 2-D convolution with a large kernel and a small one beside it; the size is kept.

    Shapes: [N, C, H, W] or [C, H, W] to the same shape. `kernel_size` and `small_kernel` are an
    integer or one per axis; every size is taken, odd or even, `small_kernel` at most `kernel_size`.

    Same as the sum of two `torch.nn.Conv2d(C, C, k, padding="same", groups=C)`, of which the first
    has the bias.

    >>> layer = LargeKernelConv2d(8, 31)
    >>> layer(torch.ones(1, 8, 20, 24)).shape, layer.merge().weight.shape
    (torch.Size([1, 8, 20, 24]), torch.Size([8, 1, 31, 31]))

    Raises `ArgumentError` if the small kernel is larger than the large one.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: Any,
        small_kernel: Any = 5,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        sizes = integers(kernel_size, 2, "LargeKernelConv2d: kernel_size", minimum=1)
        small = integers(small_kernel, 2, "LargeKernelConv2d: small_kernel", minimum=1)
        if any(s > k for s, k in zip(small, sizes, strict=True)):
            raise ArgumentError(
                f"LargeKernelConv2d: small_kernel {small} must not exceed kernel_size {sizes}"
            )
        self.channels, self.kernel_size, self.small_kernel = channels, sizes, small
        self.large = _depthwise(channels, sizes, bias, device, dtype)
        self.small = _depthwise(channels, small, False, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        """The sum of both branches."""
        y: Tensor = self.large(input) + self.small(input)
        return y

    def merge(self) -> Conv2d:
        """One depthwise `Conv2d` with the same result and parameters of its own."""
        weight = self.large.weight
        merged = _depthwise(
            self.channels,
            self.kernel_size,
            self.large.bias is not None,
            weight.device,
            weight.dtype,
        )
        with torch.no_grad():
            merged.weight.copy_(weight + F.pad(self.small.weight, self._offsets()))
            if merged.bias is not None and self.large.bias is not None:
                merged.bias.copy_(self.large.bias)
        return merged.train(self.training)

    def _offsets(self) -> list[int]:
        """Zeros around the small weight that put its centre on the large one's."""
        ends = []
        for large, small in zip(self.kernel_size, self.small_kernel, strict=True):
            # on an input at least as long as the window, `same` pads by the kernel size alone
            outer = same_padding(large, large, 1, 1, lower=False)
            inner = same_padding(small, small, 1, 1, lower=False)
            ends.append([outer[0] - inner[0], outer[1] - inner[1]])
        return [*ends[1], *ends[0]]

    def extra_repr(self) -> str:
        """The arguments, as given."""
        return f"{self.channels}, kernel_size={self.kernel_size}, small_kernel={self.small_kernel}"


def _depthwise(channels: int, size: Any, bias: bool, device: Any, dtype: Any) -> Conv2d:
    return Conv2d(
        channels, channels, size, padding="same", groups=channels, bias=bias, device=device,
        dtype=dtype,
    )  # fmt: skip
