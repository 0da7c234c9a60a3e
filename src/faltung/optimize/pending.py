"""Convolutions that wait for what comes after them, through views and functions.

    act(view(conv(x, w) + b))      =  view(conv with act)
    act(conv(x, w) + b + r)        =  conv with the residual r and act

A chain (`chains`) has the modules that follow a convolution do nothing. Where it is a function that
a `forward` calls, where the result is turned or flattened first, or where a residual is added, the
convolution returns a lazy tensor instead, and is done when the last of the expected steps comes. If
anything else comes, it is done at once and everything goes its usual way.

What to expect is seen in a run of the model that is watched (`watching`): one reader after the
other, no one else, and nothing of what the convolution reads changed in between.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..ops.layouts import laid_out
from . import activations
from .lazy import Lazy

VIEW, ADD = "view", "add"

_KINDS: dict[Callable[..., Any], str] = {
    **dict.fromkeys(
        (
            Tensor.flatten, Tensor.unflatten, Tensor.transpose, Tensor.permute, Tensor.view,
            Tensor.reshape, Tensor.squeeze, Tensor.unsqueeze, Tensor.contiguous, Tensor.movedim,
            torch.flatten, torch.unflatten, torch.transpose, torch.permute, torch.reshape,
            torch.squeeze, torch.unsqueeze, torch.movedim,
        ),
        VIEW,
    ),
    **dict.fromkeys((Tensor.add, Tensor.add_, torch.add), ADD),
}  # fmt: skip

# in evaluation they return what they are given
_DROPPING = (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout)

Compute = Callable[[Tensor | None, str | None], Tensor]
"""The convolution, given a residual and the name of an activation."""


def step_of(
    function: Callable[..., Any], args: Sequence[Any], keywords: Mapping[str, Any]
) -> str | None:
    """What a call may be to a convolution: `view`, `add`, or the name of an activation."""
    kind = _KINDS.get(function)
    if kind == ADD:
        return None if keywords or len(args) != 2 else ADD
    if function in _DROPPING:
        return VIEW if keywords.get("training") is False else None
    return kind or activations.name_of_call(function, args[1:], keywords)


class Pending(Lazy):
    """The result of a convolution that is not done yet, seen in some way."""

    compute: Compute
    bare: Tensor
    """A tensor without memory that lies as the result."""

    like: Tensor
    """The same for what this is a view of it."""

    views: tuple[Callable[[Tensor], Tensor], ...]
    residual: Tensor | None
    expected: tuple[str, ...]
    _later: "Lazy | None"
    """What it became when it was changed in place."""

    def _computed(self) -> Tensor:
        return self._later.numbers() if self._later is not None else self._done(None)

    def _done(self, activation: str | None) -> Tensor:
        y = self.compute(self.residual, activation)
        if y.stride() != self.bare.stride():
            y = _as(self.bare, y)
        for view in self.views:
            y = view(y)
        return y

    def _taken(
        self, function: Callable[..., Any], args: Sequence[Any], keywords: Mapping[str, Any]
    ) -> Any:
        step, wanted = step_of(function, args, keywords), self.expected[0]
        if step != wanted or self._later is not None:
            return NotImplemented
        if step == VIEW:
            return self._seen(lambda y: function(y, *args[1:], **keywords))
        if step == ADD:
            return self._added(function, *args)
        y = self._done(step)
        if keywords.get("inplace") or function.__name__.endswith("_"):
            self._known = y
        return y

    def _seen(self, view: Callable[[Tensor], Tensor]) -> Any:
        like = view(self.like)
        if like.untyped_storage()._cdata != self.like.untyped_storage()._cdata:
            return NotImplemented  # a copy, which is to be made of numbers
        return self._further(like, (*self.views, view), self.residual)

    def _added(self, function: Callable[..., Any], first: Any, second: Any) -> Any:
        in_place = function is Tensor.add_
        other = second if first is self else first
        if (in_place and first is not self) or not isinstance(other, Tensor):
            return NotImplemented
        if isinstance(other, Lazy):
            other = other.numbers()
        if type(other) is not Tensor or not _lies_as(other, self.like):
            return NotImplemented
        residual = other.as_strided(self.bare.shape, self.bare.stride(), other.storage_offset())
        y = self._further(self.like, self.views, residual)
        if in_place:
            if isinstance(y, Lazy):
                self._later = y
            else:
                self._known = y
        return y

    def _further(
        self, like: Tensor, views: tuple[Callable[[Tensor], Tensor], ...], residual: Tensor | None
    ) -> Tensor:
        y = pending(self.compute, self.bare, self.expected[1:], like, views, residual)
        return y if y.expected else y.numbers()


def pending(
    compute: Compute,
    bare: Tensor,
    expected: tuple[str, ...],
    like: Tensor | None = None,
    views: tuple[Callable[[Tensor], Tensor], ...] = (),
    residual: Tensor | None = None,
) -> Pending:
    """The result of a convolution, to be computed when the last of the expected steps comes."""
    seen = bare if like is None else like
    y = Pending(seen)
    y._known = y._later = None
    y.compute, y.bare, y.like, y.expected = compute, bare, seen, expected
    y.views, y.residual = views, residual
    return y


def without_memory(shape: Sequence[int], layout: str, dtype: torch.dtype) -> Tensor:
    """What a result of a convolution lies like whose image lies in `layout`."""
    with torch.inference_mode(mode=False):
        like = torch.empty(shape, dtype=dtype, device="meta")
        return laid_out(like, "channels_last") if layout == "channels_last" else like


def _as(like: Tensor, y: Tensor) -> Tensor:
    """A result that lies otherwise, as PyTorch's does if the weight is channels-last."""
    if _lies_as(y, like):  # but for the strides of axes with one position
        return y.as_strided(like.shape, like.stride())
    return torch.empty_like(like, device=y.device).copy_(y)


def _lies_as(tensor: Tensor, like: Tensor) -> bool:
    """Whether it has the same shape, dtype and places in memory, so that it fits number for number.

    Where an axis has one position only its stride says nothing.
    """
    return (
        tensor.shape == like.shape
        and tensor.dtype == like.dtype
        and all(
            n == 1 or s == t
            for n, s, t in zip(tensor.shape, tensor.stride(), like.stride(), strict=True)
        )
    )
