"""How gradients with channels as lanes are cut: every weight once, within the registers."""

import itertools

import pytest

from faltung.parts.gemm.problem import Span
from faltung.parts.weights.channels_layout import ChannelsProblem, best_channels_layout

SPANS = [Span(56, 56, 7, 1, 3), Span(28, 56, 3, 2, 1), Span(33, 33, 3, 1, 12, 12), Span(9, 9)]
MACHINES = [(16, 32), (8, 16), (8, 32), (4, 16)]  # lanes and registers


@pytest.mark.parametrize(("lanes", "registers"), MACHINES)
@pytest.mark.parametrize("rows", SPANS)
@pytest.mark.parametrize(
    ("groups", "inputs", "outputs"), [(96, 1, 1), (7, 4, 4), (5, 3, 6), (9, 1, 20)]
)
def test_tiles_of_channels(
    groups: int, inputs: int, outputs: int, rows: Span, lanes: int, registers: int
) -> None:
    p = ChannelsProblem(
        2, groups, inputs, outputs, Span(), rows, SPANS[1], "float32", lanes, registers
    )
    assert p.used <= lanes and (p.blocks - 1) * p.together < groups <= p.blocks * p.together
    layout = best_channels_layout(p)
    tile = layout.tile
    assert tile.outputs * (tile.rows * tile.columns + tile.pixels) + 1 <= registers - 2
    weights = [
        (o, m, n)
        for some, a, b in layout.passes()
        for o in some
        for m in range(a.begin, a.end)
        for n in range(b.begin, b.end)
    ]
    sizes = range(outputs), range(rows.kernel_size), range(p.columns.kernel_size)
    assert sorted(weights) == list(itertools.product(*sizes))
    places = layout.readers(tile.pixels, tile.columns)
    assert sum(map(len, places.values())) == tile.pixels * tile.columns
    assert max(places) < layout.x_columns
    assert layout.cycles > 0


@pytest.mark.parametrize(("groups", "blocks", "shares", "parts"), [(32, 8, 1, 8), (36, 8, 2, 4)])
def test_items_take_several_vectors_of_channels(
    groups: int, blocks: int, shares: int, parts: int
) -> None:
    rows = Span(56, 56, 3, 1, 1)
    p = ChannelsProblem(1, groups, 4, 4, Span(), rows, rows, "float32", 16, 32)
    layout = best_channels_layout(p)
    assert (layout.blocks, layout.shares, layout.parts) == (blocks, shares, parts)
    assert layout.sum_numbers == p.blocks * layout.block_numbers
    assert layout.block_numbers >= p.outputs * p.taps * p.lanes
