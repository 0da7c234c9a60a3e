"""`faltung.explain`: from what a user has to the layer that is meant."""

from typing import Any

from ...errors import ArgumentError
from ...ops.conv.spec import ConvSpec
from ...planning import Plan
from ..summary.models import as_inputs, as_module
from ..summary.recorder import record
from ..summary.table import named_calls
from .facts import Explanation, explained

_LISTED = 12  # layers that are named in an error


def explain(subject: Any, *inputs: Any, layer: str | None = None) -> Explanation:
    """Everything about one convolution: sizes, costs, field, relatives, plan, and code.

    `subject` is one of

    - a spelled problem or a `ConvSpec`, or the `Plan` of a call: then there are no inputs;
    - a `torch.nn.Module` or a function, with its inputs: tensors, or shapes that zeros are made
      of. It is run once, in evaluation mode, and left as it was. Where it holds more than one
      convolution, `layer` says which, by the name that `faltung.summary` gives it.

    The result prints itself, also in notebooks; `.facts()` are plain values, `.html()` is a page.

    Raises `ArgumentError` or `ArgumentTypeError` if no such layer can be found.

    >>> import torch
    >>> explain(torch.nn.Conv2d(8, 16, 3, stride=2), (1, 8, 9, 9))
    <Explanation of forward n1 c8 o16 i9x9 k3x3 s2 bias float32 cpu>
    >>> explain("forward n1 c8 o8 i9x9 k3x3 g8 float32 cpu").title
    '2-D depthwise convolution, kernel size 3×3, 8 groups'
    """
    if isinstance(subject, str | ConvSpec | Plan):
        return explained(_spec(subject, inputs, layer))
    model = as_module(subject)
    calls = [
        (name, call)
        for name, call in named_calls(record(model, as_inputs(model, inputs)))
        if call.spec is not None
    ]
    names = [name for name, _ in calls]
    if layer is None and len(calls) == 1:
        layer = names[0]
    if layer is None or layer not in names:
        raise ArgumentError(_no_layer(names, layer))
    call = calls[names.index(layer)][1]
    assert call.spec is not None
    return explained(call.spec, layer, call.knobs)


def _spec(subject: str | ConvSpec | Plan, inputs: tuple[Any, ...], layer: str | None) -> ConvSpec:
    if inputs or layer is not None:
        raise ArgumentError("a problem that is spelled out needs neither inputs nor layer")
    if isinstance(subject, str):
        return ConvSpec.parse(subject)
    spec = subject.spec if isinstance(subject, Plan) else subject
    if not isinstance(spec, ConvSpec):
        raise ArgumentError(f"explain is about convolutions, this is the plan of {spec}")
    return spec


def _no_layer(names: list[str], layer: str | None) -> str:
    if not names:
        return "the model runs no convolution"
    listed = ", ".join(names[:_LISTED]) + (", …" if len(names) > _LISTED else "")
    if layer is None:
        return f"the model runs {len(names)} convolutions; layer must name one of {listed}"
    return f"the model has no convolution {layer!r}, only {listed}"
