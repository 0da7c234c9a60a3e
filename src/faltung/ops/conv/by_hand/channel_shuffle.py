"""Channel shuffle: deal the channels of G groups out like cards, so that groups mix.

    y[n, j·G + g] = x[n, g·C/G + j]          g = 0 … G−1,  j = 0 … C/G−1

Write the channel numbers as a table of G rows, read it by columns. The next grouped convolution
then finds in each of its groups channels from every group before. It moves numbers and computes
nothing.

Use it between two grouped convolutions, in place of a 1×1 convolution that costs C² a point.

Source: Zhang, Zhou, Lin and Sun, "ShuffleNet", arXiv 1707.01083, section 3.1.
"""

from torch import Tensor

from ....errors import ArgumentError
from ...arguments import integer


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """The channels of x, dealt out over `groups`.

    x [N, C, …] -> the same shape. The same as `torch.nn.ChannelShuffle(groups)(x)`; shuffling with
    C/groups undoes it.

    >>> import torch
    >>> channel_shuffle(torch.arange(6).reshape(1, 6, 1), groups=2).flatten()
    tensor([0, 3, 1, 4, 2, 5])

    Raises `ArgumentError` where `groups` does not divide the channels.
    """
    if x.dim() < 3:
        raise ArgumentError(f"x must have at least 3 dimensions (N, C, …), got {x.dim()}")
    n, channels, *size = x.shape
    groups = integer(groups, "groups")
    if groups < 1 or channels % groups:
        raise ArgumentError(f"groups={groups} does not divide the {channels} channels of x")
    table = x.reshape(n, groups, channels // groups, *size)  # one row per group
    return table.transpose(1, 2).reshape(n, channels, *size)
