"""`field`: how the receptive field grows through a stack of layers.

    r ← r + (d·(K−1))·j,   j ← j·s          but drawn from the index map, position by position

One row of cells a layer, each cell over the middle of what it sees, the input at the bottom. What
the output in the middle depends on stands out, row by row, with a line for every tap. One section
an axis, where axes differ. One frame a layer.

Source: Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks",
Distill 2019, section 2.
"""

import itertools
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

from ....errors import ArgumentError
from ....ops.conv.arguments import conv_spec, conv_transpose_spec
from ....ops.conv.receptive_field import receptive_field
from ....ops.conv.spec import ConvSpec
from ....ops.geometry import Axis, Sizes
from ...field import Layer as Word
from ...field import layer as read_layer
from ...options import spread
from ..figure import Cell, Figure, Frame, Grid, Items, Key, Label, Ref, Stroke, box_of
from ..layer import StackKind, times
from ..layout import under
from ..limits import MOST_COLUMNS
from ..planes import check_extent
from ..theme import SERIES

_HIGH = 2.6  # from row to row
_ONE = "a layer of this stack"


@dataclass(frozen=True)
class Section:
    """One axis of the stack: its layers, whether each is transposed, and their words."""

    axes: tuple[Axis, ...]
    transposed: tuple[bool, ...]

    def size(self, layer: int) -> int:
        """Positions after that many layers."""
        if layer == 0:
            return self._ends(0)[0]
        return self._ends(layer - 1)[1]

    def reads(self, layer: int, output: int) -> list[tuple[int, int]]:
        """(position, tap) that an output of a layer reads, in the padding, too."""
        axis = self.axes[layer - 1]
        if self.transposed[layer - 1]:
            return sorted(axis.readers[output])
        return [(axis.padded_position(output, t), t) for t in range(axis.kernel_size)]

    def middle(self, top: int) -> int:
        """The output of a layer to look at: the one in the middle, or the next that sees most.

        After a transposed layer outputs differ in what they see, with a period of its stride.
        """
        last = self.size(top) - 1
        phases = math.prod(
            axis.stride for axis, t in zip(self.axes[:top], self.transposed, strict=False) if t
        )
        nearby = [min(last // 2 + last % 2 + phase, last) for phase in range(phases)]
        return max(nearby, key=lambda place: width(self.cone(top, place)[0]))

    def cone(self, top: int, output: int) -> list[dict[int, list[Ref]]]:
        """Per layer, from the input up, the positions that an output of the layer `top` rests on.

        With each position the (output, tap) pairs of the layer above that read it.
        """
        found: list[dict[int, list[Ref]]] = [{} for _ in range(top + 1)]
        found[top] = {output: []}
        for layer in range(top, 0, -1):
            for q in sorted(found[layer]):
                if not 0 <= q < self.size(layer):
                    continue  # in the padding: nothing lies behind it
                for place, tap in self.reads(layer, q):
                    found[layer - 1].setdefault(place, []).append((f"w{layer}", (q, tap)))
        return found

    def places(self, layer: int) -> list[tuple[Fraction, Fraction]]:
        """Jump and start of every layer: where its cells stand, in input positions."""
        jump, start = Fraction(1), Fraction(0)
        found = [(jump, start)]
        for axis, transposed in zip(self.axes[:layer], self.transposed, strict=False):
            middle = Fraction(axis.span - 1, 2)
            if transposed:
                start += jump * (axis.padding[0] - middle) / axis.stride
                jump /= axis.stride
            else:
                start += jump * (middle - axis.padding[0])
                jump *= axis.stride
            found.append((jump, start))
        return found

    def _ends(self, number: int) -> tuple[int, int]:
        axis = self.axes[number]
        ends = axis.input_size, axis.output_size
        return ends[::-1] if self.transposed[number] else ends


def stack(words: Sequence[str], size: Sizes = ()) -> list[ConvSpec]:
    """The layers that words like k7s2p3 and Tk4s2p1 describe, on an input of that size.

    Without a size the input is as large as the middle output needs to see no border.
    """
    if not words:
        raise ArgumentError("field needs layers: k3 k3s2p1 k3p1")
    layers = [read_layer(word) for word in words]
    dims = max(len(size), *(one.dims for one in layers))
    if size:
        return _chain(layers, spread(size, dims, "--input"))
    for n in range(1, MOST_COLUMNS + 1):
        try:
            specs = _chain(layers, (n,) * dims)
        except ArgumentError:
            continue  # too small for some window
        if all(_whole(section) for section in sections(specs)):
            return specs
    raise ArgumentError(f"too large to draw: this stack sees more than {MOST_COLUMNS} positions")


def width(positions: Collection[int]) -> int:
    """From the first position to the last, both included."""
    return max(positions) - min(positions) + 1 if positions else 0


def sections(specs: Sequence[ConvSpec]) -> list[Section]:
    """The stack's axes, equal ones once."""
    transposed = tuple(spec.task == "grad_input" for spec in specs)
    found = [
        Section(tuple(axes), transposed) for axes in zip(*(s.axes for s in specs), strict=True)
    ]
    return list(dict.fromkeys(found))


def build(specs: Sequence[ConvSpec]) -> Figure:
    """The figure of layers in a row, the first layer first."""
    if not specs:
        raise ArgumentError("field needs at least one layer")
    field = receptive_field(specs)
    parts = sections(specs)
    for first, second in itertools.pairwise(specs):
        if _after(first) != _before(second):
            raise ArgumentError(
                f"a layer of this stack gives {_after(first)} positions, the next takes "
                f"{_before(second)}"
            )
    legend = [Key(Cell(role="series0", lit=True), "what the output in the middle depends on")]
    if any(any(axis.padding != (0, 0) for axis in part.axes) for part in parts):
        legend.append(Key(Cell(role="padding"), "padding"))
    return Figure(
        "field",
        f"Receptive field of {_layers(len(specs))}: {times(field.size)}",
        f"input {times(_before(specs[0]))} → {times(_after(specs[-1]))}; "
        f"one output further is {' × '.join(map(str, field.jump))} inputs further",
        len(specs),
        partial(_frame, parts, list(specs)),
        len(specs) - 1,
        tuple(legend),
    )


def _frame(parts: Sequence[Section], specs: Sequence[ConvSpec], number: int) -> Frame:
    top = number + 1
    blocks = [_section(part, specs, part_number, top) for part_number, part in enumerate(parts)]
    return Frame(under(*blocks, gap=1.4))


def _section(part: Section, specs: Sequence[ConvSpec], number: int, top: int) -> Items:
    cone = part.cone(top, part.middle(top))
    places = part.places(len(specs))
    unit = min(jump for jump, _ in places)
    rows = [
        _row(part, layer, places[layer], unit, cone[layer] if layer <= top else {}, number)
        for layer in range(len(specs) + 1)
    ]
    items: Items = tuple(rows)
    for layer in range(1, top + 1):
        items += _lines(rows[layer], rows[layer - 1], layer)
    left, _, right, _ = box_of(tuple(rows))
    for layer, row in enumerate(rows):
        y = row.top + 0.5
        text = "input" if layer == 0 else f"{layer}: {_word(specs[layer - 1], number)}"
        items += (Label(text, left - 0.6, y, 0.5, "right", bold=layer in (0, top)),)
        if layer <= top:
            items += (Label(f"{width(cone[layer])} wide", right + 0.6, y, 0.5, "left", "faint"),)
    return items


def _row(
    part: Section,
    layer: int,
    place: tuple[Fraction, Fraction],
    unit: Fraction,
    lit: dict[int, list[Ref]],
    number: int,
) -> Grid:
    """The positions after a layer, and the padding that the next one puts around them."""
    low, high = 0, 0
    if layer < len(part.axes) and not part.transposed[layer]:
        low, high = part.axes[layer].padding
    size = part.size(layer)
    check_extent(f"layer {layer}", 1, size + low + high)
    cells = []
    for q in range(-low, size + high):
        inside = 0 <= q < size
        role = f"series{layer % len(SERIES)}" if inside else "padding"
        ref: Ref | None = (f"layer{layer}", (number, q)) if inside else None
        text = str(q) if inside else ""
        cells.append(Cell(0, q, text, role, q in lit, "", ref, tuple(lit.get(q, ()))))
    jump, start = (float(v / unit) for v in place)
    top = (len(part.axes) - layer) * _HIGH
    return Grid(f"layer{layer}", tuple(cells), start, top, (1.0, jump))


def _lines(above: Grid, below: Grid, layer: int) -> Items:
    """A line for every tap, from the output that uses it to what it reads."""
    tops = {cell.column: above.corner(cell) for cell in above.cells}
    found: Items = ()
    for cell in below.cells:
        x, y = below.corner(cell)
        for _, (output, _) in cell.weights:
            from_x, from_y = tops[output]
            ends = (from_x + 0.5, from_y + 1), (x + 0.5, y)
            found += (Stroke(ends, f"series{layer % len(SERIES)}", 0.9, under=True),)
    return found


def _word(spec: ConvSpec, axis: int) -> str:
    """The layer as its word: k3s2p1."""
    k, s, d = (values[axis] for values in (spec.kernel_size, spec.stride, spec.dilation))
    low, high = spec.padding[axis]
    padding = f"p{low}" if low == high else f"p{low}+{high}"
    words = ["T" if spec.task == "grad_input" else "", f"k{k}", f"s{s}" if s > 1 else ""]
    return "".join([*words, padding if low or high else "", f"d{d}" if d > 1 else ""])


def _chain(layers: Sequence[Word], size: Sizes) -> list[ConvSpec]:
    specs: list[ConvSpec] = []
    for one in layers:
        dims = len(size)
        kernel, stride, dilation = (
            spread(values, dims, _ONE) for values in (one.kernel, one.stride, one.dilation)
        )
        padding = spread(one.padding, dims, _ONE)
        make = conv_transpose_spec if one.transposed else conv_spec
        spec = make(
            (1, 1, *size), (1, 1, *kernel), dims=dims, stride=stride, padding=padding,
            dilation=dilation,
        )  # fmt: skip
        specs.append(spec)
        size = _after(spec)
    return specs


def _whole(part: Section) -> bool:
    """Whether the cone of the middle output ends inside the input, and two more fit beside it."""
    top = len(part.axes)
    inside = all(
        0 <= place < part.size(layer)
        for layer, row in enumerate(part.cone(top, part.middle(top)))
        for place in row
    )
    return inside and part.size(top) >= 3


def _layers(count: int) -> str:
    return "1 layer" if count == 1 else f"{count} layers"


def _before(spec: ConvSpec) -> Sizes:
    return spec.output_size if spec.task == "grad_input" else spec.input_size


def _after(spec: ConvSpec) -> Sizes:
    return spec.input_size if spec.task == "grad_input" else spec.output_size


KIND = StackKind(
    "field",
    "how the receptive field grows through a stack of layers: k3 k3s2p1 Tk4s2p1 …",
    "k3 k3s2 k3",
    stack,
    build,
)
