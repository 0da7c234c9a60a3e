"""`faltung explore`: write the page for a layer and show it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ...ops.conv.spec import ConvSpec
from ..options import LayerOptions, layer_spec
from ..printing import show
from . import explore


def run(
    problem: Sequence[str],
    described: LayerOptions,
    padding_mode: str,
    output: Path,
    *,
    open_page: bool,
) -> None:
    """Write the page to `output`, say where it is and what was left out, and open it if asked."""
    if problem:
        spec = ConvSpec.parse(" ".join(problem))
    else:
        spec = replace(layer_spec(described), padding_mode=padding_mode)
    explorer = explore(spec)
    path = explorer.open(output) if open_page else explorer.write(output)
    show(str(path.resolve()))
    if explorer.notes:
        show(f"Drawn small: {', '.join(explorer.notes)}.")
