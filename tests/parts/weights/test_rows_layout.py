"""How gradients with pixels as lanes are cut: every weight once, and within the registers."""

import itertools

import pytest

from faltung.parts.gemm.problem import Span
from faltung.parts.weights.rows_layout import RowsProblem, best_rows_layout

SPANS = [Span(56, 56, 7, 1, 3), Span(28, 56, 3, 2, 1), Span(33, 33, 3, 1, 12, 12), Span(9, 9)]
MACHINES = [(16, 32), (8, 16), (8, 32), (4, 16)]  # lanes and registers


@pytest.mark.parametrize(("lanes", "registers"), MACHINES)
@pytest.mark.parametrize("rows", SPANS)
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (4, 4), (3, 64), (1, 6)])
def test_tiles_of_rows(inputs: int, outputs: int, rows: Span, lanes: int, registers: int) -> None:
    p = RowsProblem(2, 3, inputs, outputs, Span(), rows, SPANS[0], "float32", lanes, registers)
    layout = best_rows_layout(p)
    assert layout.tile.registers < registers
    assert outputs % p.held == 0 and p.held % layout.tile.outputs == 0
    taps = [
        (a.of.first + m * a.of.step, b.of.first + n * b.of.step)
        for a, b in layout.passes()
        for m in range(a.begin, a.end)
        for n in range(b.begin, b.end)
    ]
    sizes = range(rows.kernel_size), range(p.columns.kernel_size)
    assert sorted(taps) == list(itertools.product(*sizes))
    assert (layout.chunks - 1) * layout.chunk < rows.outputs <= layout.chunks * layout.chunk
    # the last number that any tile reads is in x's panel
    last = max(layout.x_offset(taps) for taps in p.column_classes)
    last += (max(taps.count for taps in p.column_classes) - 1) * p.column_classes[0].apart
    assert last + layout.gy_pitch <= layout.x_pitch
    assert layout.cycles > 0


@pytest.mark.parametrize("lanes", [4, 16])
@pytest.mark.parametrize(
    "span", [Span(28, 56, 3, 2, 1), Span(9, 33, 5, 4, 3), Span(12, 30, 2, 3, 0, 2), Span(5, 9, 9)]
)
def test_real_numbers_of_a_row(span: Span, lanes: int) -> None:
    p = RowsProblem(1, 1, 1, 1, Span(), Span(4, 4), span, "float32", lanes, 16)
    layout = best_rows_layout(p)
    first = layout.first_place * span.stride
    real = [
        flag
        for at in range(0, layout.x_columns, lanes)
        for part in layout.real(at)
        for flag in part
    ]
    assert len(real) == layout.x_columns * span.stride
    assert real == [0 <= first + n < span.inputs for n in range(len(real))]
