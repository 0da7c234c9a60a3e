"""`DeformConv2d`: deformable convolution as a Module, drop-in for torchvision's."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ArgumentError
from ..arguments import integer, integers, padding_pairs
from .api import deform_conv2d


class DeformConv2d(nn.Module):
    """`torchvision.ops.DeformConv2d`: owns weight and bias, is given offsets and mask.

    `weight` (O, C/groups, KH, KW) and `bias` (O,) start as those of `torch.nn.Conv2d`, so a state
    dictionary moves between the three. Offsets usually come from a convolution of their own with
    2·KH·KW output channels that starts at zero.

    >>> layer = DeformConv2d(4, 6, 3, padding=1)
    >>> layer
    DeformConv2d(4, 6, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
    >>> layer(torch.zeros(2, 4, 5, 7), torch.zeros(2, 18, 5, 7)).shape
    torch.Size([2, 6, 5, 7])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        call = "DeformConv2d"
        self.in_channels = integer(in_channels, f"{call}: in_channels")
        self.out_channels = integer(out_channels, f"{call}: out_channels")
        self.groups = integer(groups, f"{call}: groups")
        counts = (self.in_channels, self.out_channels, self.groups)
        if min(counts) < 1 or self.in_channels % self.groups or self.out_channels % self.groups:
            raise ArgumentError(
                f"{call}: groups={groups} must be at least 1 and divide both "
                f"in_channels={in_channels} and out_channels={out_channels}"
            )
        self.kernel_size = integers(kernel_size, 2, f"{call}: kernel_size", minimum=1)
        self.stride = integers(stride, 2, f"{call}: stride", minimum=1)
        self.padding = _canonical(padding_pairs(padding, 2, f"{call}: padding"))
        self.dilation = integers(dilation, 2, f"{call}: dilation", minimum=1)
        group_channels = self.in_channels // self.groups
        shape = (self.out_channels, group_channels, *self.kernel_size)
        self.weight = nn.Parameter(torch.empty(shape))
        if bias:
            self.bias: nn.Parameter | None = nn.Parameter(torch.empty(self.out_channels))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias as PyTorch's convolutions do: uniform in ±1/√(C/groups·KH·KW)."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.weight[0].numel())
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor, offset: Tensor, mask: Tensor | None = None) -> Tensor:
        """The deformable convolution of the input; shapes as in `deform_conv2d`."""
        return deform_conv2d(
            input, offset, self.weight, self.bias, self.stride, self.padding, self.dilation, mask
        )

    def extra_repr(self) -> str:
        """What differs from the defaults, as torchvision prints it."""
        words = [str(self.in_channels), str(self.out_channels)]
        words += [f"kernel_size={self.kernel_size}", f"stride={self.stride}"]
        for name, default in (("padding", (0, 0)), ("dilation", (1, 1)), ("groups", 1)):
            if getattr(self, name) != default:
                words.append(f"{name}={getattr(self, name)}")
        return ", ".join(words if self.bias is not None else [*words, "bias=False"])


def _canonical(padding: str | tuple[tuple[int, int], ...]) -> str | tuple[Any, ...]:
    """As PyTorch writes it where it can: (1, 2), not ((1, 1), (2, 2))."""
    if isinstance(padding, str):
        return padding
    return tuple(low if low == high else (low, high) for low, high in padding)
