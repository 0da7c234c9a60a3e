"""`faltung field`: what one output of a stack of layers sees of the input.

Layers are short words, first layer first: `k7s2p3` is kernel 7, stride 2, padding 3; `d` is
dilation, numbers per axis are joined with `x`, and a leading `T` makes the layer transposed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from rich.table import Table

from ..errors import ArgumentError
from ..ops.conv.receptive_field import ReceptiveField, receptive_field
from ..ops.conv.spec import ConvSpec
from ..ops.geometry import Pairs, Sizes, transposed_output_size, window_span
from .options import padding, sizes, spread
from .printing import new_table

_LAYER = re.compile(r"(?P<transposed>T?)(?P<words>([kspd]\d[\dx+]*)+)")
_WORD = re.compile(r"([kspd])(\d[\dx+]*)")


@dataclass(frozen=True)
class Layer:
    """A layer as its word says it: numbers once, or one per axis."""

    transposed: bool
    kernel: Sizes
    stride: Sizes = (1,)
    padding: Pairs = ((0, 0),)
    dilation: Sizes = (1,)

    @property
    def dims(self) -> int:
        """How many axes the word tells apart."""
        return max(len(v) for v in (self.kernel, self.stride, self.padding, self.dilation))


def layer(word: str) -> Layer:
    """The layer that a word describes.

    >>> layer("Tk4s2p1")
    Layer(transposed=True, kernel=(4,), stride=(2,), padding=((1, 1),), dilation=(1,))
    """
    match = _LAYER.fullmatch(word)
    pieces = [] if match is None else _WORD.findall(match["words"])
    found = dict(pieces)
    if match is None or "k" not in found or len(found) != len(pieces):
        raise ArgumentError(
            "a layer reads like k7s2p3 or Tk4s2p1 (T transposed, k kernel, s stride, p padding, "
            f"d dilation; numbers per axis joined with x), got {word!r}"
        )
    what = f"the {{}} of layer {word!r}"
    pairs = padding(found.get("p", "0"), what.format("padding"))
    return Layer(
        match["transposed"] == "T",
        sizes(found["k"], what.format("kernel")),
        sizes(found.get("s", "1"), what.format("stride")),
        pairs if not isinstance(pairs, str) else ((0, 0),),
        sizes(found.get("d", "1"), what.format("dilation")),
    )


def fields(words: Sequence[str]) -> list[ReceptiveField]:
    """The receptive field after each layer."""
    layers = [layer(word) for word in words]
    dims = max(one.dims for one in layers)
    specs = [_spec(one, dims) for one in layers]
    return [receptive_field(specs[: count + 1]) for count in range(len(specs))]


def table(words: Sequence[str]) -> Table:
    """The answer for people: one row a layer."""
    rows = new_table("after layer", "sees", "jump", "centre of output 0")
    for word, field in zip(words, fields(words), strict=True):
        rows.add_row(word, *(_written(v) for v in (field.size, field.jump, field.start)))
    return rows


def facts(words: Sequence[str]) -> dict[str, Any]:
    """The answer for programs; a jump below 1 is a fraction of an input position."""
    return {
        "layers": [
            {
                "layer": word,
                "size": list(field.size),
                "jump": [float(j) for j in field.jump],
                "start": [float(s) for s in field.start],
            }
            for word, field in zip(words, fields(words), strict=True)
        ]
    }


def _spec(one: Layer, dims: int) -> ConvSpec:
    """The layer on an image that is just large enough: a receptive field knows no borders."""
    what = "a layer of this stack"
    kernel, stride, dilation = (
        spread(v, dims, what) for v in (one.kernel, one.stride, one.dilation)
    )
    pairs = spread(one.padding, dims, what)
    axes = list(zip(kernel, stride, pairs, dilation, strict=True))
    if not one.transposed:
        size = tuple(max(window_span(k, d) - sum(p), 1) for k, _, p, d in axes)
        return ConvSpec("forward", 1, 1, 1, size, kernel, (), stride, pairs, dilation)
    before = tuple(max(-((window_span(k, d) - sum(p) - 1) // s), 0) + 1 for k, s, p, d in axes)
    after = tuple(
        transposed_output_size(n, k, s, p, d) for n, (k, s, p, d) in zip(before, axes, strict=True)
    )
    return ConvSpec("grad_input", 1, 1, 1, after, kernel, before, stride, pairs, dilation)


def _written(values: Sequence[int | Fraction]) -> str:
    """Values per axis, once if they are equal."""
    words = [str(v) for v in values]
    return words[0] if len(set(words)) == 1 else " × ".join(words)
