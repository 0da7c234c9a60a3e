"""`matrix`: the layer as one matrix that acts on the flattened input, and its transpose.

    M[(o, q), (c, i)] = Σ { w[o, c, t] : output q reads input i through tap t }
    y = M · x                   z = Mᵀ · y: the shape of x comes back, its values do not

Row q of M is the weight laid on the input at q, zeros elsewhere; it is column q of Mᵀ. For a
transposed layer only Mᵀ is drawn. One frame a row of M.
"""

import math
from collections.abc import Sequence
from functools import partial

from ....ops.conv.by_hand.definition import grad_input
from ....ops.geometry import Sizes
from ..figure import Cell, Figure, Frame, Items, Key, Ref, written
from ..layer import Layer, LayerKind, layer_words, name_of, position
from ..layout import beside, captioned, explained, sign
from ..planes import check_extent, table
from ..theme import SERIES


def build(layer: Layer) -> Figure:
    """The figure of a layer with any number of channels and groups."""
    rows, columns = _shape(layer)
    check_extent("the kernel matrix", max(rows, columns), rows + columns)
    full, weights = rows * columns, len(_entries(layer))
    colour = _colour(layer, 0)
    return Figure(
        "matrix",
        f"Kernel matrix: {name_of(layer)} as one matrix product",
        f"{layer_words(layer)}: {weights} of the {full} entries hold a weight, the rest are zero",
        rows,
        partial(_frame, layer),
        rows // 2,
        (
            Key(Cell(text="2", role=colour), "a weight"),
            Key(Cell(role="zero"), "zero"),
            Key(Cell(text="2", role=colour, lit=True), "one row of M: one column of Mᵀ"),
        ),
    )


def _shape(layer: Layer) -> tuple[int, int]:
    """Outputs and inputs of the convolution, all channels."""
    spec = layer.spec
    return (
        spec.out_channels * math.prod(spec.output_size),
        spec.in_channels * math.prod(spec.input_size),
    )


def _entries(layer: Layer) -> dict[tuple[int, int], tuple[Ref, ...]]:
    """(row, column) -> the weights whose sum stands there."""
    spec = layer.spec
    outs, ins = math.prod(spec.output_size), math.prod(spec.input_size)
    per_out, per_in = spec.out_channels // spec.groups, spec.in_channels // spec.groups
    found: dict[tuple[int, int], tuple[Ref, ...]] = {}
    for row in range(spec.out_channels * outs):
        o, q = divmod(row, outs)
        for tap in range(spec.taps):
            t = position(tap, spec.kernel_size)
            source = spec.source(position(q, spec.output_size), t)
            if source is None:
                continue
            for c in range(per_in):
                column = (o // per_out * per_in + c) * ins + _number(source, spec.input_size)
                found[row, column] = (*found.get((row, column), ()), ("w", (o, c, *t)))
    return found


def _frame(layer: Layer, lit: int) -> Frame:
    rows, columns = _shape(layer)
    entries = _entries(layer)

    def entry(row: int, column: int) -> Cell:
        weights = entries.get((row, column), ())
        total = sum(layer.w[index].item() for _, index in weights)
        text = written(total) if weights else ""
        ref: Ref = ("M", (row, column))
        role = _colour(layer, row) if weights else "zero"
        return Cell(0, 0, text, role, row == lit and bool(weights), "", ref, weights)

    def flipped(row: int, column: int) -> Cell:
        return entry(column, row)

    shapes = f"{rows}×{columns}", f"{columns}×{rows}"
    transpose = captioned(table("Mᵀ", columns, rows, flipped), "Mᵀ", shapes[1])
    if layer.transposed:
        x, y = _column(layer, "x", lit), _column(layer, "y", None)
        items = _product(transpose, captioned(x, "x"), captioned(y, "y"))
        words = f"x[{lit}] adds column {lit} of Mᵀ, times itself, to y"
    else:
        matrix = captioned(table("M", rows, columns, entry), "M", shapes[0])
        x, y, z = (_column(layer, name, lit) for name in "xyz")
        forth = _product(matrix, captioned(x, "x"), captioned(y, "y"))
        back = _product(transpose, captioned(y, "y"), captioned(z, "z"))
        items = beside(forth, back, gap=2.0)
        words = f"Row {lit} of M makes y[{lit}].   Mᵀ brings back the shape of x, not its values."
    return Frame(explained(items, words))


def _product(matrix: Items, operand: Items, result: Items) -> Items:
    return beside(matrix, sign("·"), operand, sign("="), result, gap=0.45)


def _column(layer: Layer, name: str, lit: int | None) -> Items:
    """A tensor flattened to a column: x, y or, through the transpose, z."""
    images = {"x": layer.x, "y": layer.y}
    image = images[name] if name in images else grad_input(layer.y, layer.w, layer.spec)
    size: Sequence[int] = image.shape[1:]
    numbers = image.flatten().tolist()
    role = {"x": "input", "y": "output", "z": "input"}[name]
    shown = lit if name == ("x" if layer.transposed else "y") else None

    def make(row: int, _: int) -> Cell:
        index = position(row, tuple(size))
        return Cell(text=written(numbers[row]), role=role, lit=row == shown, ref=(name, index))

    return table(name, len(numbers), 1, make)


def _colour(layer: Layer, row: int) -> str:
    """Filters keep their colours where there are several."""
    if layer.spec.out_channels == 1:
        return "weight"
    return f"series{row // math.prod(layer.spec.output_size) % len(SERIES)}"


def _number(place: Sizes, size: Sizes) -> int:
    """The number of a position in reading order."""
    number = 0
    for i, n in zip(place, size, strict=True):
        number = number * n + i
    return number


KIND = LayerKind(
    "matrix",
    "the kernel matrix times the flattened input, and its transpose",
    "forward n1 c1 o1 i4x4 k3x3 float32 cpu",
    build,
)
