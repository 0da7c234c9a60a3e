"""The well-known filters that the scenes use, as weights [O, C/G, K…]."""

import torch
from torch import Tensor

# the difference of neighbours across, a weighted mean along: Sobel and Feldman, 1968
SOBEL_X = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
SOBEL_Y = SOBEL_X.T.contiguous()
LAPLACE = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])

# the tone of an old print: each output colour is a mix of all three
SEPIA = torch.tensor([[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]])


def stacked(*filters: Tensor) -> Tensor:
    """2-D filters as output channels that each read one channel: [len(filters), 1, K, K]."""
    return torch.stack(filters)[:, None]


def gauss(size: int, deviation: float) -> Tensor:
    """A Gaussian bell [size, size] that sums to one."""
    x = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    bell = torch.exp(-(x**2) / (2 * deviation**2))
    bell = bell / bell.sum()
    return torch.outer(bell, bell).float()
