"""`faltung draw`: figures of a layer, still (SVG, PNG) or moving (GIF), computed from its spec.

A kind of picture is one file in `kinds`, which turns a layer into plain data (`figure`); `render`
draws any of them. Adding a picture is that file and its test.

>>> from faltung.tools.draw import figure
>>> drawn = figure("slide", "forward n1 c1 o1 i5x5 k3x3 s2 p1 float32 cpu")
>>> drawn.frames, [cell.ref for cell in drawn.frame(4).lit("y")]
(9, [('y', (0, 1, 1))])
"""

import importlib
import pkgutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from torch import Tensor

from ...errors import ArgumentError
from ...ops.conv.spec import ConvSpec
from . import kinds
from .figure import Figure
from .layer import LayerKind, StackKind, layer_of


@cache
def all_kinds() -> dict[str, LayerKind | StackKind]:
    """Every kind of picture by its name."""
    found = {}
    for info in sorted(pkgutil.iter_modules(kinds.__path__), key=lambda info: info.name):
        kind = importlib.import_module(f"{kinds.__name__}.{info.name}").KIND
        found[kind.name] = kind
    return found


def kind_of(name: str) -> LayerKind | StackKind:
    """The kind of that name; raises `ArgumentError` if there is none."""
    if name not in all_kinds():
        raise ArgumentError(f"there is no figure {name!r}; there are {', '.join(all_kinds())}")
    return all_kinds()[name]


def figure(
    kind: str,
    layer: str | ConvSpec | Sequence[ConvSpec] = "",
    x: Tensor | None = None,
    w: Tensor | None = None,
) -> Figure:
    """The figure of one kind of a layer: a spec or its spelling; for `field` several specs, or
    words like k3s2p1.

    Left out, the layer is the kind's own example, and the numbers are small whole ones. x is
    [N, C, in…] (the first image is drawn), w the weight in PyTorch's shape.

    Raises `ArgumentError` for an unknown kind and for a layer that this kind does not draw.
    """
    chosen = kind_of(kind)
    if isinstance(chosen, StackKind):
        if isinstance(layer, str):
            layer = chosen.read((layer or chosen.example).split(), ())
        return chosen.build([layer] if isinstance(layer, ConvSpec) else layer)
    if isinstance(layer, Sequence) and not isinstance(layer, str):
        raise ArgumentError(f"{kind} draws one layer, got {len(layer)}")
    spec = ConvSpec.parse(layer or chosen.example) if isinstance(layer, str) else layer
    return chosen.build(layer_of(spec, x, w))


def draw(
    kind: str,
    layer: str | ConvSpec | Sequence[ConvSpec] = "",
    output: str | Path = "figure.svg",
    *,
    theme: str = "light",
    frame: int | None = None,
    x: Tensor | None = None,
    w: Tensor | None = None,
) -> Path:
    """Write the figure to a file that ends in `.svg`, `.png` or `.gif`; returns its path.

    `theme` is "light" or "dark", `frame` the frame that a still picture shows; see `figure` for
    the rest. Raises `ArgumentError` for everything that cannot be drawn.
    """
    from .render import save  # noqa: PLC0415  (matplotlib is needed to draw, not to compute)
    from .theme import theme_of  # noqa: PLC0415

    path = Path(output)
    save(figure(kind, layer, x, w), path, theme_of(theme), frame)
    return path
