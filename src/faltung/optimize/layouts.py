"""Which memory layout a model's images should have, all along.

A layer in the other layout than its neighbours has its image reordered before it; so one layout is
chosen for the whole model, by the sum of what its plans are estimated to take:

    leaving it     Σ plan(spec with the inputs as they come)
    channels-last  Σ plan(spec with the inputs made channels-last) + making them so

What else the model does (normalising, pooling, adding) is not in the sums. PyTorch does it about as
fast in either layout, so channels-last must win by a margin.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from torch import nn

from .. import planning, settings
from ..machine import this_machine
from ..ops.conv.spec import ConvSpec
from .running import Inputs, observe

_MARGIN = 0.95  # of what leaving it takes; estimates of sums are not better than that


def best_layouts(
    model: nn.Module,
    inputs: Inputs,
    specs: Mapping[nn.Module, Callable[..., ConvSpec]],
    before: Mapping[nn.Module, ConvSpec],
) -> dict[nn.Module, str]:
    """The convolutions whose images should be made channels-last; empty: leave the model as it is.

    `before` is what they are given when the inputs come as they do.
    """
    turned = channels_last_specs(model, inputs, specs)
    reordering = 2 * inputs.image_bytes / this_machine().bandwidth
    if sum(map(seconds, turned.values())) + reordering < _MARGIN * sum(
        map(seconds, before.values())
    ):
        return {m: "channels_last" for m, spec in turned.items() if spec.layout == "channels_last"}
    return {}


def channels_last_specs(
    model: nn.Module, inputs: Inputs, specs: Mapping[nn.Module, Callable[..., ConvSpec]]
) -> dict[nn.Module, ConvSpec]:
    """What each convolution is given when the images of the inputs are channels-last."""
    with settings.using(algorithm=None):
        return observe(model, inputs.channels_last(), specs)


def seconds(spec: ConvSpec) -> float:
    """What the plan of a spec is estimated to take; measured where the settings say so."""
    chosen = planning.plan(spec, "conv", settings.planner_chooses(settings.current())).chosen
    return chosen.seconds if chosen.measured is None else chosen.measured


def as_layout(spec: ConvSpec, layout: str | None) -> ConvSpec:
    """The spec in a layout; None leaves it."""
    return spec if layout is None else replace(spec, layout=layout)
