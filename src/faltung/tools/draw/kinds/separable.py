"""`separable`: first each channel in space (depthwise), then all channels at a point.

    z[c, q] = Σ_t depthwise[c, t] · x[c, q·s − low + t·d]
    y[o, q] = Σ_c pointwise[o, c] · z[c, q]

Drawn for a dense layer's sizes: its depthwise weights are the first filter's, its pointwise ones
the first tap's. One frame a position.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from ....errors import ArgumentError
from ....ops.conv.spec import ConvSpec
from ..figure import Cell, Figure, Frame, Items, box_of
from ..layer import (
    Layer,
    LayerKind,
    convolution_only,
    layer_words,
    middle,
    position,
)
from ..layout import beside, captioned, explained, moved, sign
from ..planes import table
from ..theme import SERIES
from ..window import (
    Look,
    index_text,
    input_legend,
    input_planes,
    output_planes,
    read_key,
    sum_text,
    weight_planes,
    window,
)


def build(layer: Layer) -> Figure:
    """The figure of a dense convolution taken apart."""
    convolution_only(layer, "separable")
    if layer.spec.groups > 1:
        raise ArgumentError(
            f"separable takes a dense layer apart: leave out --groups {layer.spec.groups}"
        )
    c, o = layer.channels
    taps = layer.spec.taps
    dense, apart = o * c * taps, c * taps + o * c
    return Figure(
        "separable",
        "Depthwise, then pointwise",
        f"{layer_words(layer)}: {c}·{taps} + {o}·{c} = {apart} weights instead of "
        f"{o}·{c}·{taps} = {dense}",
        math.prod(layer.output_size),
        partial(_frame, layer),
        middle(layer.output_size),
        input_legend(layer, read_key("series0")),
    )


def parts(layer: Layer) -> tuple[Layer, Layer]:
    """The depthwise layer and the pointwise one."""
    spec, (c, o) = layer.spec, layer.channels
    depthwise = Layer(replace(spec, out_channels=c, groups=c), layer.x, layer.w[0].unsqueeze(1))
    ones = (1,) * spec.dims
    point = ConvSpec("forward", 1, c, o, spec.output_size, ones, dtype=spec.dtype)
    first_tap = layer.w.reshape(o, c, -1)[:, :, 0].reshape(o, c, *ones)
    return depthwise, Layer(point, depthwise.y, first_tap)


def _frame(layer: Layer, number: int) -> Frame:
    target = position(number, layer.output_size)
    depthwise, pointwise = parts(layer)
    taps = window(depthwise, target)
    c, o = layer.channels
    columns = [
        [input_planes(depthwise, i, i, Look("x", "plain", _colour(i), taps)) for i in range(c)],
        [weight_planes(depthwise, i, i, _colour(i)) for i in range(c)],
        [output_planes(depthwise, i, target, _colour(i), "z") for i in range(c)],
    ]
    x, w, z = _rows(columns)
    mixing = captioned(table("p", o, c, partial(_point, pointwise)), "pointwise", f"{o}×{c}")
    (y,) = _rows([[output_planes(pointwise, i, target) for i in range(o)]])
    items = beside(
        captioned(x, "x"), sign("∗"), captioned(w, "depthwise"), sign("="), captioned(z, "z"),
        sign("→"), mixing, sign("="), captioned(y, "y"), gap=0.55,
    )  # fmt: skip
    first = (0, *target)
    products = [
        Cell(text=pointwise.x_text((i, *target)), corner=pointwise.w_text(_index(pointwise, 0, i)))
        for i in range(c)
    ]
    formula = sum_text(index_text("y", first), products, pointwise.y_text(first))
    return Frame(explained(items, formula))


def _rows(columns: Sequence[Sequence[Items]]) -> list[Items]:
    """Columns of blocks, those of one row at the same height."""
    boxes = [[box_of(block) for block in column] for column in columns]
    high = max(bottom - top for column in boxes for _, top, _, bottom in column) + 0.6
    found: list[Items] = []
    for column, around in zip(columns, boxes, strict=True):
        placed: Items = ()
        for row, (block, (left, top, right, bottom)) in enumerate(zip(column, around, strict=True)):
            placed += moved(block, -(left + right) / 2, row * high - (top + bottom) / 2)
        found.append(placed)
    return found


def _point(layer: Layer, out: int, channel: int) -> Cell:
    index = _index(layer, out, channel)
    return Cell(text=layer.w_text(index), role=_colour(channel), ref=("p", index))


def _index(layer: Layer, out: int, channel: int) -> tuple[int, ...]:
    return (out, channel, *(0,) * layer.spec.dims)


def _colour(channel: int) -> str:
    return f"series{channel % len(SERIES)}"


KIND = LayerKind(
    "separable",
    "depthwise then pointwise: each channel in space, then all channels at each point",
    "forward n1 c3 o4 i4x4 k3x3 float32 cpu",
    build,
)
