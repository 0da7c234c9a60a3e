"""Padding to what the windows touch, against PyTorch's own padding and its gradient."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from faltung.ops.geometry import Axis
from faltung.ops.padding import pad, pad_adjoint

PAIRS = list(
    itertools.product(
        [Axis(5, 3, 2, (2, 1)), Axis(6, 2, 3), Axis(4, 3, 1, (0, 3), 1, output_size=2)],
        [Axis(4, 2, 1, (0, 1), 2), Axis(6, 4, 2, (3, 3)), Axis(7, 1, 4)],
    )
)


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("axes", PAIRS, ids=str)
def test_pads_like_torch_and_crops_what_no_window_reads(
    axes: tuple[Axis, Axis], mode: str, whole: Callable[..., Tensor]
) -> None:
    axes = tuple(
        Axis(a.input_size, a.kernel_size, a.stride, a.padding, a.dilation, mode, a.output_size)
        for a in axes
    )
    x = whole(2, 3, axes[0].input_size, axes[1].input_size).requires_grad_()
    amounts = [*axes[1].padding, *axes[0].padding]
    expected = F.pad(x, amounts, mode="constant" if mode == "zeros" else mode)
    expected = expected[..., : axes[0].padded_size, : axes[1].padded_size]
    padded = pad(x, axes)
    assert torch.equal(padded, expected)

    g = whole(*padded.shape)
    assert torch.equal(pad_adjoint(g, axes), torch.autograd.grad(expected, x, g)[0])


def test_nothing_to_pad_makes_no_copy() -> None:
    x = torch.ones(1, 1, 7, 6)
    assert pad(x, [Axis(7, 3, 2), Axis(6, 2, 2)]) is x
