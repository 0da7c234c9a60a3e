"""Tensors whose numbers are computed when somebody asks for them.

What a model does with its tensors stays as it wrote it; what a convolution can do together with its
neighbours (`padded`, `pending`) is put off until it is known what they are. A lazy tensor knows its
shape, dtype and strides. Every other function of PyTorch that it is given to gets its numbers: it
may be used for anything, and nobody can see more of it than its class and when it was computed. It
must not be computed from what somebody has changed meanwhile; that nobody does, a run of the model
has shown to whoever makes one.

Only without derivatives, and where nobody follows the functions that are called: see `may_wait`.
"""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from operator import is_
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils._pytree import tree_map

from ..ops.operands import plain_memory
from .asking import HARMLESS, SIZES

_METADATA = HARMLESS | SIZES
_is_compiling = torch.compiler.is_dynamo_compiling
_followed = torch._C._len_torch_function_stack


def may_wait(*operands: Tensor | None) -> bool:
    """Whether what is computed of these may be computed later, or not at all."""
    return (
        not _is_compiling()
        and not torch.is_grad_enabled()
        and forward_ad._current_level < 0
        and not torch._C._is_any_autocast_enabled()
        and plain_memory(*operands)
    )


def is_followed() -> bool:
    """Whether a `TorchFunctionMode` is on, which may want to see every function."""
    return _followed() > 0


class Lazy(Tensor):
    """A tensor without numbers of its own; classes made from this say how to compute them."""

    _known: Tensor | None

    @staticmethod
    def __new__(cls, like: Tensor) -> Self:
        """One of the shape, strides and dtype of `like`, which needs no numbers either."""
        return Tensor._make_wrapper_subclass(
            cls, like.shape, strides=like.stride(), dtype=like.dtype
        )

    def numbers(self) -> Tensor:
        """It as a plain tensor, always the same one."""
        if self._known is None:
            if torch.is_grad_enabled():  # it was not when this was made
                with torch.no_grad():
                    self._known = self._computed()
            else:
                self._known = self._computed()
        return self._known

    def _computed(self) -> Tensor:
        raise NotImplementedError

    def _taken(
        self, function: Callable[..., Any], args: Sequence[Any], keywords: Mapping[str, Any]
    ) -> Any:
        """What a function makes of it, still without numbers; `NotImplemented`: it needs them."""
        return NotImplemented

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Answer what needs no numbers; give every other function plain tensors."""
        keywords = kwargs or {}
        if func in _METADATA:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **keywords)
        for value in () if torch.is_grad_enabled() else args:  # what has derivatives is computed
            if isinstance(value, Lazy) and value._known is None:
                result = value._taken(func, args, keywords)
                if result is not NotImplemented:
                    return result
        return func(*plain(args), **plain(keywords))

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """For whoever comes without asking functions: C++ code."""
        return func(*plain(args), **plain(kwargs or {}))


def plain(values: Any) -> Any:
    """The same tuples, lists and dictionaries with plain tensors for lazy ones."""
    return tree_map(lambda v: v.numbers() if isinstance(v, Lazy) else v, values)


def give_ordinary(module: nn.Module, args: Any, result: Any) -> Any:
    """Forward hook of a model: ordinary tensors, whatever way through the model was taken.

    In tuples, lists and dictionaries; these two are changed in place.
    """
    return None if _is_compiling() else _ordinary(result)


def _ordinary(value: Any) -> Any:
    if isinstance(value, Lazy):
        return value.numbers()
    if isinstance(value, tuple):
        parts = [_ordinary(part) for part in value]
        if all(map(is_, parts, value)):
            return value
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    items: Any = ()
    if isinstance(value, MutableMapping):
        items = list(value.items())
    elif isinstance(value, list):
        items = enumerate(value)
    for key, part in items:
        ordinary = _ordinary(part)
        if ordinary is not part:
            value[key] = ordinary
    return value
