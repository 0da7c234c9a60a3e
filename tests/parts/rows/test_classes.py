"""Channels whose rows begin alike."""

import pytest
import torch

from faltung.parts.rows.classes import RowClasses, row_period


@pytest.mark.parametrize("columns", [3199, 3198, 3196, 3192, 3200, 257])
def test_rows_of_a_class_begin_at_the_same_place(columns: int) -> None:
    period = row_period(512, columns, lanes=16)
    for channel in range(512 - period):
        assert (channel + period) * columns % 16 == channel * columns % 16
    places = {channel * columns % 16 for channel in range(period)}
    assert len(places) == period


@pytest.mark.parametrize(("outputs", "columns"), [(500, 3199), (64, 3199), (512, 255), (512, 3200)])
def test_not_where_it_is_not_worth_it(outputs: int, columns: int) -> None:
    assert row_period(outputs, columns, lanes=16) == 1


@pytest.mark.parametrize("period", [1, 2, 4])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_packed_tile_by_tile(period: int, channels: int) -> None:
    classes = RowClasses(outputs=12, period=period, channels=channels)
    w = torch.arange(2.0 * 12 * 5 * 3).view(2, 12, 5, 3)
    packed = classes.packed(w)
    assert packed.is_contiguous() and packed.shape[1] * packed.shape[2] == classes.tiles
    for kin in range(period):
        for tile in range(packed.shape[2]):
            first = min(tile * channels, classes.members - channels)
            for n in range(channels):
                channel = kin + (first + n) * period
                assert torch.equal(packed[:, kin, tile, :, :, n], w[:, channel])
