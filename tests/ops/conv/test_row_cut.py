"""How convolutions along rows are cut."""

import pytest

from faltung.ops.conv import row_cut
from faltung.ops.conv.spec import ConvSpec


@pytest.mark.parametrize(
    ("words", "lies"),
    [
        ("c8 o8 i9x9 k3x3 g2 float32", True),
        ("c64 o64 i9x9 k3x3 g4 float32", False),  # 9,216 bytes a group
        ("c8 o8 i9x9 k8x16 p8 g2 float32", False),  # 8,192
        ("c8 o8 i9x9 k8x8 p8 g2 float32", True),  # 4,096
        ("c8 o8 i9x9 k8x8 p8 g2 float64", False),
        ("c8 o8 i9x9 k8x8 p8 g2 bfloat16", True),  # widened to 4,096
    ],
)
def test_few_weights_are_read_where_they_lie(words: str, lies: bool) -> None:
    assert row_cut.lies(ConvSpec.parse(f"forward n1 {words} cpu")) is lies


def test_a_tile_of_channels_that_begin_alike_has_its_weights_packed() -> None:
    spec = ConvSpec.parse("forward n1 c1 o512 i3199 k2 float32 cpu")
    if row_cut.period_of(spec) == 1:
        pytest.skip("vectors are no lines here")
    assert not row_cut.lies(spec)
    assert row_cut.classes_of(spec).period == row_cut.period_of(spec)


def test_tiles_take_longer_for_more_work() -> None:
    small, large = (
        row_cut.tiling(ConvSpec.parse(f"forward n{n} c8 o8 i20x40 k3x3 p1 g2 float32 cpu"))
        for n in (1, 3)
    )
    assert small[0] == large[0] and 0 < 3 * small[1] == pytest.approx(large[1])
