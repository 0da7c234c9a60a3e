"""The command `faltung draw`: from what was typed to a figure in a file.

What is not said of a layer comes from the kind's own example, so that `draw slide --stride 2` is
enough; but arguments of the example go as soon as any is given.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.table import Table

from ...errors import ArgumentError
from ...ops.conv.spec import ConvSpec
from ..options import LayerOptions, layer_spec, sizes
from ..printing import new_table
from . import all_kinds, figure, kind_of
from .layer import LayerKind, layer_of, times
from .render import save
from .theme import theme_of

_PLAIN = LayerOptions("", "")


@dataclass(frozen=True)
class Asked:
    """A layer as the options of `draw` say it; None and defaults for what they do not say."""

    input: str | None = None
    kernel: str | None = None
    stride: str = _PLAIN.stride
    padding: str = _PLAIN.padding
    dilation: str = _PLAIN.dilation
    output_padding: str = _PLAIN.output_padding
    transposed: bool = False
    channels: int | None = None
    out_channels: int | None = None
    groups: int | None = None


def run(
    kind: str,
    words: Sequence[str],
    asked: Asked,
    output: Path | None,
    theme: str,
    frame: int | None,
) -> str:
    """Write the figure; returns a sentence on what was written."""
    chosen = kind_of(kind)
    if isinstance(chosen, LayerKind):
        layer: ConvSpec | Sequence[ConvSpec] = _one_layer(chosen, words, asked)
    else:
        if asked != Asked(input=asked.input):
            raise ArgumentError(f"{kind} takes its layers as words: {chosen.example}")
        size = sizes(asked.input, "--input") if asked.input else ()
        layer = chosen.read(words or chosen.example.split(), size)
    path = output or Path(f"{kind}.svg")
    shown = figure(kind, layer)
    try:
        save(shown, path, theme_of(theme), frame)
    except OSError as error:
        raise ArgumentError(f"cannot write {path}: {error.strerror}") from error
    moving = path.suffix.lower() == ".gif"
    number = shown.still if frame is None else frame
    count = f"{shown.frames} frames" if moving else f"frame {number} of 0 to {shown.frames - 1}"
    return f"{path}: {shown.title}; {shown.subtitle} ({count})"


def listing() -> Table:
    """Every kind of figure, what it shows, and the layer it draws if none is given."""
    rows = new_table("kind", "shows", "example")
    for column in rows.columns:
        column.justify = "left"
    for kind in all_kinds().values():
        rows.add_row(kind.name, kind.summary, kind.example)
    return rows


def _one_layer(kind: LayerKind, words: Sequence[str], asked: Asked) -> ConvSpec:
    """The layer of a spelled problem, of the options, or the kind's example."""
    if words:
        if asked != Asked():
            raise ArgumentError("draw takes a spelled problem or options for a layer, not both")
        return ConvSpec.parse(" ".join(words))
    example = ConvSpec.parse(kind.example)
    if asked == Asked():
        return example
    shown = layer_of(example)
    channels, out_channels, groups = asked.channels, asked.out_channels, asked.groups
    if (channels, out_channels, groups) == (None, None, None):
        (channels, out_channels), groups = shown.channels, example.groups
    channels = 1 if channels is None else channels
    return layer_spec(
        replace(
            _PLAIN,
            input=asked.input or times(shown.input_size).replace("×", "x"),
            kernel=asked.kernel or times(example.kernel_size).replace("×", "x"),
            stride=asked.stride, padding=asked.padding, dilation=asked.dilation,
            output_padding=asked.output_padding,
            transposed=asked.transposed or shown.transposed,
            channels=channels, out_channels=channels if out_channels is None else out_channels,
            groups=1 if groups is None else groups,
        )
    )  # fmt: skip
