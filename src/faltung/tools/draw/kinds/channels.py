"""`channels`: several channels and groups side by side, every filter in its colour.

    y[o, q] = Σ_{c, t} w[o, c, t] · x[g·C/G + c, q·s − low + t·d]

Input channels stand in a row, and each filter is a row under them: its weights for a channel stand
under that channel, and what they make at its end. Groups are then the blocks on the diagonal:
outside them there is no weight at all. One frame an output of each filter.
"""

import itertools
import math
from functools import partial

from ....ops.geometry import Sizes
from ..figure import Cell, Figure, Frame, Grid, Items, Label, Stroke, box_of, read, written
from ..layer import Layer, LayerKind, layer_words, middle, name_of, position
from ..layout import explained, framed, moved
from ..theme import SERIES
from ..window import (
    MOST_TERMS,
    Look,
    index_text,
    input_legend,
    input_planes,
    output_planes,
    read_key,
    sum_text,
    weight_index,
    weight_planes,
    window,
)

_GAP = 0.9


def build(layer: Layer) -> Figure:
    """The figure of a layer with any number of channels and groups."""
    c, o = layer.channels
    groups = layer.spec.groups
    filters = "1 filter" if o == 1 else f"{o} filters"
    reads = f"{c}" if groups == 1 else f"{c // groups} of the {c}"
    maps = math.prod(layer.spec.w_shape[:2])
    places = math.prod(layer.output_size)
    return Figure(
        "channels",
        f"Channels and groups: {name_of(layer)}",
        f"{layer_words(layer)}: {filters} over {reads} channels, {maps} kernel maps",
        o * places,
        partial(_frame, layer),
        min(1, o - 1) * places + middle(layer.output_size),
        input_legend(layer, read_key("series1" if o > 1 else "series0")),
    )


def colour(out: int) -> str:
    """The role of a filter's cells."""
    return f"series{out % len(SERIES)}"


def _frame(layer: Layer, number: int) -> Frame:
    out, place = divmod(number, math.prod(layer.output_size))
    target = position(place, layer.output_size)
    taps = window(layer, target)
    channels, outs = layer.channels
    look = Look("x", "plain", colour(out), taps)
    every = [position(t, layer.spec.kernel_size) for t in range(layer.spec.taps)]
    x = [input_planes(layer, c, out, look) for c in range(channels)]
    w = {
        (o, c): weight_planes(layer, o, c, colour(o), every if o == out else ())
        for o, c in itertools.product(range(outs), range(channels))
        if weight_index(layer, o, c) is not None
    }
    y = [output_planes(layer, o, target if o == out else None, colour(o)) for o in range(outs)]
    items = _arranged(layer, x, w, y)
    read_by_channel = [
        [cell for grid in _grids(block) for cell in grid.cells if cell.lit] for block in x
    ]
    formula = _formula(layer, (out, *target), [lit for lit in read_by_channel if lit])
    return Frame(explained(items, formula))


def _formula(layer: Layer, index: Sizes, by_channel: list[list[Cell]]) -> str:
    """The sum of one output: every product if they are few, else one number a channel."""
    left, result = index_text("y", index), layer.y_text(index)
    together = [cell for lit in by_channel for cell in lit]
    if len(together) <= MOST_TERMS or len(by_channel) > MOST_TERMS or len(by_channel) == 1:
        return sum_text(left, together, result)
    sums = [written(sum(read(c.text) * read(c.corner) for c in lit)) for lit in by_channel]
    terms = " + ".join(f"({s})" if s.startswith("−") else s for s in sums)
    return f"{left} = {terms} = {result}, one sum a channel"


def _arranged(
    layer: Layer, x: list[Items], w: dict[tuple[int, int], Items], y: list[Items]
) -> Items:
    """Input channels above, one row a filter, results at the right end."""
    wide = max(*(_size(block)[0] for block in (*x, *w.values())), 2.2)
    x_high = max(_size(block)[1] for block in x)
    high = max(*(_size(block)[1] for block in (*w.values(), *y)), 1.0)
    items: Items = ()
    for c, block in enumerate(x):
        middle_x = c * (wide + _GAP) + wide / 2
        items += (*_centred(block, middle_x, x_high / 2), _name(f"x[{c}]", middle_x, -0.55))
    rows: list[float] = [x_high + 1.3 + high / 2 + o * (high + _GAP) for o in range(len(y))]
    end = len(x) * (wide + _GAP)
    for (o, c), block in w.items():
        middle_x = c * (wide + _GAP) + wide / 2
        items += _centred(block, middle_x, rows[o])
        if (o, c + 1) in w:
            items += (Label("+", middle_x + (wide + _GAP) / 2, rows[o], 0.7, role="faint"),)
    for o, block in enumerate(y):
        width = _size(block)[0]
        last = max(c for other, c in w if other == o) * (wide + _GAP) + wide + 0.25
        ends = (last, rows[o]), (end + 0.8, rows[o])
        line = Stroke(ends, colour(o), 1.6, arrow=True)
        items += (*_centred(block, end + 1.1 + width / 2, rows[o]), line)
        items += (_name(f"y[{o}]", end + 1.5 + width, rows[o], "left"),)
        items += (_name(f"w[{o}]", -0.6, rows[o], "right"),)
    return (*items, *_group_frames(layer, wide, rows, high))


def _group_frames(layer: Layer, wide: float, rows: list[float], high: float) -> Items:
    """A dashed frame round the filters of each group."""
    groups = layer.spec.groups
    if groups == 1:
        return ()
    c, o = (count // groups for count in layer.channels)
    found: Items = ()
    for g in range(groups):
        left, right = g * c * (wide + _GAP), (g + 1) * c * (wide + _GAP) - _GAP
        top, bottom = rows[g * o] - high / 2, rows[(g + 1) * o - 1] + high / 2
        found += (framed((left, top, right, bottom), "faint", dashed=True, room=0.25),)
        found += (Label(f"group {g}", left - 0.1, top - 0.62, 0.4, "left", "faint"),)
    return found


def _name(text: str, x: float, y: float, align: str = "center") -> Label:
    return Label(text, x, y, 0.5, align, bold=True)


def _centred(block: Items, x: float, y: float) -> Items:
    left, top, right, bottom = box_of(block)
    return moved(block, x - (left + right) / 2, y - (top + bottom) / 2)


def _size(block: Items) -> tuple[float, float]:
    left, top, right, bottom = box_of(block)
    return right - left, bottom - top


def _grids(block: Items) -> list[Grid]:
    return [item for item in block if isinstance(item, Grid)]


KIND = LayerKind(
    "channels",
    "several channels and groups side by side, every filter in its colour",
    "forward n1 c4 o4 i4x4 k3x3 g2 float32 cpu",
    build,
)
