"""`faltung::conv`, the operator: its schema and what runs under each of PyTorch's dispatch keys.

    AutocastCPU, AutocastCUDA   the operands cast, then the operator again
    FuncTorchBatched            one call for the whole batch (`batching`)
    Autograd                    `Conv`, the Function of calls that need no operator
    Meta, and fake tensors      an empty result of the right shape and memory layout
    CompositeExplicitAutograd   the planned algorithm, on every device

What the arguments mean stands in `ops/conv/operator.py`. The result lies in memory like the image
that is the first operand: channels-last, or contiguous. Routines make it so; PyTorch's convolution
looks at the weight as well, and its result is turned where a trace was promised another.
"""

from typing import Any

import torch
from torch import Tensor
from torch._functorch import autograd_function
from torch.autograd import forward_ad
from torch.utils.flop_counter import register_flop_formula

from .. import settings
from ..ops.activations import activate
from ..ops.conv.autograd import Job, applied
from ..ops.conv.operator import spec_of
from ..ops.layouts import laid_out
from ..ops.operands import memory_layout, plain_memory, under_autocast
from . import exporters
from .batching import conv_of_batch
from .decomposition import conv_by_aten
from .flops import conv_flops
from .library import LIBRARY

LIBRARY.define(
    "conv(Tensor first, Tensor second, Tensor? bias, Tensor? residual, str task, SymInt[] size, "
    "SymInt[] stride, SymInt[] padding, SymInt[] dilation, SymInt groups, str padding_mode, "
    "str? activation, bool changing_weight, str? algorithm) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)
CONV: Any = torch.ops.faltung.conv.default

_after_autograd = torch._C._after_autograd_keyset
_transform = torch._C._functorch.peek_interpreter_stack
_one_level: Any = autograd_function.enable_single_level_autograd_function  # type: ignore[attr-defined]
_AUTOCAST = ("AutocastCPU", "AutocastCUDA")

# by all that a job depends on
_jobs: dict[Any, Job] = {}
_MOST_JOBS = 4096


def run(
    first: Tensor, second: Tensor, bias: Tensor | None, residual: Tensor | None, *arguments: Any
) -> Tensor:
    """The planned algorithm on numbers in memory."""
    layout = _result_layout(first)
    job = _job(first, second, bias, residual, arguments)
    y = job.run(first, second, bias, residual, arguments[-2])
    return y if memory_layout(y) == layout else laid_out(y, layout)


def fake(
    first: Tensor, second: Tensor, bias: Tensor | None, residual: Tensor | None, *arguments: Any
) -> Tensor:
    """The shape, dtype, device and layout of the result; mistakes are found here."""
    exporters.tell_inductor()
    spec = spec_of(first, second, bias, residual, *arguments[:-2])
    empty = first.new_empty(spec.result_shape)
    layout = _result_layout(first)
    return empty if layout == "contiguous" else laid_out(empty, layout)


def differentiate(
    keyset: Any,
    first: Tensor,
    second: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    *arguments: Any,
) -> Tensor:
    """The task such that it can be differentiated, if that is wanted at this level."""
    if not _is_wanted(first, second, bias, residual):
        if plain_memory(first, second, bias, residual):
            # nothing between here and there
            return run(first, second, bias, residual, *arguments)
        with torch._C._AutoDispatchBelowAutograd():
            rest = keyset & _after_autograd
            plain: Tensor = CONV.redispatch(rest, first, second, bias, residual, *arguments)
            return plain
    job, activation = _job(first, second, bias, residual, arguments).bare, arguments[-3]
    if _transform() is None:
        return activate(activation, applied(first, second, bias, residual, job))
    with _one_level():
        y = applied(first, second, bias, residual, job)
    return activate(activation, y)


def _is_wanted(*operands: Tensor | None) -> bool:
    if forward_ad._current_level >= 0 or _transform() is not None:
        return True
    if not torch.is_grad_enabled():
        return False
    return any(t is not None and t.requires_grad for t in operands)


def _autocast_to(key: str) -> Any:
    """What casts the operands as PyTorch does for its convolutions on that device."""
    only_once = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, key))

    def cast(
        first: Tensor, second: Tensor, bias: Tensor | None, residual: Tensor | None, *arguments: Any
    ) -> Tensor:
        operands = under_autocast(first, second, bias, residual)
        with torch._C._ExcludeDispatchKeyGuard(only_once):
            result: Tensor = CONV(*operands, *arguments)
            return result

    return cast


def _result_layout(first: Tensor) -> str:
    layout = memory_layout(first)
    return "contiguous" if layout == "strided" else layout


def _job(
    first: Tensor, second: Tensor, bias: Tensor | None, residual: Tensor | None, arguments: Any
) -> Job:
    """The job that the arguments say, remembered unless a size is symbolic."""
    *others, _, algorithm = arguments
    knobs = settings.with_algorithm(algorithm)
    key = (
        knobs, first.shape, first.dtype, first.device, second.shape, second.dtype, second.device,
        None if bias is None else (bias.shape, bias.dtype, bias.device),
        None if residual is None else (residual.shape, residual.dtype, residual.device),
        *[tuple(value) if isinstance(value, list) else value for value in others],
    )  # fmt: skip
    try:
        found = _jobs.get(key)
    except TypeError:
        return Job(spec_of(first, second, bias, residual, *others), knobs)
    if found is None:
        found = Job(spec_of(first, second, bias, residual, *others), knobs)
        if len(_jobs) >= _MOST_JOBS:
            _jobs.clear()
        _jobs[key] = found
    return found


def _register() -> None:
    LIBRARY.impl("conv", run, "CompositeExplicitAutograd")
    LIBRARY.impl("conv", differentiate, "Autograd", with_keyset=True)
    for key in _AUTOCAST:
        LIBRARY.impl("conv", _autocast_to(key), key)
    torch.library.register_fake("faltung::conv", fake, lib=LIBRARY)
    torch.library.register_vmap("faltung::conv", conv_of_batch, lib=LIBRARY)
    register_flop_formula(torch.ops.faltung.conv)(conv_flops)
    exporters.register(CONV, conv_by_aten, fake)


_register()
