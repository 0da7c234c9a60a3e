"""One call: operands and arguments -> remembered spec and plan -> result.

The common case is a layer called again with the same shapes: a key is made of everything the spec
is made of, a dictionary has the plan, and the routine runs. Only a miss checks the arguments,
makes a spec and plans. Differentiation goes through `autograd`, which plans each task by itself.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ... import planning, settings
from ..activations import activate
from ..operands import checked, memory_layout, plain_memory, under_autocast
from .arguments import conv_spec, conv_transpose_spec
from .autograd import apply
from .spec import ConvSpec

_MAKERS: dict[str, Callable[..., Any]] = {
    "conv": conv_spec,
    "conv_transpose": conv_transpose_spec,
}
_ready: dict[tuple[Any, ...], planning.Plan] = {}
_MOST_READY = 4096  # as many as there are plans; see planning


def convolve(
    dims: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
    padding_mode: str,
    activation: str | None,
    algorithm: str | None,
) -> Tensor:
    """The convolution of a call to `conv{dims}d`."""
    arguments = (stride, padding, dilation, groups, padding_mode, activation, algorithm)
    return _call("conv", dims, input, weight, bias, arguments)


def convolve_transposed(
    dims: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: Any,
    dilation: Any,
    padding_mode: str,
    activation: str | None,
    algorithm: str | None,
) -> Tensor:
    """The transposed convolution of a call to `conv_transpose{dims}d`."""
    arguments = (
        stride, padding, output_padding, groups, dilation, padding_mode, activation, algorithm,
    )  # fmt: skip
    return _call("conv_transpose", dims, input, weight, bias, arguments)


def planned(
    kind: str,
    dims: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    arguments: tuple[Any, ...],
) -> planning.Plan:
    """The plan of a call; every user error is raised on the way."""
    call = f"{kind}{dims}d"
    dtype, device = checked(call, {"input": input, "weight": weight}, {"bias": bias})
    shapes = (input.shape, weight.shape, None if bias is None else bias.shape)
    batched = input if input.dim() == dims + 2 else input.unsqueeze(0)
    spec = _MAKERS[kind](
        *shapes, *arguments[:-1],
        dims=dims, dtype=dtype, device=device, layout=memory_layout(batched),
    )  # fmt: skip
    algorithm = arguments[-1]
    if algorithm is None and not plain_memory(input, weight, bias):
        algorithm = "native_torch"
    return planning.plan(spec, "conv", settings.with_algorithm(algorithm))


def _call(
    kind: str,
    dims: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    arguments: tuple[Any, ...],
) -> Tensor:
    if torch.compiler.is_compiling():
        # a compiled graph is cut here: what plans and looks up stays Python and runs as it is
        opaque: Callable[..., Tensor] = torch.compiler.disable(_eager)  # type: ignore[no-untyped-call]
        return opaque(kind, dims, input, weight, bias, arguments)
    return _eager(kind, dims, input, weight, bias, arguments)


def _eager(
    kind: str,
    dims: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    arguments: tuple[Any, ...],
) -> Tensor:
    input, weight, bias = under_autocast(input, weight, bias)  # type: ignore[assignment]
    plan = _lookup(kind, dims, input, weight, bias, arguments)
    if input.dim() == dims + 1:
        return _run(plan, input.unsqueeze(0), weight, bias, arguments[-1]).squeeze(0)
    return _run(plan, input, weight, bias, arguments[-1])


def _lookup(
    kind: str,
    dims: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    arguments: tuple[Any, ...],
) -> planning.Plan:
    try:
        key = (
            kind, dims, settings.current(), tuple(map(_exact, arguments)),
            input.shape, input.stride(), input.dtype, input.device,
            weight.shape, weight.dtype, weight.device, weight.layout,
            None if bias is None else (bias.shape, bias.dtype, bias.device, bias.layout),
            plain_memory(input, weight, bias),
        )  # fmt: skip
        found = _ready.get(key)
    except (AttributeError, TypeError):
        # not tensors, or arguments no dictionary takes: `planned` says what is wrong with them
        return planned(kind, dims, input, weight, bias, arguments)
    if found is None:
        found = planned(kind, dims, input, weight, bias, arguments)
        if len(_ready) >= _MOST_READY:
            _ready.clear()
        _ready[key] = found
    return found


def _exact(value: Any) -> Any:
    """A key that tells 1 from 1.0 and True, which are equal to a dictionary and not to us.

    Raises `TypeError` for what might change its value or is no argument at all.
    """
    kind = type(value)
    if kind is int or kind is str or value is None:
        return value
    if kind is tuple or kind is list:
        return tuple(map(_exact, value))
    raise TypeError(f"no key for {kind.__name__}")


def _run(
    plan: planning.Plan, a: Tensor, b: Tensor, bias: Tensor | None, algorithm: str | None
) -> Tensor:
    if _differentiates(a, b, bias):
        spec: ConvSpec = plan.spec
        knobs = settings.with_algorithm(algorithm)
        y = apply(a, b, bias, replace(spec, activation=None), knobs)
        return activate(spec.activation, y)
    result: Tensor = plan(a, b) if bias is None else plan(a, b, bias)
    return result


def _differentiates(a: Tensor, b: Tensor, bias: Tensor | None) -> bool:
    """Whether anything may ask for a derivative of this call, or run it under a transform."""
    if torch._C._are_functorch_transforms_active():
        return True
    if torch.autograd.forward_ad._current_level >= 0:
        return True
    if not torch.is_grad_enabled():
        return False
    return a.requires_grad or b.requires_grad or (bias is not None and bias.requires_grad)
