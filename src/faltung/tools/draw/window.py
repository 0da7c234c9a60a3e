"""The window of one output, laid on the input: which numbers it reads, and through which weights.

This is where figures meet the index map: everything that stands out in a picture of an input was
lit here, and carries the numbers (`ref`) and weights that the spec names.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ...ops.geometry import Pairs, Sizes
from .figure import Cell, Items, Key, Ref, read, written
from .layer import Layer
from .planes import planes

MOST_TERMS = 9  # of a sum that is written out

Taps = Mapping[Sizes, tuple[Sizes, ...]]
"""Input position (in the padding, too) -> the taps that meet it there."""


@dataclass(frozen=True)
class Look:
    """How an input is drawn: its name, its colour at rest, and the colour of what is lit."""

    name: str = "x"
    rest: str = "input"
    lit: str = "weight"
    taps: Taps = field(default_factory=dict)
    corners: bool = True


def window(layer: Layer, target: Sizes) -> Taps:
    """What the output at `target` reads."""
    found: dict[Sizes, tuple[Sizes, ...]] = {}
    if layer.transposed:
        for source, tap in layer.spec.readers(target):
            found[source] = (*found.get(source, ()), tap)
        return found
    for tap in itertools.product(*map(range, layer.spec.kernel_size)):
        place = tuple(
            axis.padded_position(q, t)
            for axis, q, t in zip(layer.spec.axes, target, tap, strict=True)
        )
        found[place] = (tap,)
    return found


def weight_index(layer: Layer, out: int, channel: int) -> Sizes | None:
    """The first two indices of the weights between two channels; None if they never meet."""
    (c, o), groups = layer.channels, layer.spec.groups
    if channel // (c // groups) != out // (o // groups):
        return None
    if layer.transposed:
        return channel, out % (o // groups)
    return out, channel % (c // groups)


def input_planes(layer: Layer, channel: int, out: int | None, look: Look) -> Items:
    """A channel of the input with its padding; lit where the filter of channel `out` lies."""
    first = None if out is None else weight_index(layer, out, channel)
    taps = look.taps if first is not None else {}

    def make(place: Sizes) -> Cell:
        text, ref = _content(layer, look.name, channel, place)
        inside = all(0 <= i < n for i, n in zip(place, layer.input_size, strict=True))
        role = look.rest if inside else "padding"
        if place not in taps or first is None:
            unread = inside and not layer.transposed and _unread(layer, place)
            return Cell(text=text, role="unread" if unread else role, ref=ref)
        weights: tuple[Ref, ...] = tuple(("w", (*first, *tap)) for tap in taps[place])
        total = sum(layer.w[index].item() for _, index in weights)
        corner = f"×{written(total)}" if look.corners else ""
        return Cell(0, 0, text, look.lit, True, corner, ref, weights)

    return planes(look.name, layer.input_size, make, padding_of(layer))


def weight_planes(
    layer: Layer, out: int, channel: int, role: str = "weight", used: Sequence[Sizes] = ()
) -> Items:
    """The filter between two channels that meet; `used` taps stand out."""
    first = weight_index(layer, out, channel) or ()

    def make(tap: Sizes) -> Cell:
        index = (*first, *tap)
        return Cell(text=layer.w_text(index), role=role, lit=tap in used, ref=("w", index))

    return planes("w", layer.spec.kernel_size, make)


def output_planes(
    layer: Layer, out: int, target: Sizes | None, role: str = "output", name: str = "y"
) -> Items:
    """A channel of the result, with `target` lit."""

    def make(place: Sizes) -> Cell:
        index = (out, *place)
        return Cell(
            text=layer.y_text(index), role=role, lit=place == target, ref=(name, index)
        )  # fmt: skip

    return planes(name, layer.output_size, make)


def padding_of(layer: Layer) -> Pairs:
    """The padding that stands around the input: none if the layer is transposed."""
    return ((0, 0),) * layer.spec.dims if layer.transposed else layer.spec.padding


def sum_text(left: str, cells: Sequence[Cell], result: str) -> str:
    """The sum that makes an output, with the numbers of the lit cells filled in.

    The result is given, because what is written of real numbers is rounded; where it is not
    known (see `Layer.y_text`) it is the sum of what is written.

    >>> sum_text("y[0]", [Cell(text="2", corner="×3"), Cell(text="4", corner="×−1")], "2")
    'y[0] = 2·3 + 4·(−1) = 2'
    """
    if not cells:
        return f"{left} = 0: no input reaches it"
    pairs = [(cell.text, cell.corner.removeprefix("×")) for cell in cells]
    total = result or written(sum(read(number) * read(weight) for number, weight in pairs))
    if len(pairs) > MOST_TERMS:
        return f"{left} = {total}, the sum of {len(pairs)} products"
    return f"{left} = {' + '.join(f'{_factor(a)}·{_factor(b)}' for a, b in pairs)} = {total}"


def index_text(name: str, index: Sequence[int]) -> str:
    """A number of a tensor by name: y[1, 2]."""
    return f"{name}[{', '.join(map(str, index))}]"


def input_legend(layer: Layer, read_now: Key | None = None) -> tuple[Key, ...]:
    """What the input's cells mean: only those that occur."""
    keys = [read_now or read_key()]
    if any(pair != (0, 0) for pair in padding_of(layer)):
        mode = {"zeros": "padding with zeros"}.get(
            layer.spec.padding_mode, f"padding, {layer.spec.padding_mode}"
        )
        keys.append(Key(Cell(text="0", role="padding"), mode))
    if not layer.transposed and any(axis.unread for axis in layer.spec.axes):
        keys.append(Key(Cell(text="3", role="unread"), "never read"))
    return tuple(keys)


def read_key(role: str = "weight") -> Key:
    """What a lit cell of the input means."""
    return Key(Cell(text="3", role=role, lit=True, corner="×2"), "read now, with its weight")


def _content(layer: Layer, name: str, channel: int, place: Sizes) -> tuple[str, Ref | None]:
    """The number at a place of the padded input, and which number of x it is."""
    if layer.transposed:
        index = (channel, *place)
        return layer.x_text(index), (name, index)
    found = [axis.fold_in(i) for axis, i in zip(layer.spec.axes, place, strict=True)]
    inside = tuple(i for i in found if i is not None)
    if len(inside) < len(found):
        return "0", None
    return layer.x_text((channel, *inside)), (name, (channel, *inside))


def _unread(layer: Layer, place: Sizes) -> bool:
    return any(i in axis.unread for axis, i in zip(layer.spec.axes, place, strict=True))


def _factor(number: str) -> str:
    return f"({number})" if number.startswith("−") else number
