"""Padding that the convolution after it does: `F.pad` and the padding modules.

    conv(pad(x, low, high), p)  =  conv(x, p + (low, high))        zeros around zeros
    conv(pad(x, 0, 0))          =  conv(x)                         any padding

PyTorch's `F.pad` copies the image even where there is nothing to add, and models that pad by size
(TensorFlow's "same") call it before every layer. With other values than zeros the image has to be
copied, which `filled` does two times as fast: rows as they are, then what is around them.

A padding layer is made to return a `Padded`; where a `forward` calls `F.pad`, its module is made to
look at the functions that it calls. Only where all of these were seen to go into convolutions.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.module import _has_any_global_hook
from torch.overrides import TorchFunctionMode

from .lazy import Lazy, is_followed, may_wait

if TYPE_CHECKING:
    from .origin import Origin

_Pads = tuple[tuple[int, int], ...]  # (low, high) of the last axes, in their order

_MODES: dict[type[nn.Module], str] = {
    nn.ZeroPad1d: "constant", nn.ZeroPad2d: "constant", nn.ZeroPad3d: "constant",
    nn.ConstantPad1d: "constant", nn.ConstantPad2d: "constant", nn.ConstantPad3d: "constant",
    nn.ReflectionPad1d: "reflect", nn.ReflectionPad2d: "reflect", nn.ReflectionPad3d: "reflect",
    nn.ReplicationPad1d: "replicate", nn.ReplicationPad2d: "replicate",
    nn.ReplicationPad3d: "replicate",
    nn.CircularPad1d: "circular", nn.CircularPad2d: "circular", nn.CircularPad3d: "circular",
}  # fmt: skip


class Padded(Lazy):
    """An image and what is to be around it."""

    image: Tensor
    pads: _Pads
    pad_mode: str

    def _computed(self) -> Tensor:
        if self.pad_mode == "constant":
            return F.pad(self.image, _flat(self.pads))
        return filled(self.image, self.pads, self.pad_mode)

    def _taken(
        self, function: Callable[..., Any], args: Sequence[Any], keywords: Mapping[str, Any]
    ) -> Any:
        """All of it is the same; `x[..., : n]` with n its length is how some forwards end."""
        if function is not Tensor.__getitem__ or not _is_last_slice(args[1]):
            return NotImplemented
        begin, end, step = args[1][1].indices(self.shape[-1])
        return self if (begin, end, step) == (0, self.shape[-1], 1) else NotImplemented


def padded(image: Tensor, pad: Any, mode: str = "constant", value: Any = None) -> Padded | None:
    """What `F.pad` with these arguments returns, to be computed later; None where it is not ours.

    >>> with torch.no_grad():
    ...     x = padded(torch.ones(1, 1, 5, 5), (1, 1, 0, 2))
    >>> x.shape, float(x.sum())
    (torch.Size([1, 1, 7, 7]), 25.0)
    """
    if not may_wait(image) or (mode == "constant" and value):
        return None
    amounts = tuple(map(int, pad))  # they may be tensors
    found = _shaped(image.shape, image.stride(), image.dtype, amounts, mode)
    if found is None:
        return None
    made = Padded(found[0])
    made._known, made.image, made.pads, made.pad_mode = None, image, found[1], mode
    return made


def taken_in(given: Padded, conv: Any) -> tuple[Tensor, Any]:
    """An image and a padding with which a convolution computes the same as of what is given."""
    if not any(map(any, given.pads)):
        return given.image, conv.padding
    if given.pad_mode == "constant" and given._known is None:
        both = _both(conv.padding, conv.padding_mode, given.pads, len(conv.kernel_size))
        if both is not None:
            return given.image, both
    return given.numbers(), conv.padding


def filled(image: Tensor, pads: _Pads, mode: str) -> Tensor:
    """The image with values around it, to the bit as `F.pad` puts them there.

    >>> filled(torch.arange(3.0).view(1, 1, 3), ((2, 1),), "reflect")
    tensor([[[2., 1., 0., 1., 2., 1.]]])
    """
    y = torch.empty_like(_like(image.shape, image.stride(), image.dtype, pads), device=image.device)
    first = image.dim() - len(pads)
    whole = y
    for axis, (low, _) in enumerate(pads, first):
        whole = whole.narrow(axis, low, image.shape[axis])
    whole.copy_(image)
    for axis in range(image.dim() - 1, first - 1, -1):
        inside = y
        for other, (low, _) in enumerate(pads[: axis - first], first):
            inside = inside.narrow(other, low, image.shape[other])
        _fill(inside, axis, *pads[axis - first], image.shape[axis], mode)
    return y


def mode_of(module: nn.Module) -> str | None:
    """How a module pads; None for one that is no padding layer of PyTorch's."""
    kind: Any = module
    mode = _MODES.get(type(module))
    return None if mode == "constant" and kind.value else mode


class Padding(nn.Module):
    """Mixed into a padding layer whose padding a convolution does."""

    _faltung: "Origin"
    padding: Any

    def forward(self, input: Tensor) -> Tensor:
        """What it pads, to be computed later, or as the class behind does it."""
        origin = self._faltung
        if not (_is_compiling() or is_followed() or are_watched((self, *origin.leads_to))):
            made = padded(input, self.padding, _MODES[origin.original])
            if made is not None:
                return made
        y: Tensor = super().forward(input)
        return y


class CallingPad(nn.Module):
    """Mixed into a module whose `forward` calls `F.pad` before convolutions."""

    _faltung: "Origin"

    def forward(self, *args: Any, **keywords: Any) -> Any:
        """What the class behind does, in which padding is put off."""
        origin = self._faltung
        if _is_compiling() or is_followed() or torch.is_grad_enabled():
            return super().forward(*args, **keywords)
        if are_watched(origin.leads_to) or self._forward_hooks:
            return super().forward(*args, **keywords)
        with _PUTTING_OFF:
            return super().forward(*args, **keywords)


def is_putting_off() -> bool:
    """Whether the only one who follows the functions that are called is a `CallingPad`."""
    return _followed() == 1 and _follower(0) is _PUTTING_OFF


def are_watched(modules: Sequence[nn.Module]) -> bool:
    """Whether somebody wants to see what goes into one of them, or comes out."""
    return _has_any_global_hook() or any(  # type: ignore[no-untyped-call]
        m._forward_hooks or m._forward_pre_hooks or m._backward_hooks or m._backward_pre_hooks
        for m in modules
    )


class _PuttingOff(TorchFunctionMode):
    """Sees the functions that a `forward` calls, and puts `F.pad` off."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """`F.pad` later, every other function as it is."""
        keywords = kwargs or {}
        if func is F.pad:
            made = padded(*args, **keywords)
            if made is not None:
                return made
        return func(*args, **keywords)


_PUTTING_OFF = _PuttingOff()
_is_compiling = torch.compiler.is_dynamo_compiling
_followed = torch._C._len_torch_function_stack
_follower = torch._C._get_function_stack_at


@lru_cache(maxsize=4096)
def _shaped(
    shape: tuple[int, ...],
    stride: tuple[int, ...],
    dtype: torch.dtype,
    amounts: tuple[int, ...],
    mode: str,
) -> tuple[Tensor, _Pads] | None:
    """A tensor without memory that lies as what `F.pad` returns; None where that is not ours."""
    if len(amounts) % 2 or len(amounts) // 2 > len(shape) - 2 or min(amounts, default=0) < 0:
        return None
    pads = tuple(zip(amounts[-2::-2], amounts[::-2], strict=True))
    if mode != "constant" and not _can_fill(shape, pads, mode):
        return None
    return _like(shape, stride, dtype, pads), pads


def _like(
    shape: tuple[int, ...], stride: tuple[int, ...], dtype: torch.dtype, pads: _Pads
) -> Tensor:
    with torch.inference_mode(mode=False):
        image = torch.empty_strided(shape, stride, dtype=dtype, device="meta")
        return F.pad(image, _flat(pads))


@lru_cache(maxsize=4096)
def _both(own: Any, mode: str, pads: _Pads, dims: int) -> Any:
    """The padding of a convolution and of what comes before it; None where they do not add up."""
    if own == "valid":
        own = (0,) * dims
    if not all(isinstance(p, int) for p in own) or len(pads) > dims:
        return None  # "same" of the padded image is not that of the image
    if mode != "zeros" and any(own):
        return None
    pads = ((0, 0),) * (dims - len(pads)) + pads
    return tuple((p + low, p + high) for p, (low, high) in zip(own, pads, strict=True))


def _is_last_slice(index: Any) -> bool:
    return (
        isinstance(index, tuple)
        and len(index) == 2
        and index[0] is Ellipsis
        and isinstance(index[1], slice)
    )


def _flat(pads: _Pads) -> list[int]:
    """In the order of `F.pad`: last axis first."""
    return [amount for pair in reversed(pads) for amount in pair]


def _can_fill(shape: tuple[int, ...], pads: _Pads, mode: str) -> bool:
    """Whether PyTorch does it without complaint: its own pad says what is wrong with the others."""
    if len(pads) != len(shape) - 2 or 0 in shape:
        return False
    sizes = shape[-len(pads) :]
    if mode == "replicate":
        return True
    least = {"reflect": 1, "circular": 0}.get(mode)
    return least is not None and all(
        max(pair) <= size - least for pair, size in zip(pads, sizes, strict=True)
    )


def _fill(y: Tensor, axis: int, low: int, high: int, size: int, mode: str) -> None:
    """Put the values before and after the `size` positions that are there, along one axis."""
    end = low + size
    if low:
        before = {"reflect": (low + 1, low), "replicate": (low, 1), "circular": (size, low)}[mode]
        values = y.narrow(axis, *before)
        y.narrow(axis, 0, low).copy_(values.flip(axis) if mode == "reflect" else values)
    if high:
        after = {"reflect": (end - 1 - high, high), "replicate": (end - 1, 1),
                 "circular": (low, high)}[mode]  # fmt: skip
        values = y.narrow(axis, *after)
        y.narrow(axis, end, high).copy_(values.flip(axis) if mode == "reflect" else values)
