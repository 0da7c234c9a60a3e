"""`im2col`: every window written out as a row, and the layer as one matrix product.

    regions[q, (c, t)] = x[c, q·s − low + t·d]            y = regions · weightᵀ

One frame an output: its window in x, its row of the region matrix, its row of the product.
"""

import itertools
import math
from functools import partial

from ....ops.geometry import Sizes
from ..figure import Cell, Figure, Frame, Grid, Items, Key, Ref
from ..layer import (
    Layer,
    LayerKind,
    convolution_only,
    layer_words,
    middle,
    name_of,
    position,
    times,
)
from ..layout import beside, captioned, explained, sign, under
from ..planes import check_extent, table
from ..window import Look, index_text, input_legend, input_planes, sum_text, weight_index, window


def build(layer: Layer) -> Figure:
    """The figure of a convolution with any number of channels and groups."""
    convolution_only(layer, "im2col")
    rows, columns = _shape(layer)
    check_extent("the region matrix", rows, columns)
    copies = rows * columns / math.prod(layer.x.shape)
    return Figure(
        "im2col",
        f"im2col: {name_of(layer)} as one matrix product",
        f"{layer_words(layer)}: {rows}×{columns} regions, {copies:.2g} times the input",
        rows,
        partial(_frame, layer),
        middle(layer.output_size),
        input_legend(
            layer, Key(Cell(text="3", role="weight", lit=True), "the window of one output")
        ),
    )


def _shape(layer: Layer) -> tuple[int, int]:
    """Outputs, and taps of all channels."""
    return math.prod(layer.output_size), layer.channels[0] * layer.spec.taps


def _frame(layer: Layer, number: int) -> Frame:
    target = position(number, layer.output_size)
    channels, outs = layer.channels
    taps = window(layer, target)
    x = under(
        *(input_planes(layer, c, _meeting(layer, c), Look(taps=taps, corners=False))
          for c in range(channels)),
        gap=0.5,
    )  # fmt: skip
    rows, columns = _shape(layer)
    regions = table("regions", rows, columns, partial(_region, layer, number))
    weight = table("w", columns, outs, partial(_weight, layer))
    y = table("y", rows, outs, partial(_product, layer, number))
    ends = f"{rows}×{columns}", f"{columns}×{outs}", f"{rows}×{outs}"
    items = beside(
        captioned(x, "x", times(layer.input_size)), sign("→"),
        captioned(regions, "regions", ends[0]), sign("·"),
        captioned(weight, "wᵀ", ends[1]), sign("="), captioned(y, "y", ends[2]), gap=0.6,
    )  # fmt: skip
    products = [_filter(layer, cell) for cell in _cells(regions) if cell.lit]
    first = (0, *target)
    formula = sum_text(
        index_text("y", first), [p for p in products if p is not None], layer.y_text(first)
    )
    return Frame(explained(items, formula))


def _meeting(layer: Layer, channel: int) -> int:
    """Some output channel whose filter reads this input channel."""
    c, o = (count // layer.spec.groups for count in layer.channels)
    return channel // c * o


def _column(layer: Layer, column: int) -> tuple[int, Sizes]:
    """Channel and tap of a column of the region matrix."""
    channel, tap = divmod(column, layer.spec.taps)
    return channel, position(tap, layer.spec.kernel_size)


def _region(layer: Layer, lit: int, row: int, column: int) -> Cell:
    channel, tap = _column(layer, column)
    source = layer.spec.source(position(row, layer.output_size), tap)
    ref: Ref | None = None if source is None else ("x", (channel, *source))
    text = "0" if ref is None else layer.x_text(ref[1])
    meeting = (weight_index(layer, o, channel) for o in range(layer.channels[1]))
    weights: tuple[Ref, ...] = tuple(
        ("w", (*first, *tap)) for first in meeting if first is not None
    )
    if row == lit:
        return Cell(text=text, role="weight", lit=True, ref=ref, weights=weights)
    return Cell(text=text, role="padding" if ref is None else "input", ref=ref, weights=weights)


def _weight(layer: Layer, row: int, out: int) -> Cell | None:
    """A filter is a column; between groups there is nothing."""
    channel, tap = _column(layer, row)
    first = weight_index(layer, out, channel)
    if first is None:
        return None
    index = (*first, *tap)
    return Cell(text=layer.w_text(index), role="weight", ref=("w", index))


def _product(layer: Layer, lit: int, row: int, out: int) -> Cell:
    index = (out, *position(row, layer.output_size))
    return Cell(text=layer.y_text(index), role="output", lit=row == lit, ref=("y", index))


def _filter(layer: Layer, cell: Cell) -> Cell | None:
    """A region's number with the weight that the first filter has for it."""
    mine = [index for _, index in cell.weights if index[0] == 0]
    return Cell(text=cell.text, corner=layer.w_text(mine[0])) if mine else None


def _cells(block: Items) -> list[Cell]:
    grids = (item.cells for item in block if isinstance(item, Grid))
    return list(itertools.chain.from_iterable(grids))


KIND = LayerKind(
    "im2col",
    "every window as a row of the region matrix, and the layer as one matrix product",
    "forward n1 c1 o1 i5x5 k3x3 s2 p1 float32 cpu",
    build,
)
