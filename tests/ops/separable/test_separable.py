"""Depthwise-separable convolution as function and module: row 15 of the text."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from faltung.errors import ArgumentError, ArgumentTypeError
from faltung.functional import depthwise_separable_conv2d
from faltung.nn import Conv2d, DepthwiseSeparableConv2d


def test_is_two_convolutions(whole: Callable[..., Tensor]) -> None:
    x, d, p = whole(2, 4, 9, 8), whole(8, 1, 3, 2), whole(5, 8, 1, 1)
    db, pb = whole(8), whole(5)
    y = depthwise_separable_conv2d(x, d, p, db, pb, 2, (1, 0), 2)
    assert torch.equal(y, F.conv2d(F.conv2d(x, d, db, 2, (1, 0), 2, 4), p, pb))
    assert torch.equal(depthwise_separable_conv2d(x[1], d, p, db, pb, 2, (1, 0), 2), y[1])
    relu = depthwise_separable_conv2d(x, d, p, db, pb, 2, (1, 0), 2, activation="relu")
    assert torch.equal(relu, y.relu())


def test_the_texts_module() -> None:
    layer = DepthwiseSeparableConv2d(64, 128)
    x = torch.randn(1, 64, 32, 32)
    y = layer(x)
    assert y.shape == (1, 128, 32, 32)
    assert set(layer.state_dict()) == {
        "depthwise.weight", "depthwise.bias", "pointwise.weight", "pointwise.bias",
    }  # fmt: skip
    assert torch.equal(y, layer.pointwise(layer.depthwise(x)))
    weights = sum(p.numel() for p in layer.parameters() if p.dim() == 4)
    dense = Conv2d(64, 128, 3).weight.numel()
    assert (weights, dense) == (64 * 9 + 64 * 128, 64 * 128 * 9)
    y.sum().backward()
    assert all(p.grad is not None for p in layer.parameters())


def test_module_arguments() -> None:
    layer = DepthwiseSeparableConv2d(
        4, 6, (5, 3), 2, "same", bias=False, padding_mode="circular", activation="silu"
    )
    y = layer(torch.randn(1, 4, 9, 10))
    assert y.shape == (1, 6, 5, 5)
    assert len(list(layer.parameters())) == 2


def test_mistakes() -> None:
    x, d, p = torch.ones(1, 4, 5, 5), torch.ones(4, 1, 3, 3), torch.ones(2, 4, 1, 1)
    with pytest.raises(
        ArgumentError, match=r"pointwise_weight must be \[O, C, 1, 1\], got \(2, 4, 3, 3\)"
    ):
        depthwise_separable_conv2d(x, d, torch.ones(2, 4, 3, 3))
    with pytest.raises(ArgumentError, match="input has 4 channels but weight"):
        depthwise_separable_conv2d(x, d, torch.ones(2, 5, 1, 1))
    with pytest.raises(
        ArgumentError, match=r"input must be \[N, C, H, W\] or \[C, H, W\], got 2-D"
    ):
        depthwise_separable_conv2d(x[0, 0], d, p)
    with pytest.raises(ArgumentTypeError, match="depthwise_weight must be a tensor, got list"):
        depthwise_separable_conv2d(x, [1], p)  # type: ignore[arg-type]
