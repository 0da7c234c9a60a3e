"""Sums that were made in parts."""

import torch

from faltung.ops.conv.parted import added


def test_parts_are_added_in_their_order() -> None:
    # 1 vanishes beside 2²⁴ unless it is added to −2²⁴ + 2²⁴ = 0
    parts = torch.tensor([[2.0**24], [-(2.0**24)], [1.0]])
    assert added(parts.clone()).item() == 1.0
    assert added(parts[[0, 2, 1]]).item() == 0.0
