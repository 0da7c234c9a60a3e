"""`faltung explore`: a layer to play with, in one HTML file that needs no network.

Four views of the same convolution, lit together: the sliding window, the columns (im2col), the
kernel matrix and the loop nest. Point at an output and see what it reads; at an input and see what
it feeds; at a weight and see where it is used. Sources: `page.html`, `style.css`, `*.js`, `views/`.
"""

import html
import webbrowser
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ...ops.conv.spec import ConvSpec
from . import layer
from .bundle import page

_FRAME_HEIGHT = 900  # px of a notebook cell


@dataclass(frozen=True)
class Explorer:
    """The page for one layer. In a notebook it shows itself; `notes` say what was left out."""

    html: str
    notes: tuple[str, ...] = ()

    def write(self, path: Path | str) -> Path:
        """Write the page to a file and return its path."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.html, encoding="utf-8")
        return path

    def open(self, path: Path | str) -> Path:
        """Write the page to a file and show it in the browser."""
        written = self.write(path)
        webbrowser.open(written.resolve().as_uri())
        return written

    def _repr_html_(self) -> str:
        """The page in a frame of its own, so that it and the notebook leave each other alone."""
        return (
            f'<iframe srcdoc="{html.escape(self.html)}" title="Convolution explorer" '
            'sandbox="allow-scripts" allow="clipboard-write" '
            f'style="width: 100%; height: {_FRAME_HEIGHT}px; border: 0"></iframe>'
        )


def explore(
    spec: ConvSpec | str | None = None,
    x: Tensor | None = None,
    w: Tensor | None = None,
    b: Tensor | None = None,
) -> Explorer:
    """The explorer, opened on a layer and, if you like, on your own numbers.

    spec is a spelled problem or a `ConvSpec` of the task `forward` or, for a transposed layer,
    `grad_input`; without it the page opens on a 3×3 convolution. x [C, in…] or [1, C, in…],
    w [O, C/groups, K…] (transposed [C, O/groups, K…]) and b [O] are drawn as they are; without
    them the page makes up small whole numbers.

    >>> found = explore("forward n1 c1 o1 i5x5 k3x3 s2 p1 bias float32 cpu")
    >>> found.html.startswith("<!DOCTYPE html>"), found.notes
    (True, ())

    Raises `ArgumentError` if the layer cannot be drawn or a tensor does not fit it.
    """
    if spec is None:
        return Explorer(page())
    if isinstance(spec, str):
        spec = ConvSpec.parse(spec)
    drawn = layer.shrunk(spec)
    return Explorer(page(layer.state(drawn.spec, x, w, b)), drawn.notes)
