"""`zeros`: transposed convolution as an ordinary one, over an input spread out with zeros.

    z[q·s + span − 1 − low] = x[q], zero elsewhere       y[i] = Σ_t w[K − 1 − t] · z[i + t·d]

s − 1 zeros are inserted between the inputs and span − 1 − low around them; the weight is turned
round, and slides with stride 1. It multiplies the zeros, too: this is how to think of it, not how
to compute it. One frame an output.

Source: Dumoulin and Visin, arXiv 1603.07285, section 4.5.
"""

import itertools
import math
from functools import partial

from ....errors import ArgumentError
from ....ops.geometry import Sizes
from ..figure import Cell, Figure, Frame, Grid, Key, Ref
from ..layer import (
    Layer,
    LayerKind,
    layer_words,
    middle,
    one_channel,
    position,
    times,
    transposed_only,
)
from ..layout import captioned, equation, explained
from ..planes import planes
from ..window import index_text, output_planes, sum_text


def build(layer: Layer) -> Figure:
    """The figure of a transposed convolution with one channel."""
    transposed_only(layer, "zeros")
    one_channel(layer, "zeros")
    if layer.spec.padding_mode != "zeros":
        raise ArgumentError(
            f"zeros draws padding with zeros only, got {layer.spec.padding_mode}: draw scatter"
        )
    legend = (
        Key(Cell(text="3", role="weight", lit=True, corner="×2"), "read now, with its weight"),
        Key(Cell(text="3", role="input"), "input"),
        Key(Cell(text="0", role="zero"), "inserted zero"),
    )
    return Figure(
        "zeros",
        "Transposed convolution by inserting zeros",
        layer_words(layer),
        math.prod(layer.output_size),
        partial(_frame, layer),
        middle(layer.output_size),
        legend,
    )


def _frame(layer: Layer, number: int) -> Frame:
    target = position(number, layer.output_size)
    axes = layer.spec.axes
    kernel = layer.spec.kernel_size
    spread = tuple(n + axis.span - 1 for n, axis in zip(layer.output_size, axes, strict=True))
    reads = {}  # place in the spread-out input -> tap of the weight as it was
    for turned in itertools.product(*map(range, kernel)):
        place = tuple(i + t * a.dilation for i, t, a in zip(target, turned, axes, strict=True))
        reads[place] = _turned(turned, kernel)

    def cell(place: Sizes) -> Cell:
        source = _source(layer, place)
        ref: Ref | None = None if source is None else ("x", (0, *source))
        text = "0" if source is None else layer.x_text((0, *source))
        if place in reads:
            index = (0, 0, *reads[place])
            corner = f"×{layer.w_text(index)}"
            return Cell(
                0, 0, text, "weight" if ref else "plain", True, corner, ref, (("w", index),)
            )
        return Cell(text=text, role="input" if ref else "zero", ref=ref)

    def weight(turned: Sizes) -> Cell:
        index = (0, 0, *_turned(turned, kernel))
        return Cell(text=layer.w_text(index), role="weight", ref=("w", index))

    z = planes("z", spread, cell)
    items = equation(
        layer.spec.dims,
        captioned(z, "x, spread out", f"{times(layer.input_size)} in {times(spread)}"),
        "∗",
        captioned(planes("w", kernel, weight), "w, turned round", "weight"),
        captioned(output_planes(layer, 0, target), "y", "output"),
    )
    lit = [c for g in z if isinstance(g, Grid) for c in g.cells if c.lit and c.ref]
    formula = sum_text(index_text("y", target), lit, layer.y_text((0, *target)))
    return Frame(explained(items, formula))


def _turned(tap: Sizes, kernel: Sizes) -> Sizes:
    return tuple(k - 1 - t for t, k in zip(tap, kernel, strict=True))


def _source(layer: Layer, place: Sizes) -> Sizes | None:
    """The input that stands there; None for an inserted zero."""
    found = []
    for i, axis in zip(place, layer.spec.axes, strict=True):
        q, inside = divmod(i - (axis.span - 1 - axis.padding[0]), axis.stride)
        if inside or not 0 <= q < axis.output_size:
            return None
        found.append(q)
    return tuple(found)


KIND = LayerKind(
    "zeros",
    "transposed convolution as a convolution over an input with zeros inserted",
    "grad_input n1 c1 o1 i6x6 k3x3 s2 p1 float32 cpu",
    build,
)
