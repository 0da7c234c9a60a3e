"""Which modules are swapped, how, and back."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin

from .. import nn as fnn
from ..ops.conv.spec import ConvSpec
from ..ops.layouts import laid_out
from ..ops.operands import memory_layout
from .chains import Chain
from .layers import CONVOLUTIONS, call_of, padding_class, passing_class, spec_of, swapped_class
from .lazy import give_ordinary
from .origin import KEY, Origin, keep, origin_of, plain_class, set_class
from .pointwise import CALL

_EXTRAS = ("activation", "algorithm")  # what our modules have and PyTorch's have not
_OURS = (fnn.Conv1d, fnn.Conv2d, fnn.Conv3d, fnn.ConvTranspose1d, fnn.ConvTranspose2d,
         fnn.ConvTranspose3d)  # fmt: skip


def is_convolution(module: nn.Module) -> bool:
    """Whether it is one of PyTorch's convolution modules, or of a class made from them."""
    return isinstance(module, CONVOLUTIONS)


def is_linear(module: nn.Module) -> bool:
    """Whether it is a `Linear` that may be a pointwise convolution, and nobody has changed it."""
    return type(module) is nn.Linear and "forward" not in module.__dict__


def why_not(module: nn.Module) -> str | None:
    """Why a convolution is left alone; None where it is not."""
    if isinstance(module, LazyModuleMixin) and module.has_uninitialized_params():
        return "is not built yet: call the model once, then optimize_ it"
    if isinstance(module, torch.jit.ScriptModule):
        return "is compiled by torch.jit, and no Python"
    if "forward" in module.__dict__ or "_conv_forward" in module.__dict__:
        return "its forward was replaced by another on the instance"
    kind = plain_class(module)
    if isinstance(module, _OURS) and kind not in _OURS and origin_of(module) is None:
        return f"{kind.__name__} is faltung's own already"
    return None


def swap(module: nn.Module) -> bool:
    """Make a convolution ours, unless it is; False where Python cannot.

    It computes the same; its parameters, buffers, hooks and mode are not touched.
    """
    if origin_of(module) is not None:
        return True
    original = plain_class(module)
    extras = () if original is nn.Linear else _EXTRAS
    call = CALL if original is nn.Linear else call_of(original) or ""
    origin = Origin(original, call, tuple(n for n in extras if n not in module.__dict__))
    try:
        set_class(module, swapped_class(origin, noting=True))
    except TypeError:  # classes with slots keep attributes where ours have none
        return False
    for name in origin.added:
        module.__dict__[name] = None
    keep(module, origin)
    return True


def lay_out(module: Any, layout: str, weight_too: bool) -> None:
    """Have a convolution bring its images into a layout, and its weight now."""
    origin: Origin = module.__dict__[KEY]
    origin.layout = layout
    weight = module._parameters.get("weight")
    if weight_too and weight is not None and memory_layout(weight) == "contiguous":
        origin.weight_layout = "contiguous"
        weight.data = laid_out(weight.data, layout)
    set_class(module, swapped_class(origin, noting=True))


def tie(chain: Chain) -> None:
    """Have a convolution do what comes after it."""
    origin: Origin = chain.convolution.__dict__[KEY]
    origin.chain, origin.seen = chain, None
    set_class(chain.convolution, swapped_class(origin, noting=True))
    for module in (chain.norm, chain.act):
        if module is not None:
            passing = Origin(plain_class(module), chain=chain)
            set_class(module, passing_class(passing))
            keep(module, passing)


def lead(module: nn.Module, others: tuple[nn.Module, ...]) -> None:
    """Have the convolutions among the others do what a module pads, or calls `F.pad` for."""
    origin = Origin(plain_class(module), leads_to=others)
    try:
        set_class(module, padding_class(origin, module))
    except TypeError:  # classes with slots keep attributes where ours have none
        return
    keep(module, origin)
    for other in others:
        its = origin_of(other)
        if its is not None and its.call:
            its.is_padded = True
            set_class(other, swapped_class(its, noting=True))


def offer(conv: nn.Module, reader: nn.Module, passed: tuple[nn.Module, ...]) -> None:
    """Have functions scale the channels of a convolution's results for the one that reads them."""
    origin: Origin = conv.__dict__[KEY]
    origin.offers, origin.receives = True, tuple(dict.fromkeys((*origin.receives, *passed)))
    its: Origin = reader.__dict__[KEY]
    its.is_padded = True
    for module, kept in ((conv, origin), (reader, its)):
        set_class(module, swapped_class(kept, noting=True))


def close(model: nn.Module) -> None:
    """Have a model return ordinary tensors, if tensors in it may wait for their numbers.

    In the example run none was returned; with other arguments there may be other ways.
    """
    origins = [origin for m in model.modules() if (origin := origin_of(m)) is not None]
    waiting = any(o.offers or o.leads_to or (o.chain and o.chain.steps) for o in origins)
    if waiting and origin_of(model) is None and give_ordinary not in model._forward_hooks.values():
        model.register_forward_hook(give_ordinary)


def undo(module: Any) -> None:
    """Put a module back as it was."""
    for key in [k for k, hook in module._forward_hooks.items() if hook is give_ordinary]:
        del module._forward_hooks[key]
    origin = origin_of(module)
    if origin is None:
        return
    set_class(module, origin.original)
    for name in (*origin.added, KEY):
        module.__dict__.pop(name, None)
    weight = module._parameters.get("weight")
    if origin.weight_layout is not None and weight is not None:
        weight.data = laid_out(weight.data, origin.weight_layout)


def spec_by_call(module: Any) -> Callable[..., ConvSpec] | None:
    """What tells the spec from the arguments of a call; None where a class has its own `forward`.

    Such a one may do anything to its input before it comes to the convolution.
    """
    kind = plain_class(module)
    own = next(c for c in CONVOLUTIONS if issubclass(kind, c))
    if kind.forward is not own.forward and not isinstance(module, _OURS):
        return None
    if isinstance(module, _OURS) and kind not in _OURS and origin_of(module) is None:
        return None
    return partial(_spec_of_transposed if module.transposed else _spec_of, module)


def _spec_of(module: Any, input: Tensor) -> ConvSpec:
    activation = getattr(module, "activation", None)
    return spec_of(module, _call(module), input, module.weight, module.bias, 0, activation)


def _spec_of_transposed(module: Any, input: Tensor, output_size: Any = None) -> ConvSpec:
    extra = module.output_padding
    if output_size is not None:
        dims = len(module.kernel_size)
        extra = tuple(
            module._output_padding(
                input, list(output_size), module.stride, module.padding, module.kernel_size, dims,
                module.dilation,
            )
        )  # fmt: skip
    activation = getattr(module, "activation", None)
    return spec_of(module, _call(module), input, module.weight, module.bias, extra, activation)


def _call(module: nn.Module) -> str:
    return call_of(type(module)) or ""
