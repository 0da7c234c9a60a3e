"""The classes that optimised modules have.

A convolution is one of the six below until its first call, which notes the shapes for `report`.
After that it is the plain module of `faltung.nn`, which costs nothing more, unless images are to be
brought into another layout or a normalisation and an activation are done with it (see `chains`).
What is done with a convolution lets its input pass if it was done already.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .. import nn as fnn
from ..ops.conv.dispatch import convolve, planned
from ..ops.conv.spec import ConvSpec
from ..ops.operands import laid_out, memory_layout, plain_memory, under_autocast
from .normed import is_weight_normed, kept_weight
from .origin import Origin, joined, set_class
from .pointwise import CALL, TAG, OptimizedLinear

_is_compiling = torch.compiler.is_dynamo_compiling


class _Noting(nn.Module):
    """What the first call notes and what every call does to its image."""

    _faltung: Origin
    stride: Any
    padding: Any
    output_padding: Any
    dilation: Any
    groups: Any
    padding_mode: Any
    activation: str | None
    algorithm: str | None
    bias: Any
    _output_padding_for: Callable[[Tensor, tuple[int, ...]], tuple[int, ...]]

    def _get_name(self) -> str:
        return self._faltung.original.__name__

    def _learned(self) -> tuple[Any, Any]:
        """The weight and the bias as they are now."""
        if is_weight_normed(self):
            weight = kept_weight(self)
            if weight is not None:
                return weight, self.bias
        both: tuple[Any, Any] = super()._learned()  # type: ignore[misc]
        return both


# functions, for a method would not be found once another thread has changed the class
def _prepared(
    module: Any, input: Tensor, weight: Any, bias: Any, extra: Any, activation: str | None
) -> Tensor:
    """The image in the layout that it is to have; at the first call its spec is noted."""
    origin: Origin = module._faltung
    wanted = origin.layout
    if wanted and input.dim() == weight.dim() and memory_layout(input) != wanted:
        input = laid_out(input, wanted)
    if origin.seen is None and not _is_compiling() and plain_memory(input):
        origin.seen = spec_of(module, origin.call, input, weight, bias, extra, activation)
    return input


def _settle(module: Any) -> None:
    """Make it the plain module after its first call if there is nothing left to do."""
    origin: Origin = module._faltung
    if origin.seen is None or origin.layout is not None or origin.chain is not None:
        return
    if not is_weight_normed(module):
        set_class(module, swapped_class(origin, noting=False))


class _OptimizedConv(_Noting):
    def forward(self, input: Tensor) -> Tensor:
        """The convolution of `input`, and what is done with it."""
        chain = self._faltung.chain
        if chain is not None and chain.holds(self, input):
            weight, bias, activation = chain.operands()
            input = _prepared(self, input, weight, bias, 0, activation)
            y = convolve(
                self._faltung.call, input, weight, bias, self.stride, self.padding, 0,
                self.dilation, self.groups, self.padding_mode, activation, self.algorithm,
            )  # fmt: skip
            y.__dict__[TAG] = chain
            return y
        # by name, for `super()` refuses once another thread has changed the class
        return fnn.Conv2d.forward(self, input)  # type: ignore[arg-type]

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        input = _prepared(self, input, weight, bias, 0, self.activation)
        y = fnn.Conv2d._conv_forward(self, input, weight, bias)  # type: ignore[arg-type]
        _settle(self)
        return y


class _OptimizedConvTranspose(_Noting):
    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """The transposed convolution of `input`, and what is done with it."""
        chain, extra = self._faltung.chain, self.output_padding
        if output_size is not None:
            extra = self._output_padding_for(input, tuple(output_size))
        if chain is not None and not chain.holds(self, input):
            chain = None
        if chain is not None:
            weight, bias, activation = chain.operands()
        else:
            (weight, bias), activation = self._learned(), self.activation
        input = _prepared(self, input, weight, bias, extra, activation)
        y = convolve(
            self._faltung.call, input, weight, bias, self.stride, self.padding, extra,
            self.dilation, self.groups, self.padding_mode, activation, self.algorithm,
        )  # fmt: skip
        if chain is not None:
            y.__dict__[TAG] = chain
        _settle(self)
        return y


class OptimizedConv1d(_OptimizedConv, fnn.Conv1d):
    """What becomes a `faltung.nn.Conv1d`."""


class OptimizedConv2d(_OptimizedConv, fnn.Conv2d):
    """What becomes a `faltung.nn.Conv2d`."""


class OptimizedConv3d(_OptimizedConv, fnn.Conv3d):
    """What becomes a `faltung.nn.Conv3d`."""


class OptimizedConvTranspose1d(_OptimizedConvTranspose, fnn.ConvTranspose1d):
    """What becomes a `faltung.nn.ConvTranspose1d`."""


class OptimizedConvTranspose2d(_OptimizedConvTranspose, fnn.ConvTranspose2d):
    """What becomes a `faltung.nn.ConvTranspose2d`."""


class OptimizedConvTranspose3d(_OptimizedConvTranspose, fnn.ConvTranspose3d):
    """What becomes a `faltung.nn.ConvTranspose3d`."""


class Passing(nn.Module):
    """Mixed into a normalisation or an activation that its convolution does as a rule."""

    _faltung: Origin

    def forward(self, input: Tensor) -> Tensor:
        """The input if all is done in it, else what the class behind makes of it."""
        if not _is_compiling() and input.__dict__.get(TAG) is self._faltung.chain:
            return input
        y: Tensor = super().forward(input)
        return y


_KINDS: tuple[tuple[type[nn.Module], type[nn.Module], type[nn.Module]], ...] = (
    (nn.Conv1d, fnn.Conv1d, OptimizedConv1d),
    (nn.Conv2d, fnn.Conv2d, OptimizedConv2d),
    (nn.Conv3d, fnn.Conv3d, OptimizedConv3d),
    (nn.ConvTranspose1d, fnn.ConvTranspose1d, OptimizedConvTranspose1d),
    (nn.ConvTranspose2d, fnn.ConvTranspose2d, OptimizedConvTranspose2d),
    (nn.ConvTranspose3d, fnn.ConvTranspose3d, OptimizedConvTranspose3d),
)
CONVOLUTIONS = tuple(theirs for theirs, _, _ in _KINDS)


def call_of(cls: type[nn.Module]) -> str | None:
    """The function of ours that a class of convolutions does; None for other classes.

    >>> call_of(nn.ConvTranspose2d)
    'conv_transpose2d'
    """
    for theirs, plain, _ in _KINDS:
        if issubclass(cls, theirs):
            return str(plain._call)  # type: ignore[attr-defined]
    return None


def is_exact(module: nn.Module) -> bool:
    """Whether an optimised convolution's class computes as PyTorch's or ours does."""
    original: Any = module.__dict__["_faltung"].original
    return original is nn.Linear or any(
        original.forward is kind.forward
        and getattr(original, "_conv_forward", None) is getattr(kind, "_conv_forward", None)
        for theirs, plain, _ in _KINDS
        for kind in (theirs, plain)
    )


def swapped_class(origin: Origin, noting: bool) -> type[nn.Module]:
    """The class that a convolution gets: one that notes its first call, or the plain one."""
    original = origin.original
    if origin.call == CALL:
        return OptimizedLinear
    for theirs, plain, notes in _KINDS:
        if issubclass(original, theirs):
            ours = notes if noting else plain
            return ours if original in (theirs, plain) else joined(original, original, ours)
    raise TypeError(f"{original.__name__} is no convolution of PyTorch's")


def passing_class(origin: Origin) -> type[nn.Module]:
    """The class that a normalisation or an activation gets."""
    return joined(origin.original, Passing, origin.original)


def spec_of(
    module: Any,
    call: str,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    extra: Any = 0,
    activation: str | None = None,
) -> ConvSpec:
    """The spec of a call of a convolution."""
    x, w, b = under_autocast(input, weight, bias)
    algorithm = getattr(module, "algorithm", None)
    arguments = (module.stride, module.padding, extra, module.dilation, module.groups,
                 module.padding_mode, activation, algorithm)  # fmt: skip
    spec: ConvSpec = planned(call, x, w, b, arguments).spec  # type: ignore[arg-type]
    return spec
