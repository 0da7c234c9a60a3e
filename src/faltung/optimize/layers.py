"""The classes that optimised modules have.

A convolution is one of the six below until its first call, which notes the shapes for `report`.
After that it is the plain module of `faltung.nn`, which costs nothing more, unless images are to be
brought into another layout or a normalisation and an activation are done with it (see `chains`).
What is done with a convolution lets its input pass if it was done already.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .. import nn as fnn
from ..ops.conv.dispatch import convolve, planned
from ..ops.conv.spec import ConvSpec
from ..ops.layouts import laid_out
from ..ops.operands import memory_layout, plain_memory, under_autocast
from .chains import Chain
from .lazy import Lazy
from .normed import is_weight_normed, kept_weight
from .origin import Origin, joined, set_class
from .padded import CallingPad, Padded, Padding, mode_of, taken_in
from .pending import pending
from .pointwise import CALL, TAG, OptimizedLinear
from .scaled import Scaled, folded_in, may_offer, offered

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
    module: Any, input: Tensor, weight: Any, bias: Any, extra: Any, activation: str | None,
    padding: Any,
) -> Tensor:  # fmt: skip
    """The image in the layout that it is to have; at the first call its spec is noted."""
    origin: Origin = module._faltung
    wanted = origin.layout
    if wanted and input.dim() == weight.dim() and memory_layout(input) != wanted:
        input = laid_out(input, wanted)
    if origin.seen is None and not _is_compiling() and plain_memory(input):
        origin.seen = spec_of(module, origin.call, input, weight, bias, extra, activation, padding)
    return input


def _settle(module: Any) -> None:
    """Make it the plain module after its first call if there is nothing left to do."""
    origin: Origin = module._faltung
    if origin.seen is None or origin.layout is not None or origin.chain is not None:
        return
    if origin.offers:
        return
    if not (origin.is_padded or is_weight_normed(module)):
        set_class(module, swapped_class(origin, noting=False))


def _of_lazy(module: Any, input: Lazy) -> Tensor:
    """The convolution of what was put off: padding is done with it, everything else before it."""
    with torch._C.DisableTorchFunction():  # who puts padding off looks at every function
        padding, chain = module.padding, module._faltung.chain
        if chain is not None and not chain.holds(module, input):
            chain = None
        if isinstance(input, Padded):
            image, padding = taken_in(input, module)
        elif isinstance(input, Scaled) and is_pointwise(module):
            image = input
        else:
            image = input.numbers()
        return _of_image(module, image, 0, padding, chain)


def _of_image(
    module: Any,
    input: Tensor,
    extra: Any,
    padding: Any,
    chain: Chain | None,
    residual: Tensor | None = None,
) -> Tensor:
    if chain is not None:
        weight, bias, activation = chain.operands()
    else:
        (weight, bias), activation = module._learned(), module.activation
    if isinstance(input, Scaled):
        input, weight, bias = folded_in(input, weight, bias)
    input = _prepared(module, input, weight, bias, extra, activation, padding)
    if chain is not None and chain.waits(input, weight, bias):
        arguments = (module.stride, padding, extra, module.dilation, module.groups,
                     module.padding_mode, None, module.algorithm)  # fmt: skip
        bare = chain.bare(module._faltung.call, input, weight, bias, arguments)
        compute = partial(_run, module, input, weight, bias, extra, padding)
        y: Tensor = pending(compute, bare, chain.steps)
    else:
        y = _run(module, input, weight, bias, extra, padding, residual, activation)
        if may_offer(module._faltung, y) and y.dim() == weight.dim():
            y = offered(y, 1)
    if chain is not None:
        y.__dict__[TAG] = chain
    return y


def _run(
    module: Any, input: Tensor, weight: Any, bias: Any, extra: Any, padding: Any,
    residual: Tensor | None, activation: str | None,
) -> Tensor:  # fmt: skip
    return convolve(
        module._faltung.call, input, weight, bias, module.stride, padding, extra,
        module.dilation, module.groups, module.padding_mode, activation, module.algorithm,
        residual,
    )  # fmt: skip


class _OptimizedConv(_Noting):
    def forward(self, input: Tensor, residual: Tensor | None = None) -> Tensor:
        """The convolution of `input`, and what is done with it."""
        if residual is None:
            if isinstance(input, Lazy):
                return _of_lazy(self, input)
            chain = self._faltung.chain
            if chain is not None and chain.holds(self, input):
                return _of_image(self, input, 0, self.padding, chain)
        # by name, for `super()` refuses once another thread has changed the class
        return fnn.Conv2d.forward(self, input, residual)  # type: ignore[arg-type]

    def _conv_forward(
        self, input: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None = None
    ) -> Tensor:
        input = _prepared(self, input, weight, bias, 0, self.activation, self.padding)
        y = fnn.Conv2d._conv_forward(self, input, weight, bias, residual)  # type: ignore[arg-type]
        _settle(self)
        if may_offer(self._faltung, y) and y.dim() == weight.dim():
            return offered(y, 1)
        return y


class _OptimizedConvTranspose(_Noting):
    def forward(
        self,
        input: Tensor,
        output_size: Sequence[int] | None = None,
        residual: Tensor | None = None,
    ) -> Tensor:
        """The transposed convolution of `input`, and what is done with it."""
        input = input.numbers() if isinstance(input, Lazy) else input
        chain, extra = self._faltung.chain, self.output_padding
        if output_size is not None:
            extra = self._output_padding_for(input, tuple(output_size))
        if chain is not None and (residual is not None or not chain.holds(self, input)):
            chain = None
        y = _of_image(self, input, extra, self.padding, chain, residual)
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


def is_pointwise(module: Any) -> bool:
    """Whether a layer maps each pixel's channels by itself, all of them to all."""
    if isinstance(module, nn.Linear):
        return True
    return (
        not module.transposed
        and module.groups == 1
        and set(module.kernel_size) == {1}
        and module.padding in ((0,) * len(module.kernel_size), "valid", "same")
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


def padding_class(origin: Origin, module: nn.Module) -> type[nn.Module]:
    """The class that a padding layer gets, or a module that calls `F.pad`."""
    kind = CallingPad if mode_of(module) is None else Padding
    return joined(origin.original, kind, origin.original)


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
    padding: Any = None,
) -> ConvSpec:
    """The spec of a call of a convolution, whose padding is the module's unless given."""
    x, w, b = under_autocast(input, weight, bias)
    algorithm = getattr(module, "algorithm", None)
    padding = module.padding if padding is None else padding
    arguments = (module.stride, padding, extra, module.dilation, module.groups,
                 module.padding_mode, activation, algorithm)  # fmt: skip
    spec: ConvSpec = planned(call, x, w, b, arguments).spec  # type: ignore[arg-type]
    return spec
