"""Gradients of weights with pixels as lanes, each access checked."""

import pytest

import weight_interpreted
from faltung.parts.gemm.problem import Span
from faltung.parts.weights.rows import RowsRoutine
from faltung.parts.weights.rows_layout import RowsLayout, RowsProblem, RowsTile

PLAIN = Span(5, 6, 3, 1, 1)


@pytest.mark.parametrize(
    ("channels", "spans", "tile"),
    [
        ((1, 2, 1, 1), (Span(), PLAIN, Span(9, 9, 3, 1, 1)), RowsTile(1, 2, 2)),
        ((2, 1, 2, 4), (Span(), PLAIN, Span(5, 10, 4, 2, 1)), RowsTile(2, 1, 2)),
        ((1, 1, 1, 2), (Span(2, 3, 2), Span(3, 7, 2, 2), Span(2, 13, 3, 6, 1)), RowsTile(1, 1, 1)),
        ((3, 1, 1, 1), (Span(), Span(6, 4, 2, 1, 3, 2), Span(3, 9, 2, 3)), RowsTile(1, 2, 1)),
    ],
)
def test_sums_of_whole_numbers(
    channels: tuple[int, int, int, int], spans: tuple[Span, Span, Span], tile: RowsTile
) -> None:
    problem = RowsProblem(*channels, *spans, "float32", lanes=4, registers=16)
    layout = RowsLayout(problem, tile)
    made, expected = weight_interpreted.run(
        RowsRoutine("rows", layout).r, channels, spans, last=False
    )
    total = made.reshape(layout.parts, -1).sum(0)
    assert (total == expected.reshape(-1)).all()
