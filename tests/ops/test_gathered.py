"""Weights in another order by an index, and sums of their rows."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import pad

from faltung.ops import gathered
from faltung.ops.gathered import Gathered

SHAPE = (6, 5, 4, 3)
FACTORS = [[0.5, 0.5, 0.5, 0.0], [1.0, 0.0, -1.0, 2.0]]


def order(w: Tensor) -> Tensor:
    """Permuted, some of it twice, and padded."""
    w = w.permute(1, 2, 3, 0)
    return pad(torch.stack([w[..., :4], w[..., 2:]], 1), (0, 2))


def expected(w: Tensor) -> Tensor:
    """What `order` and FACTORS make of a weight, written down anew."""
    made = torch.zeros(5, 2, 2, 3, 6, dtype=torch.promote_types(w.dtype, torch.float32))
    for n, factors in enumerate(FACTORS):
        rows = sum(w[:, :, row].to(made.dtype) * factor for row, factor in enumerate(factors))
        assert isinstance(rows, Tensor)
        for half, outputs in enumerate((slice(0, 4), slice(2, 6))):
            made[:, half, n, :, :4] = rows[outputs].permute(1, 2, 0)
    return made


def weights(dtype: torch.dtype) -> list[Tensor]:
    """The same numbers in different places of memory."""
    w = torch.randint(-9, 10, SHAPE).to(dtype)
    within = torch.full((9, 5, 4, 7), float("nan"), dtype=dtype)[2:8, :, :, 1::2]
    return [
        w, w.contiguous(memory_format=torch.channels_last), within.copy_(w),
        w.transpose(0, 3).contiguous().transpose(0, 3),
    ]  # fmt: skip


@pytest.mark.parametrize("most", [0, 1 << 16])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_wherever_the_weight_lies(
    dtype: torch.dtype, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathered, "_MOST", most)
    pack = Gathered(SHAPE, order, FACTORS, axis=2)
    for w in weights(dtype) * 2:
        made = pack(w)
        assert torch.equal(made, expected(w))
        assert made.is_contiguous() and made.dtype == expected(w).dtype


def test_another_weight_and_another_shape() -> None:
    pack = Gathered((6, 60), lambda w: w.t())
    for _ in range(3):
        w = torch.randn(SHAPE)
        assert torch.equal(pack(w), w.reshape(6, 60).t())
    one = torch.randn(1, 60).expand(6, 60)
    assert torch.equal(pack(one), one.t())


def test_precision_of_matrix_products_does_not_matter() -> None:
    w = torch.randn(SHAPE)
    exact = Gathered(SHAPE, order, FACTORS, axis=2)(w)
    torch.set_float32_matmul_precision("medium")
    try:
        assert torch.equal(Gathered(SHAPE, order, FACTORS, axis=2)(w), exact)
    finally:
        torch.set_float32_matmul_precision("highest")
