from typing import Any

import pytest
import torch
from torch.nn import functional as F

from faltung.ops.unfold.by_hand.unfold import unfold
from faltung.ops.unfold.spec import UnfoldSpec

PROBLEMS = [
    "unfold n2 c5 i3x4 k2x3 float32 cpu",
    "unfold n1 c1 i1 k1 float32 cpu",
    "unfold n0 c2 i5x4 k2x2 float32 cpu",
    "unfold n2 c2 i9 k3 s2 p1+2 d2 float64 cpu",
    "unfold n1 c2 i5x7 k2x3 s3x1 p2+0x0+1 d1x2 reflect float32 cpu",
    "unfold n1 c1 i2x3 k4x2 s5x3 p1x2+3 float32 cpu",
    "unfold n1 c2 i3x4x5 k2x1x3 s1x2x2 p0+1x1x2 d2x1x1 circular float32 cpu",
    "unfold n1 c1 i2x3x2 k3x2x2 p2+1x0x1 replicate float32 cpu",
]


def reference(spec: UnfoldSpec, image: torch.Tensor) -> torch.Tensor:
    """The same columns from PyTorch's padding and its one-axis `Tensor.unfold`."""
    ends = [end for pair in reversed(spec.padding) for end in pair]
    mode = "constant" if spec.padding_mode == "zeros" else spec.padding_mode
    windows = F.pad(image, ends, mode=mode)
    for dim, axis in enumerate(spec.axes):
        windows = windows.unfold(dim + 2, axis.span, axis.stride)
    windows = windows[(..., *(slice(None, None, axis.dilation) for axis in spec.axes))]
    outputs, taps = range(2, 2 + spec.dims), range(2 + spec.dims, 2 + 2 * spec.dims)
    return windows.permute(0, 1, *taps, *outputs).reshape(spec.columns_shape)


def numbers(shape: tuple[int, ...], dtype: str) -> torch.Tensor:
    """Whole numbers, all different and none zero."""
    return torch.arange(1, 1 + torch.Size(shape).numel()).reshape(shape).to(getattr(torch, dtype))


@pytest.mark.parametrize("text", PROBLEMS)
def test_is_padding_and_then_one_axis_after_the_other(text: str) -> None:
    spec = UnfoldSpec.parse(text)
    image = numbers(spec.image_shape, spec.dtype)
    columns = unfold(
        image, spec.kernel_size, spec.dilation, spec.padding, spec.stride, spec.padding_mode
    )
    assert torch.equal(columns, reference(spec, image))
    if spec.batch:
        one = unfold(
            image[0], spec.kernel_size, spec.dilation, spec.padding, spec.stride, spec.padding_mode
        )
        assert torch.equal(one, columns[0])


@pytest.mark.parametrize(
    "arguments",
    [((2, 3),), (2, 1, 1, 2), ((3, 2), (1, 2), (2, 1), (2, 3)), (1, 1, 0, 2)],
)
def test_equals_pytorch(arguments: tuple[Any, ...]) -> None:
    image = numbers((2, 5, 3, 4), "float32")
    assert torch.equal(unfold(image, *arguments), F.unfold(image, *arguments))


def test_the_example_of_the_textbook() -> None:
    image = numbers((2, 5, 3, 4), "int64")
    columns = unfold(image, (2, 3))
    assert columns.shape == (2, 30, 4)
    assert columns[1, 6:12, 3].tolist() == image[1, 1, 1:3, 1:4].flatten().tolist()


def test_a_convolution_is_a_product_with_the_columns() -> None:
    image, weight = numbers((2, 3, 4, 5), "float32"), numbers((4, 3, 2, 2), "float32") % 5 - 2
    y = weight.flatten(1) @ unfold(image, 2, 1, 1, 2)
    assert torch.equal(y.reshape(2, 4, 3, 3), F.conv2d(image, weight, stride=2, padding=1))
