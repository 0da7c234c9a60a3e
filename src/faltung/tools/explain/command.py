"""`faltung explain`: a layer that the command line spells, describes, or finds in a model."""

from collections.abc import Sequence
from pathlib import Path

from ...errors import ArgumentError
from ...ops.conv.spec import ConvSpec
from ..options import LayerOptions, layer_spec
from ..printing import show, show_json
from ..summary.models import load_model, running, shape_of
from .facts import Explanation
from .subject import explain
from .terminal import print_report

_WAYS = (
    "explain needs a spelled problem, --input and --kernel, or a model like "
    "package.module:name with --input 1x3x224x224"
)


def run(
    words: Sequence[str],
    options: LayerOptions | None,
    inputs: Sequence[str],
    layer: str | None,
    *,
    as_json: bool,
    html: Path | None,
) -> None:
    """Print an explanation, or write it as a page.

    `words` are a spelled problem or a model's expression; without them `options` describe a layer.
    """
    found = _explained(words, options, inputs, layer)
    if html is not None:
        html.write_text(found.html(), encoding="utf-8")
        show(f"wrote {html}")
    elif as_json:
        show_json(found.facts())
    else:
        print_report(found)


def _explained(
    words: Sequence[str], options: LayerOptions | None, inputs: Sequence[str], layer: str | None
) -> Explanation:
    if words and ":" in words[0]:
        model = load_model(" ".join(words))
        if not inputs:
            raise ArgumentError(f"{words[0]} needs --input, once per input: --input 1x3x224x224")
        with running(words[0], inputs):
            return explain(model, *(shape_of(text) for text in inputs), layer=layer)
    if layer is not None:
        raise ArgumentError("--layer names a layer of a model, and there is no model")
    if words:
        return explain(ConvSpec.parse(" ".join(words)))
    if options is None or len(inputs) != 1:
        raise ArgumentError(_WAYS)
    return explain(layer_spec(options))
