"""How minimal filtering is cut, and what that says about its cost."""

import pytest
import torch

from faltung.ops.conv.filtered_lines import FilteredLines
from faltung.ops.conv.spec import ConvSpec
from faltung.parts.channels.grouped_taps import PRODUCTS, transformed_taps


def cut(words: str) -> FilteredLines:
    return FilteredLines(ConvSpec.parse(f"forward n1 {words} cpu"))


def test_it_multiplies_less() -> None:
    lines = cut("c16 o16 i56x56 k31x31 p15 g16 float32")
    assert PRODUCTS * lines.outer.meetings < 0.47 * lines.spec.axes[0].executed


def test_bands_keep_lines_near() -> None:
    lines = cut("c16 o16 i12x96x96 k3x3x3 p1 g16 float32")
    assert lines.is_near and 1 < lines.bands <= 16 and lines.seen == lines.rows + 2
    assert cut("c16 o16 i12x12x12 k3x3x3 p1 g16 float32").bands == 1


@pytest.mark.parametrize("size", ["i9x8 k4x3 p2x1", "i70x5 k7x3 d3x1", "i14x7x5 k3x3x3 s1x2x1"])
@pytest.mark.parametrize("layout", ["", " channels_last"])
def test_pieces_cover_everything(size: str, layout: str) -> None:
    lines = cut(f"c5 o5 {size} g5{layout} float32")
    spec, tiles = lines.spec, lines.outer.tiles
    assert (lines.parts - 1) * lines.share < tiles <= lines.parts * lines.share
    rows = spec.output_size[1] if spec.dims == 3 else 1
    assert (lines.bands - 1) * lines.rows < rows <= lines.bands * lines.rows
    assert all(count > 0 and count % 16 == 0 for count in lines.scratch.values())
    assert 0 < lines.work(1) < lines.work(tiles)


def test_the_packed_weight() -> None:
    lines = cut("c21 o21 i9x8 k6x3 p2x1 g21 float32")
    w = torch.randn(21, 1, 6, 3)
    packed = lines.pack(w, torch.float32)
    assert packed.shape == (lines.blocks.count, lines.factors, lines.lanes)
    taps = transformed_taps(w[:, 0], lines.outer.lead, lines.outer.groups)
    assert torch.equal(packed[0, :, 3], taps[3].flatten().float())
