"""`Unfold` and `Fold`: the functions as Modules, drop-in for PyTorch's of the same names."""

from typing import Any

import torch
from torch import Tensor

from ..arguments import padding_mode as checked_mode
from .api import fold, unfold


class Unfold(torch.nn.Unfold):
    """`torch.nn.Unfold`, also in 1-D and 3-D, with every padding mode and unequal padding.

    (N, C, in…) -> (N, C·∏K, L), or without N both; arguments as in `unfold`.

    >>> Unfold((2, 3))(torch.zeros(2, 5, 3, 4)).shape
    torch.Size([2, 30, 4])
    """

    def __init__(
        self,
        kernel_size: Any,
        dilation: Any = 1,
        padding: Any = 0,
        stride: Any = 1,
        *,
        padding_mode: str = "zeros",
    ) -> None:
        super().__init__(kernel_size, dilation, padding, stride)
        self.padding_mode = checked_mode(padding_mode)

    def forward(self, input: Tensor) -> Tensor:
        """The columns of the input."""
        return unfold(
            input, self.kernel_size, self.dilation, self.padding, self.stride,
            padding_mode=self.padding_mode,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """PyTorch's line, and the padding mode where it is not zeros."""
        mode = f", padding_mode={self.padding_mode}" if self.padding_mode != "zeros" else ""
        return super().extra_repr() + mode


class Fold(torch.nn.Fold):
    """`torch.nn.Fold`, also in 1-D and 3-D, with unequal padding.

    (N, C·∏K, L) -> (N, C, out…), or without N both; arguments as in `fold`.

    >>> Fold((3, 4), (2, 3))(torch.zeros(2, 30, 4)).shape
    torch.Size([2, 5, 3, 4])
    """

    def forward(self, input: Tensor) -> Tensor:
        """The image that the columns add up to."""
        return fold(
            input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride
        )
