"""A large kernel with a small branch: the sum, and the merged layer with the same result."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from faltung.errors import ArgumentError
from faltung.nn import Conv2d, LargeKernelConv2d


@pytest.mark.parametrize(
    ("kernel", "small"), [(31, 5), (13, 3), ((51, 5), 5), (8, 3), (7, 4), (6, 2), (5, 5), (3, 1)]
)
@pytest.mark.parametrize("bias", [True, False])
def test_merging_changes_nothing(
    kernel: Any, small: Any, bias: bool, whole: Callable[..., Tensor]
) -> None:
    layer = LargeKernelConv2d(3, kernel, small, bias=bias, dtype=torch.float64)
    for parameter in layer.parameters():
        parameter.data = whole(*parameter.shape)
    x = whole(2, 3, 20, 17)
    y = layer(x)
    assert y.shape == x.shape
    merged = layer.merge()
    assert type(merged) is Conv2d and merged.groups == 3
    assert torch.equal(merged(x), y)
    total = F.conv2d(
        F.pad(x, _same(layer.kernel_size)), layer.large.weight, layer.large.bias, groups=3
    ) + F.conv2d(F.pad(x, _same(layer.small_kernel)), layer.small.weight, groups=3)
    assert torch.equal(y, total)


def _same(kernel: tuple[int, int]) -> list[int]:
    (top, left) = ((k - 1) // 2 for k in kernel)
    return [left, kernel[1] - 1 - left, top, kernel[0] - 1 - top]


def test_merged_layer_is_apart() -> None:
    layer = LargeKernelConv2d(2, 7).eval()
    merged = layer.merge()
    merged.weight.data.zero_()
    assert layer.large.weight.abs().sum() > 0
    assert not merged.training


def test_trains_both_branches() -> None:
    layer = LargeKernelConv2d(2, 7, 3)
    layer(torch.ones(1, 2, 9, 9)).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in layer.parameters())


def test_small_kernel_that_is_larger() -> None:
    with pytest.raises(ArgumentError, match=r"small_kernel \(5, 5\) must not exceed .* \(3, 9\)"):
        LargeKernelConv2d(2, (3, 9), 5)
