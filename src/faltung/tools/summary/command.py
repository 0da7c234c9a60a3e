"""`faltung summary`: a model that the command line names, layer by layer."""

from collections.abc import Sequence
from pathlib import Path

from ...errors import ArgumentError
from ..printing import show, show_json
from .models import load_model, running, shape_of
from .table import summary
from .terminal import print_report


def run(model: str, inputs: Sequence[str], *, as_json: bool, html: Path | None) -> None:
    """Print the summary of a model on inputs of these shapes, or write it as a page.

    Raises `ArgumentError` for a model that cannot be made and for missing shapes.
    """
    if not inputs:
        raise ArgumentError("summary needs --input, once per input: --input 1x3x224x224")
    made = load_model(model)
    with running(model, inputs):
        found = summary(made, *(shape_of(text) for text in inputs))
    if html is not None:
        html.write_text(found.html(), encoding="utf-8")
        show(f"wrote {html}")
    elif as_json:
        show_json(found.facts())
    else:
        print_report(found)
