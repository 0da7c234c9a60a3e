"""`scatter`: transposed convolution as stamping, and how often each output is stamped.

    y[q·s − low + t·d] += x[q] · w[t]                    for every input q and tap t

Every input stamps the weight, times itself, on the output. The count says how many stamps fall on
an output: where the kernel size is no multiple of the stride it makes a checkerboard. One frame an
input; numbers are the sums so far.

Source: Odena, Dumoulin and Olah, "Deconvolution and Checkerboard Artifacts", Distill 2016.
"""

import itertools
import math
from functools import partial

from ....ops.geometry import Sizes
from ..figure import Cell, Figure, Frame, Key, Ref, read, written
from ..layer import (
    Layer,
    LayerKind,
    layer_words,
    middle,
    one_channel,
    position,
    transposed_only,
)
from ..layout import beside, captioned, explained, moved, sign, under
from ..planes import planes
from ..window import weight_planes

Stamps = dict[Sizes, list[tuple[Sizes, Sizes]]]
"""Place on the canvas -> the (input, tap) pairs that fall there."""


def build(layer: Layer) -> Figure:
    """The figure of a transposed convolution with one channel."""
    transposed_only(layer, "scatter")
    one_channel(layer, "scatter")
    counts = sorted({len(list(layer.spec.readers(i))) for i in _places(layer.output_size)})
    times = "once" if counts == [1] else " to ".join(map(str, sorted({*counts[:1], *counts[-1:]})))
    times += "" if counts == [1] else " times"
    legend = [Key(Cell(text="6", role="weight", lit=True), "stamped now: the sum so far")]
    if any(pair != (0, 0) for pair in _cut(layer)):
        legend.append(Key(Cell(text="6", role="padding"), "cut off by the padding"))
    return Figure(
        "scatter",
        "Transposed convolution as stamping",
        f"{layer_words(layer)}: every output is stamped {times}",
        math.prod(layer.input_size),
        partial(_frame, layer),
        middle(layer.input_size),
        tuple(legend),
    )


def _frame(layer: Layer, number: int) -> Frame:
    source = position(number, layer.input_size)
    stamps = _stamps(layer)
    before = {position(n, layer.input_size) for n in range(number + 1)}

    def given(place: Sizes) -> Cell:
        index = (0, *place)
        return Cell(
            text=layer.x_text(index), role="input", lit=place == source, ref=("x", index)
        )  # fmt: skip

    def canvas(place: Sizes) -> Cell:
        done = [(q, t) for q, t in stamps.get(place, []) if q in before]
        products = [read(layer.x_text((0, *q))) * read(layer.w_text((0, 0, *t))) for q, t in done]
        text = written(sum(products)) if done else ""
        now: tuple[Ref, ...] = tuple(("w", (0, 0, *t)) for q, t in done if q == source)
        inside = all(0 <= i < n for i, n in zip(place, layer.output_size, strict=True))
        ref: Ref | None = ("y", (0, *place)) if inside else None
        role = "weight" if now else "output" if inside else "padding"
        return Cell(0, 0, text, role, bool(now), "", ref, now)

    def count(place: Sizes) -> Cell:
        times = len(list(layer.spec.readers(place)))
        most = max(len(pairs) for pairs in stamps.values())
        ref: Ref = ("count", (0, *place))
        return Cell(text=str(times), role="count", ref=ref, shade=times / most)

    x = captioned(planes("x", layer.input_size, given), "x", "input")
    w = captioned(weight_planes(layer, 0, 0), "w", "weight")
    y = captioned(planes("y", layer.output_size, canvas, _cut(layer)), "y", "stamped so far")
    counts = planes("count", layer.output_size, count)
    counts = captioned(counts, "count", "stamps on each output")
    if layer.spec.dims == 1:  # each count under its output
        results = (*y, *moved(counts, _cut(layer)[0][0], 3.0))
        items = under(beside(x, sign("×"), w), results, gap=0.5, align="middle")
    else:
        items = beside(x, sign("×"), w, sign("→"), y, sign(" "), counts)
    value = layer.x_text((0, *source))
    words = f"Stamp {number + 1} of {math.prod(layer.input_size)}: {value} times the weight"
    return Frame(explained(items, words))


def _cut(layer: Layer) -> tuple[tuple[int, int], ...]:
    """How far stamps reach over the ends of the result, axis by axis."""
    return tuple(
        (axis.padding[0], max((axis.output_size - 1) * axis.stride - axis.padding[0] + axis.span
                              - axis.input_size, 0))
        for axis in layer.spec.axes
    )  # fmt: skip


def _stamps(layer: Layer) -> Stamps:
    """Everything that falls on the canvas; with a padding mode, where it is folded to."""
    spec = layer.spec
    found: Stamps = {}
    for q, t in itertools.product(_places(layer.input_size), _places(spec.kernel_size)):
        place = tuple(
            axis.padded_position(i, j) for axis, i, j in zip(spec.axes, q, t, strict=True)
        )
        folded = spec.source(q, t)
        found.setdefault(place if folded is None else folded, []).append((q, t))
    return found


def _places(size: Sizes) -> list[Sizes]:
    return list(itertools.product(*map(range, size)))


KIND = LayerKind(
    "scatter",
    "transposed convolution as stamping, with the overlap count (checkerboard)",
    "grad_input n1 c1 o1 i7x7 k3x3 s2 float32 cpu",
    build,
)
