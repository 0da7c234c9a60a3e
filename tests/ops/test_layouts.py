"""Layouts: the same numbers, in the asked order, whatever the strides they came with."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from faltung.ops import layouts
from faltung.ops.layouts import laid_out
from faltung.ops.operands import memory_layout


@pytest.fixture(autouse=True)
def always_turned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layouts, "_LARGE", 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(
    "make",
    [
        lambda t: t(2, 70, 81).transpose(1, 2),
        lambda t: t(3, 40, 67)[:, :, 5:60].transpose(1, 2),
        lambda t: t(1, 100, 50)[:, ::2],
        lambda t: t(2, 33, 9, 17),
        lambda t: t(2, 9, 17, 33).permute(0, 3, 1, 2),
        lambda t: t(2, 32, 20).unsqueeze(-1).expand(2, 32, 20, 6),
        lambda t: t(1, 16, 3, 5, 7),
        lambda t: t(1, 3, 5, 7, 18).permute(0, 4, 1, 2, 3),
    ],
    ids=["turned", "crop", "rows", "nchw", "nhwc", "expanded", "ncdhw", "ndhwc"],
)
def test_the_same_numbers_at_every_call(
    make: Callable[[Callable[..., Tensor]], Tensor], dtype: torch.dtype
) -> None:
    for layout in ("contiguous", "channels_last"):
        for call in range(6):  # the first ones are PyTorch's
            x = make(lambda *shape: torch.randn(shape).to(dtype))
            if layout == "channels_last" and x.dim() == 3:
                continue
            y = laid_out(x, layout)
            assert torch.equal(y, x) and y.dtype == dtype, call
            assert memory_layout(y) == layout


def test_what_is_right_already_is_not_copied() -> None:
    x = torch.randn(2, 64, 16, 16)
    assert laid_out(x, "contiguous") is x
    assert laid_out(x.transpose(2, 3), "strided").data_ptr() == x.data_ptr()


def test_derivatives_go_through() -> None:
    x = torch.randn(1, 70, 81, requires_grad=True)
    for _ in range(6):
        y = laid_out(x.transpose(1, 2), "contiguous")
        (g,) = torch.autograd.grad((y * torch.arange(70.0)).sum(), x)
        assert torch.equal(g, torch.arange(70.0)[None, :, None].expand(1, 70, 81))


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layouts, "_MOST_TURNED", 3)
    for size in range(16, 26):
        laid_out(torch.randn(1, 16, size).transpose(1, 2), "contiguous")
    assert len(layouts._turned) <= 3
