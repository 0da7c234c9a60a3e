"""How gradients as matrix products are cut: every weight once, and panels that fit."""

import dataclasses

import pytest

from faltung.parts.gemm.problem import Span
from faltung.parts.weights.gemm_layout import GemmWeightProblem, best_gemm_layout

SPANS = [Span(56, 56, 7, 1, 3), Span(28, 56, 3, 2, 1), Span(33, 33, 3, 1, 12, 12), Span(9, 9)]
MACHINES = [(16, 32), (8, 16), (8, 32), (4, 16)]  # lanes and registers


@pytest.mark.parametrize(("lanes", "registers"), MACHINES)
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("columns", [*SPANS, Span(20000, 20000, 3, 1, 16, 8)])
@pytest.mark.parametrize(("inputs", "outputs"), [(64, 64), (17, 5), (512, 2048), (1, 1)])
def test_tiles_of_a_product(
    inputs: int, outputs: int, columns: Span, last: bool, lanes: int, registers: int
) -> None:
    p = GemmWeightProblem(
        1, 2, inputs, outputs, Span(), Span(), columns, last, "float32", lanes, registers
    )
    layout = best_gemm_layout(p)
    v, most = dataclasses.astuple(layout.tile)
    assert v * most + v + 1 < registers
    assert (layout.blocks - 1) * v * lanes < inputs <= layout.blocks * v * lanes
    assert layout.outputs * layout.splits == outputs
    covered = [o for run in layout.runs() for o in range(run.begin, run.end)]
    assert covered == list(range(layout.outputs))
    assert layout.pixels * layout.width * 4 < 2 << 20
    assert layout.cycles > 0


def test_more_pixels_take_longer() -> None:
    p = GemmWeightProblem(1, 1, 64, 64, Span(), SPANS[0], SPANS[0], True, "float32", 16, 32)
    batch = dataclasses.replace(p, batch=4)
    assert 3 < best_gemm_layout(batch).cycles / best_gemm_layout(p).cycles < 4.1
