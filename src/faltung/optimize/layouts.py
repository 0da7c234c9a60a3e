"""Which memory layout a model's images should have, all along.

A layer in the other layout than its neighbours has its image reordered before it; so one layout is
chosen for the whole model, by the sum of what its plans are estimated to take:

    leaving it     Σ plan(spec with the inputs as they come) + other layers
    channels-last  Σ plan(spec with the inputs made channels-last) + other layers + making them so

Other layers are PyTorch's and timed in three runs in each layout, which take turns: the 3×3 maximum
of ResNet-50 takes 5.2 ms in the one and 0.5 in the other. A layer whose times are about the same is
taken to be as fast in either, or noise would decide where normalisations take longer than
convolutions. Not BatchNorm and activations, which are mostly done with a convolution, and not what
a `forward` does by functions: PyTorch does that about as fast in either layout, so channels-last
must win by a margin.
"""

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from .. import planning, settings
from ..machine import this_machine
from ..ops.conv.spec import ConvSpec
from . import activations
from .layers import CONVOLUTIONS
from .running import Inputs, observe, outputs

_NOT_TIMED = (nn.modules.batchnorm._BatchNorm, nn.Linear, nn.Embedding, nn.Identity, nn.Dropout)
_MARGIN = 0.96  # of what leaving it takes; estimates of sums are not better than that
_RUNS = 3  # in each layout
_ALIKE = 1.3  # times of a layer that are no further apart are the same


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
    if not any(spec.layout == "channels_last" for spec in turned.values()):
        return {}
    reordering = 2 * inputs.image_bytes / this_machine().bandwidth
    leaving, turning = _timed(
        model, [m for m in model.modules() if _is_other(m)], inputs, inputs.channels_last()
    )
    leaving += sum(map(seconds, before.values()))
    turning += sum(map(seconds, turned.values()))
    if turning + reordering < _MARGIN * leaving:
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


def _is_other(module: nn.Module) -> bool:
    """Whether it is a layer that takes its time and is never part of a convolution."""
    if module._modules or isinstance(module, (*CONVOLUTIONS, *_NOT_TIMED, torch.jit.ScriptModule)):
        return False
    return activations.name_of(module) is None


def _timed(
    model: nn.Module, modules: Collection[nn.Module], inputs: Inputs, turned: Inputs
) -> tuple[float, float]:
    """Seconds that these take in a run of the model on either inputs, the fastest of their runs."""
    if not modules:
        return 0.0, 0.0
    runs = [(_times(model, inputs, modules), _times(model, turned, modules)) for _ in range(_RUNS)]
    totals = [0.0, 0.0]
    for module in modules:
        both = [min(run[way].get(module, 0.0) for run in runs) for way in (0, 1)]
        if max(both) < _ALIKE * min(both):
            both = [min(both)] * 2
        totals = [total + own for total, own in zip(totals, both, strict=True)]
    return totals[0], totals[1]


def _times(
    model: nn.Module, inputs: Inputs, modules: Collection[nn.Module]
) -> dict[nn.Module, float]:
    """Seconds that each of these takes in one run."""
    taken: dict[nn.Module, float] = {}
    begun: list[float] = []

    def before(module: nn.Module, args: Any) -> None:
        begun.append(time.perf_counter())

    def after(module: nn.Module, args: Any, result: Any) -> None:
        taken[module] = taken.get(module, 0.0) + time.perf_counter() - begun.pop()

    with ExitStack() as stack:
        for module in modules:
            stack.callback(module.register_forward_pre_hook(before).remove)
            stack.callback(module.register_forward_hook(after).remove)
        outputs(model, inputs)
    return taken
