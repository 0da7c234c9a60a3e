"""What the tensors of a call must have in common, and how they lie in memory."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeGuard

import torch

from ..errors import ArgumentError, ArgumentTypeError

_PLAIN = (torch.Tensor, torch.nn.Parameter)
_is_wrapped = torch._C._functorch.is_functorch_wrapped_tensor
_is_batched = torch._C._functorch.is_legacy_batchedtensor  # of `is_grads_batched=True`
_modes = torch._C._len_torch_dispatch_stack
_tracing = torch._C._get_tracing_state
_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def checked(
    call: str, operands: Mapping[str, Any], optional: Mapping[str, Any] | None = None
) -> tuple[str, str]:
    """The dtype and device that all operands share; only an optional one may be None.

    Raises `ArgumentTypeError` for what is not a dense tensor and `ArgumentError` for operands that
    disagree.
    """
    first: tuple[str, torch.Tensor] | None = None
    given = {name: t for name, t in (optional or {}).items() if t is not None}
    for name, tensor in (*operands.items(), *given.items()):
        if not isinstance(tensor, torch.Tensor):
            raise ArgumentTypeError(f"{call}: {name} must be a tensor, got {type(tensor).__name__}")
        if tensor.layout != torch.strided:
            raise ArgumentTypeError(f"{call}: {name} must be a dense tensor, got {tensor.layout}")
        if first is None:
            first = name, tensor
        elif (tensor.dtype, tensor.device) != (first[1].dtype, first[1].device):
            raise ArgumentError(
                f"{call}: {first[0]} is {dtype_name(first[1])} on {first[1].device} but {name} is "
                f"{dtype_name(tensor)} on {tensor.device}; all must have the same dtype and device"
            )
    if first is None:
        raise ArgumentTypeError(f"{call}: needs a tensor, got none")
    return dtype_name(first[1]), str(first[1].device)


def dtype_name(tensor: torch.Tensor) -> str:
    """The dtype as it is written in a spec: `float32`."""
    return str(tensor.dtype).removeprefix("torch.")


def memory_layout(image: torch.Tensor) -> str:
    """`contiguous`, `channels_last` (2-D and 3-D images) or `strided` for every other view."""
    if image.is_contiguous():
        return "contiguous"
    order = _CHANNELS_LAST.get(image.dim())
    if order is not None and image.is_contiguous(memory_format=order):
        return "channels_last"
    return "strided"


def lies(image: torch.Tensor, layout: str) -> bool:
    """Whether the image lies in memory so, `contiguous` or `channels_last`; it may lie as both.

    >>> lies(torch.ones(2, 3, 1, 1), "contiguous"), lies(torch.ones(2, 3, 1, 1), "channels_last")
    (True, True)
    """
    order = _CHANNELS_LAST[image.dim()] if layout == "channels_last" else torch.contiguous_format
    return image.is_contiguous(memory_format=order)


def plain_memory(*operands: torch.Tensor | None) -> bool:
    """Whether all operands are numbers in memory, as a routine that is given addresses needs.

    Tensors of a transform (`vmap`), of a trace (fake ones) and other subclasses are not; nor are
    those that stand for the conjugate or negative of what is in memory, or for zeros that are
    nowhere. Nothing is while the operators of PyTorch are `watched`.
    """
    if watched():
        return False
    for operand in operands:
        if operand is None:
            continue
        if type(operand) not in _PLAIN or _is_wrapped(operand) or _is_batched(operand):
            return False
        if operand.is_conj() or operand.is_neg() or operand._is_zerotensor():
            return False
    return True


def watched() -> bool:
    """Whether a mode or a trace looks at every operator of PyTorch that a call runs.

    `FakeTensorMode`, `make_fx`, `torch.jit.trace` or `FlopCounterMode` would not see a routine, and
    some of them make tensors that have no memory.
    """
    return bool(_modes() or _tracing() is not None)


def alike(*operands: torch.Tensor) -> Callable[..., bool]:
    """A quick check whether other tensors are what these are: `check(*others)`.

    The same class, shape, strides, dtype, device, `requires_grad`, negation and conjugation, and
    the same autocast, transforms, trace and inference mode around the call; neither the numbers nor
    the grad mode nor forward-mode differentiation. If this PyTorch cannot tell, it says no.

    >>> check = alike(torch.ones(2, 3))
    >>> check(torch.zeros(3, 2).mT)
    False
    """
    return _guard(*operands) if _guards_hold() else _no


def _no(*operands: torch.Tensor) -> bool:
    return False


def _guard(*operands: torch.Tensor) -> Callable[..., bool]:
    """What `torch.compile` asks before it reuses a graph: one call for all that is above."""
    guards: Any = torch._C._dynamo.guards.TensorGuards
    check: Callable[..., bool] = guards(
        *operands,
        dynamic_dims_sizes=[list(t.shape) for t in operands],
        dynamic_dims_strides=[list(t.stride()) for t in operands],
    ).check
    return check


@cache
def _guards_hold() -> bool:
    """Whether PyTorch's guards, which are no public interface, do what `alike` says."""
    with torch.inference_mode(mode=False):
        one = torch.ones(2, 1, 4, device="cpu")
        unlike = [
            one[:1], one[..., :3], one.expand(2, 3, 4), one.as_strided((2, 1, 4), (1, 8, 2)),
            one.double(), one.to("meta"), one.to_sparse(), one._neg_view(), torch.nn.Parameter(one),
            torch._efficientzerotensor(one.shape),
            one.clone().requires_grad_(), None, 1.0,
        ]  # fmt: skip
        surrounded: list[bool] = []

        def note(x: torch.Tensor) -> torch.Tensor:
            surrounded.append(check(one))
            return x

        try:
            check = _guard(one)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                note(one)
            with torch.inference_mode():
                note(one)
            torch.func.vmap(note)(one)
            return check(one.clone()) and not any([*surrounded, *map(check, unlike)])
        except (AttributeError, TypeError, ValueError, RuntimeError):
            return False


def under_autocast(*operands: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
    """The operands in the dtype that `torch.autocast` asks for, if it is on for their device.

    As PyTorch does for its own convolutions: floating-point operands are cast, float64 is left.
    """
    if not torch._C._is_any_autocast_enabled():  # asked at every call, so in one step
        return operands
    device = next((t.device.type for t in operands if isinstance(t, torch.Tensor)), None)
    if device is None or not autocasts(device):
        return operands
    wanted = torch.get_autocast_dtype(device)
    return tuple(t.to(wanted) if _is_castable(t) else t for t in operands)


def autocasts(device: str) -> bool:
    """Whether `torch.autocast` is on for that type of device; for `meta` there is no such thing."""
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def _is_castable(operand: object) -> TypeGuard[torch.Tensor]:
    if not isinstance(operand, torch.Tensor):
        return False
    return operand.is_floating_point() and operand.dtype != torch.float64
