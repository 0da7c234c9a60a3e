"""`slide`: the window over the input, the numbers under it, and the output they make.

    y[q] = Σ_t w[t] · x[q·s − low + t·d]                        convolution
    y[i] = Σ { w[t] · x[q] : i = q·s − low + t·d }              transposed: the same, read backwards

One frame an output. 1-D lays the weight under the part of x that it multiplies, and every output
under its window; 2-D writes x ∗ w = y; 3-D does so slice by slice.
"""

import math
from functools import partial

from ..figure import Cell, Figure, Frame, Grid, Items, Label, Stroke, box_of
from ..layer import Layer, LayerKind, layer_words, middle, name_of, one_channel, position
from ..layout import beside, captioned, explained, moved, sign
from ..window import (
    Look,
    Taps,
    index_text,
    input_legend,
    input_planes,
    output_planes,
    sum_text,
    weight_planes,
    window,
)


def build(layer: Layer) -> Figure:
    """The figure of a layer with one channel."""
    one_channel(layer, "slide")
    return Figure(
        "slide",
        f"Sliding window: {name_of(layer)}",
        layer_words(layer),
        math.prod(layer.output_size),
        partial(_frame, layer),
        middle(layer.output_size),
        input_legend(layer),
    )


def _frame(layer: Layer, number: int) -> Frame:
    target = position(number, layer.output_size)
    taps = window(layer, target)
    x = input_planes(layer, 0, 0, Look(taps=taps))
    used = [tap for found in taps.values() for tap in found] if layer.transposed else []
    y = output_planes(layer, 0, target)
    if layer.spec.dims == 1:
        items = _rows(layer, target[0], taps, x, y)
    else:
        w = weight_planes(layer, 0, 0, used=used)
        joined = "∗ᵀ" if layer.transposed else "∗"
        items = beside(
            captioned(x, "x", "input"), sign(joined), captioned(w, "w", "weight"), sign("="),
            captioned(y, "y", "output"),
        )  # fmt: skip
    lit = [cell for grid in x if isinstance(grid, Grid) for cell in grid.cells if cell.lit]
    formula = sum_text(index_text("y", target), lit, layer.y_text((0, *target)))
    return Frame(explained(items, formula))


def _rows(layer: Layer, target: int, taps: Taps, x: Items, y: Items) -> Items:
    """1-D: x above, the weight under what it multiplies, and y under the middle of its windows."""
    axis = layer.spec.axes[0]
    s, d, low = axis.stride, axis.dilation, axis.padding[0]
    used = {tap[0] for found in taps.values() for tap in found}
    cells = tuple(
        Cell(0, t, layer.w_text((0, 0, t)), "weight", layer.transposed and t in used,
             ref=("w", (0, 0, t)))
        for t in range(axis.kernel_size)
    )  # fmt: skip
    if layer.transposed:
        # x stands a stride apart, so that the weight, turned round, meets it under the output
        x = _spaced(x, s)
        w = Grid("w", cells, target + low, 2.0, (1.0, -d))
        y_left, y_step = float(low), 1
    else:
        w = Grid("w", cells, target * s, 2.0, (1.0, d))
        y_left, y_step = (axis.span - 1) / 2, s
    y = moved(_spaced(y, y_step), y_left, 4.6)
    left, _, right, bottom = w.bounds
    tip = y_left + target * y_step + 0.5
    cone = (
        Stroke(((left, bottom + 0.1), (tip - 0.5, 4.5)), "output", 1.0, under=True),
        Stroke(((right, bottom + 0.1), (tip + 0.5, 4.5)), "output", 1.0, under=True),
    )
    start = min(box_of(x)[0], box_of(y)[0], *(_ends(layer))) - 0.5
    names = tuple(
        Label(text, start, height, 0.5, "right", bold=True)
        for text, height in (
            ("x  input", 0.5),
            ("w  turned round" if layer.transposed else "w  weight", 2.5),
            ("y  output", 5.1),
        )
    )
    return (*x, w, *y, *cone, *names)


def _ends(layer: Layer) -> tuple[float, float]:
    """Where the weight begins at the first output and at the last, so that names stay clear."""
    axis = layer.spec.axes[0]
    if not layer.transposed:
        return 0.0, 0.0
    reach = axis.padding[0] - axis.span + 1
    return float(reach), float(reach + axis.input_size - 1)


def _spaced(row: Items, step: float) -> Items:
    """The row with its cells `step` apart."""
    return tuple(
        Grid(item.name, item.cells, item.left, item.top, (1.0, step))
        for item in row
        if isinstance(item, Grid)
    )


KIND = LayerKind(
    "slide",
    "the window over the input and the output it makes; 1-D to 3-D, also transposed",
    "forward n1 c1 o1 i5x5 k3x3 s2 p1 float32 cpu",
    build,
)
