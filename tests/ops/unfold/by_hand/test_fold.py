from typing import Any

import pytest
import torch
from torch.nn import functional as F

from faltung.ops.unfold.by_hand.fold import fold
from faltung.ops.unfold.by_hand.unfold import unfold
from faltung.ops.unfold.spec import UnfoldSpec

PROBLEMS = [
    "fold n2 c5 i3x4 k2x3 float32 cpu",
    "fold n1 c1 i1 k1 float32 cpu",
    "fold n0 c2 i5x4 k2x2 float32 cpu",
    "fold n2 c2 i9 k3 s2 p1+2 d2 float64 cpu",
    "fold n1 c2 i5x7 k2x3 s3x1 p2+0x0+1 d1x2 reflect float32 cpu",
    "fold n1 c1 i2x3 k4x2 s5x3 p1x2+3 float32 cpu",
    "fold n1 c2 i3x4x5 k2x1x3 s1x2x2 p0+1x1x2 d2x1x1 circular float32 cpu",
    "fold n1 c1 i2x3x2 k3x2x2 p2+1x0x1 replicate float32 cpu",
]


def numbers(shape: tuple[int, ...], dtype: str) -> torch.Tensor:
    return (
        (torch.arange(torch.Size(shape).numel()) * 7 % 23 - 11)
        .reshape(shape)
        .to(getattr(torch, dtype))
    )


@pytest.mark.parametrize("text", PROBLEMS)
def test_is_the_adjoint_of_unfold(text: str) -> None:
    spec = UnfoldSpec.parse(text)
    image, columns = (numbers(s, spec.dtype) for s in (spec.image_shape, spec.columns_shape))
    arguments = (spec.kernel_size, spec.dilation, spec.padding, spec.stride, spec.padding_mode)
    folded = fold(columns, spec.input_size, *arguments)
    assert folded.shape == spec.image_shape
    left = (unfold(image, *arguments) * columns).sum()
    assert torch.equal(left, (image * folded).sum())
    for position in range(min(image.numel(), 5)):  # each number by itself, not only their sum
        one = torch.zeros_like(image)
        one.view(-1)[position] = 1
        assert torch.equal((unfold(one, *arguments) * columns).sum(), folded.view(-1)[position])


@pytest.mark.parametrize(
    "arguments",
    [((2, 3),), (2, 1, 1, 2), ((3, 2), (1, 2), (2, 1), (2, 3)), (1, 1, 0, 2)],
)
def test_equals_pytorch(arguments: tuple[Any, ...]) -> None:
    columns = numbers(tuple(F.unfold(torch.zeros(2, 5, 3, 4), *arguments).shape), "float32")
    expected = F.fold(columns, (3, 4), *arguments)
    assert torch.equal(fold(columns, (3, 4), *arguments), expected)
    assert torch.equal(fold(columns[1], (3, 4), *arguments), expected[1])


def test_folding_what_was_unfolded_counts_the_windows() -> None:
    image = numbers((1, 2, 3, 4), "float32")
    counts = torch.tensor([[1, 2, 2, 1], [2, 4, 4, 2], [1, 2, 2, 1]])
    assert torch.equal(fold(unfold(image, (2, 3)), (3, 4), (2, 3)), image * counts)
