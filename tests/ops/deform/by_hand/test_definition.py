import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from faltung.ops.deform.by_hand.definition import deform_conv2d, sample

IMAGE = torch.tensor([[0.0, 8.0, 2.0], [4.0, 2.0, 6.0]])


def numbers(*shape: int, step: int = 7) -> Tensor:
    return (torch.arange(math.prod(shape)) * step % 11 - 5.0).reshape(shape)


@pytest.mark.parametrize(
    ("y", "x", "value"),
    [
        (0, 1, 8),
        (0, 0.25, 2),
        (0.5, 1, 5),
        (0.5, 0.5, (0 + 8 + 4 + 2) / 4),
        (0.25, 1.5, 0.75 * (8 + 2) / 2 + 0.25 * (2 + 6) / 2),
        (-0.5, 1, 4),  # fades to zero across the border
        (1.75, 2, 0.25 * 6),
        (1.5, 2.5, 0.25 * 6),
        (-1, 1, 0),
        (2, 1, 0),
        (1, 3, 0),
        (-1e6, 1, 0),
        (1, math.inf, 0),
        (-math.inf, math.inf, 0),
    ],
)
def test_a_sample_is_the_mean_of_its_corners_by_nearness(y: float, x: float, value: float) -> None:
    assert sample(IMAGE, y, x).item() == value


@pytest.mark.parametrize(("y", "x"), [(math.nan, 0), (0, math.nan), (math.nan, math.inf)])
def test_a_position_that_is_not_a_number_samples_none(y: float, x: float) -> None:
    assert sample(IMAGE, y, x).isnan()


@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups"),
    [(1, 0, 1, 1), (2, 1, 1, 1), ((2, 1), (1, 0), (1, 2), 2)],
)
def test_without_offsets_it_is_convolution(
    stride: Any, padding: Any, dilation: Any, groups: int
) -> None:
    x, w, b = numbers(2, 4, 5, 6), numbers(2, 4 // groups, 3, 2, step=3), torch.tensor([1.0, -2.0])
    y = F.conv2d(x, w, b, stride, padding, dilation, groups)
    offset = torch.zeros(2, 2 * 3 * 2, *y.shape[2:])
    ours = deform_conv2d(x, offset, w, b, stride, padding, dilation)
    assert torch.equal(ours, y)
    ones = torch.ones(2, 3 * 2, *y.shape[2:])
    assert torch.equal(deform_conv2d(x, offset, w, b, stride, padding, dilation, ones), y)
    one = deform_conv2d(x[1], offset[1], w, b, stride, padding, dilation, ones[1])
    assert torch.equal(one, y[1])


def test_offsets_are_read_as_dy_dx_of_one_tap_after_the_other() -> None:
    x = numbers(1, 1, 4, 5)
    offset = torch.zeros(1, 2 * 2 * 3, 3, 3)
    offset[0, 2 * 4 + 0, 1, 2] = 1.0  # dy of tap (1, 1) at output (1, 2)
    offset[0, 2 * 2 + 1, 0, 0] = 2.0  # dx of tap (0, 2) at output (0, 0)
    w = numbers(1, 1, 2, 3)
    change = deform_conv2d(x, offset, w) - F.conv2d(x, w)
    expected = torch.zeros(1, 1, 3, 3)
    expected[0, 0, 1, 2] = w[0, 0, 1, 1] * (x[0, 0, 3, 3] - x[0, 0, 2, 3])
    expected[0, 0, 0, 0] = w[0, 0, 0, 2] * (x[0, 0, 0, 4] - x[0, 0, 0, 2])
    assert expected.count_nonzero() == 2
    assert torch.equal(change, expected)


def test_each_offset_group_moves_its_own_channels() -> None:
    x, w = numbers(1, 4, 3, 4), torch.eye(4).reshape(4, 4, 1, 1)
    offset = torch.zeros(1, 4, 3, 4)
    offset[:, 3] = 1.0  # dx of the second group: channels 2 and 3
    y = deform_conv2d(x, offset, w)
    assert torch.equal(y[:, :2], x[:, :2])
    assert torch.equal(y[:, 2:], F.pad(x[:, 2:, :, 1:], (0, 1)))


def test_the_mask_weighs_each_tap_of_its_offset_group() -> None:
    x, w = numbers(1, 2, 3, 3), numbers(1, 2, 2, 1)
    mask = numbers(1, 4, 2, 3, step=5)  # two groups of two taps
    y = deform_conv2d(x, torch.zeros(1, 8, 2, 3), w, mask=mask)
    expected = sum(
        w[0, c, t, 0] * mask[:, 2 * c + t] * x[:, c, t : t + 2] for c in range(2) for t in range(2)
    )
    assert torch.equal(y[:, 0], expected)


def test_an_empty_batch_stays_empty() -> None:
    y = deform_conv2d(torch.zeros(0, 1, 3, 3), torch.zeros(0, 8, 2, 2), torch.ones(2, 1, 2, 2))
    assert y.shape == (0, 2, 2, 2)
