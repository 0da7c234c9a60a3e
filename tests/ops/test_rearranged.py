"""Copies in another order of the axes, by PyTorch and by a routine."""

import itertools

import pytest
import torch

from faltung.ops import rearranged
from faltung.ops.rearranged import Rearranged, rearranged_seconds

SIZES = [(2, 33, 5), (17, 3, 16), (40, 9, 9), (1, 70), (6, 1, 20), (3, 4, 5, 6)]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A routine from the first copy on, however small."""
    monkeypatch.setattr(rearranged, "_PATIENCE", 0)
    monkeypatch.setattr(rearranged, "_SMALL", 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("sizes", SIZES)
def test_every_order_and_direction(
    sizes: tuple[int, ...], dtype: torch.dtype, impatient: None
) -> None:
    w = torch.randn(sizes).to(dtype)
    wide = torch.promote_types(dtype, torch.float32)
    orders = list(itertools.permutations(range(len(sizes))))
    for n, order in enumerate(orders[:6]):
        backwards = [(), (0,), (len(sizes) - 1,), (0, 1)][n % 4]
        copy = Rearranged(sizes, order, backwards)
        expected = w.flip(backwards).permute(order).to(wide)
        made = copy(w)
        assert torch.equal(made, expected) and made.is_contiguous() and made.dtype == wide
        given = torch.full((expected.numel(),), float("nan"), dtype=wide)
        assert copy(w, given).data_ptr() == given.data_ptr()
        assert torch.equal(given.view(expected.shape), expected)


def test_sources_that_lie_otherwise(impatient: None) -> None:
    copy = Rearranged((20, 24, 9), (2, 1, 0))
    w = torch.randn(20, 24, 3, 3)
    expected = w.reshape(20, 24, 9).permute(2, 1, 0)
    for source in (
        w.contiguous(memory_format=torch.channels_last),
        torch.randn(40, 24, 3, 3).copy_(w.repeat(2, 1, 1, 1))[:20],
        w.clone().expand(20, 24, 3, 3),
    ):
        assert torch.equal(copy(source), expected)
    same = torch.randn(20, 1, 3, 1).expand(20, 24, 3, 3)
    assert torch.equal(copy(same), same.reshape(20, 24, 9).permute(2, 1, 0))
    row = torch.randn(1, 24, 3, 3).expand(20, 24, 3, 3)
    assert torch.equal(copy(row), row.reshape(20, 24, 9).permute(2, 1, 0))
    spread = torch.zeros(20, 24, 3, 6)[..., ::2].copy_(w)
    assert torch.equal(copy(spread), expected)


def test_patience_makes_no_difference() -> None:
    copy, w = Rearranged((64, 96), (1, 0)), torch.randn(64, 96)
    assert all(torch.equal(copy(w), w.T) for _ in range(6))
    assert copy._made


def test_more_numbers_take_longer() -> None:
    assert rearranged_seconds(10**6, 4, 1e10) > rearranged_seconds(10**3, 4, 1e10) > 0
