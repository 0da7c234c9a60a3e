"""The tiles of a row of outputs."""

import pytest

from faltung.parts.gemm.columns import ColumnTiles, alike, apart
from faltung.parts.gemm.problem import Span

SPANS = [
    Span(),
    Span(outputs=56, inputs=56, kernel_size=3, low=1),
    Span(outputs=28, inputs=56, kernel_size=3, stride=2, low=1),
    Span(outputs=33, inputs=33, kernel_size=3, low=12, dilation=12),
    Span(outputs=100, inputs=98, kernel_size=3),
    Span(outputs=40, inputs=10, kernel_size=1, low=15),
    Span(outputs=3, inputs=1, kernel_size=3, low=1),
]


def outputs_of(tiles: list[ColumnTiles]) -> list[int]:
    return [
        first + n
        for some in tiles
        for first in range(some.first, some.end, some.width)
        for n in range(some.width)
    ]


@pytest.mark.parametrize("width", [1, 2, 7, 14, 200])
@pytest.mark.parametrize("span", SPANS, ids=str)
def test_every_output_is_in_one_tile(span: Span, width: int) -> None:
    assert outputs_of(alike(span, width)) == list(range(span.outputs))
    assert outputs_of(apart(span, width)) == list(range(span.outputs))


@pytest.mark.parametrize("width", [1, 2, 7, 14])
@pytest.mark.parametrize("span", SPANS, ids=str)
def test_taps_have_the_outputs_that_see_the_image_through_them(span: Span, width: int) -> None:
    for some in apart(span, width):
        if some.places is None:
            assert span.is_inside(some.first, some.end - some.first)
            continue
        assert some.end == some.first + some.width
        for tap, places in enumerate(some.places):
            for n in range(some.width):
                assert (n in places) == (0 <= span.place(some.first + n, tap) < span.inputs)
        assert sum(taps for taps, _ in some.runs) == span.kernel_size


def test_tiles_inside_are_one_loop() -> None:
    before, inside, behind = apart(SPANS[1], 14)
    assert (inside.first, inside.end, inside.places) == (14, 42, None)
    assert (before.first, behind.first) == (0, 42)
    assert list(before.runs) == [(1, 13), (2, 14)]
    assert list(behind.runs) == [(2, 14), (1, 13)]
    assert [some.width for some in apart(Span(outputs=10, inputs=10), 4)] == [4, 2]
