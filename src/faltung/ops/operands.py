"""What the tensors of a call must have in common, and how they lie in memory."""

from collections.abc import Mapping
from typing import Any, TypeGuard

import torch

from ..errors import ArgumentError, ArgumentTypeError

_PLAIN = (torch.Tensor, torch.nn.Parameter)
_is_wrapped = torch._C._functorch.is_functorch_wrapped_tensor
_is_batched = torch._C._functorch.is_legacy_batchedtensor  # of `is_grads_batched=True`
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


def plain_memory(*operands: torch.Tensor | None) -> bool:
    """Whether all operands are numbers in memory, as a routine that is given addresses needs.

    Tensors of a transform (`vmap`), of a trace (fake ones) and other subclasses are not; nor are
    those that stand for the conjugate or negative of what is in memory.
    """
    # asked at every call: a plain loop, and the likely answers first
    for operand in operands:
        if operand is None:
            continue
        if type(operand) not in _PLAIN or _is_wrapped(operand) or _is_batched(operand):
            return False
        if operand.is_conj() or operand.is_neg():
            return False
    return True


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
