"""Gradients of weights as matrix products, each access checked."""

import numpy as np
import pytest

import weight_interpreted
from faltung.parts.gemm.problem import Span
from faltung.parts.weights import gemm_layout
from faltung.parts.weights.gemm import GemmWeightRoutine
from faltung.parts.weights.gemm_layout import (
    GemmWeightLayout,
    GemmWeightProblem,
    GemmWeightTile,
)

PLAIN = Span(5, 6, 3, 1, 1)


@pytest.mark.parametrize("panel", [1 << 7, 1 << 20])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize(
    ("channels", "spans", "tile"),
    [
        ((1, 1, 8, 5), (Span(), PLAIN, Span(6, 6, 3, 1, 1)), GemmWeightTile(2, 2)),
        ((2, 2, 3, 4), (Span(), PLAIN, Span(3, 7, 2, 2)), GemmWeightTile(1, 3)),
        ((1, 1, 6, 2), (Span(), Span(), Span(150, 150, 2, 1, 1)), GemmWeightTile(2, 1)),
        ((1, 1, 5, 3), (Span(2, 3, 2), Span(2, 3, 5, 1, 2), Span(4, 4)), GemmWeightTile(1, 2)),
    ],
)
def test_sums_of_whole_numbers(
    channels: tuple[int, int, int, int], spans: tuple[Span, Span, Span], tile: GemmWeightTile,
    last: bool, panel: int, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(gemm_layout, "_PANEL", panel)
    problem = GemmWeightProblem(*channels, *spans, last, "float32", lanes=4, registers=16)
    layout = GemmWeightLayout(problem, tile)
    routine = GemmWeightRoutine("gemm", layout).r
    made, expected = weight_interpreted.run(routine, channels, spans, last=last)
    if last:  # the weight is, too
        expected = np.moveaxis(expected, 2, -1)
    assert (made == expected.reshape(-1)).all()
