"""Weights that `torch.nn.utils.parametrizations.weight_norm` computes, kept while they stay.

    w = g · v / ‖v‖

PyTorch computes it anew at every call, and what was packed of it is lost each time: for a layer of
many channels this takes longer than the convolution. Where no derivative is wanted the last one is
kept until g or v change. Other parametrisations may do anything at each call, and are left to.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils.parametrize import ParametrizationList

from ..ops.operands import plain_memory
from .snapshot import Snapshot

_KIND = parametrizations._WeightNorm


class NormedWeight:
    """The last one, and what it was computed from. Copies and pickles begin without."""

    def __init__(self) -> None:
        self.last: tuple[Snapshot, Tensor] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return NormedWeight, ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NormedWeight)  # it is no part of what a layer is

    __hash__ = None  # type: ignore[assignment]


def is_weight_normed(module: nn.Module) -> bool:
    """Whether its weight is computed by that and nothing else."""
    made = module._modules.get("parametrizations")
    if made is None:
        return False
    steps: Any = made._modules.get("weight")
    return isinstance(steps, ParametrizationList) and len(steps) == 1 and type(steps[0]) is _KIND


def kept_weight(module: Any) -> Tensor | None:
    """The weight as it would be computed now; None where it has to be."""
    steps: Any = module._modules["parametrizations"]._modules["weight"]
    own = steps._parameters
    if not ("original0" in own and "original1" in own) or torch.compiler.is_dynamo_compiling():
        return None
    sources = [own["original0"], own["original1"]]
    if torch.is_grad_enabled() and any(t.requires_grad for t in sources):
        return None
    if not plain_memory(*sources) or torch._C._are_functorch_transforms_active():
        return None
    if torch._C._is_any_autocast_enabled():
        return None
    store: NormedWeight = module._faltung.normed
    last = store.last
    if last is not None and last[0].holds(sources):
        return last[1]
    if any(t.is_inference() for t in sources):
        return None
    with torch.inference_mode(mode=False), torch.no_grad():
        weight: Tensor = module.weight.detach()
        store.last = Snapshot(sources), weight
    return weight
