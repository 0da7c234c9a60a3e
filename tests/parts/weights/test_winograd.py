"""Gradients of weights by Winograd's filtering, each access checked."""

from fractions import Fraction

import numpy as np
import pytest

import weight_interpreted
from faltung.parts.gemm.problem import Span
from faltung.parts.weights.winograd import WinogradWeightRoutine
from faltung.parts.weights.winograd_layout import (
    WinogradWeightCutting,
    WinogradWeightLayout,
    WinogradWeightProblem,
)
from faltung.parts.winograd.tiles import PlainAxis
from faltung.parts.winograd.transforms import transform


def plain(span: Span) -> PlainAxis:
    return PlainAxis(span.inputs, span.outputs, span.kernel_size, span.low, span.dilation)


# F(2, 3) and F(2, 2) of whole numbers are exact, so that sums must be right to the bit
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize(
    ("channels", "spans", "cutting"),
    [
        # images, groups, inputs, outputs; depth, rows, columns; m, block, shares, sums, images
        ((1, 1, 8, 5), (Span(), Span(5, 6, 3, 1, 1), Span(6, 6, 3, 1, 1)),
         WinogradWeightCutting((2, 2), 2, 3, 2, 1, 2, 2)),
        ((2, 2, 3, 9), (Span(), Span(4, 4, 3, 1, 1), Span(3, 5, 3, 1, 0)),
         WinogradWeightCutting((2, 1), 2, 2, 1, 2, 1, 3, images=2)),
        ((4, 1, 6, 4), (Span(), Span(), Span(9, 8, 2, 1, 1)),
         WinogradWeightCutting((1, 2), 1, 5, 1, 1, 1, 4, images=2)),
        ((1, 1, 5, 6), (Span(2, 3, 2), Span(3, 3, 3, 1, 2, 2), Span(5, 7, 3, 1, 0)),
         WinogradWeightCutting((2, 2), 2, 2, 1, 2, 1, 4)),
        ((2, 1, 7, 2), (Span(3, 3, 3, 1, 1), Span(2, 3, 2), Span(4, 4, 3, 1, 1)),
         WinogradWeightCutting((1, 2), 1, 1, 2, 1, 1, 2)),
    ],
)  # fmt: skip
def test_sums_of_whole_numbers(
    channels: tuple[int, int, int, int], spans: tuple[Span, Span, Span],
    cutting: WinogradWeightCutting, last: bool,
) -> None:  # fmt: skip
    depth, high, wide = map(plain, spans)
    problem = WinogradWeightProblem(*channels, depth, high, wide, "float32", last, 4, 16)
    layout = WinogradWeightLayout(problem, cutting)
    routine = WinogradWeightRoutine(layout).r
    factors = np.array([float(c) for c in layout.factors], np.float32)
    made, expected = weight_interpreted.run(routine, channels, spans, last=last, c=factors)
    if last:  # the weight is, too
        expected = np.moveaxis(expected, 2, -1)
    assert (made.reshape(layout.parts, -1).sum(0) == expected.reshape(-1)).all()


def test_the_transforms_are_the_transpose_of_the_filtering() -> None:
    """Σ gy · y of one tile is linear in w, with exactly this gradient: checked with fractions."""
    t = transform(4, 3)
    d = [Fraction(3 * n % 7 - 2) for n in range(t.size)]
    gy = [Fraction(5 * n % 11 - 4) for n in range(t.outputs)]
    products = [
        sum(a * g for a, g in zip(row, gy, strict=True))
        * sum(b * x for b, x in zip(of_x, d, strict=True))
        for row, of_x in zip(t.a, t.bt, strict=True)
    ]
    made = [sum(g * p for g, p in zip(row, products, strict=True)) for row in t.gt]
    assert made == [sum(gy[m] * d[m + k] for m in range(t.outputs)) for k in range(t.taps)]
