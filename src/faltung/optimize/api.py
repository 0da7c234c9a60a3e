"""`optimize_` and `restore_`: a whole model's convolutions swapped for ours, and back."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

import torch
from torch import nn

from .. import planning, settings
from ..errors import ArgumentError, ArgumentTypeError
from ..ops.conv.spec import ConvSpec
from .followed import pads_before, scalings
from .found import chains_of
from .layouts import as_layout, best_layouts
from .origin import KEY, origin_of
from .pointwise import is_faster, spec_by_linear
from .running import Inputs, observe
from .swapping import (
    close,
    is_convolution,
    is_linear,
    lay_out,
    lead,
    offer,
    spec_by_call,
    swap,
    tie,
    undo,
    why_not,
)
from .verifying import Truth
from .watching import Watch

_OPTIONS = """\
    filter_fn
        `filter_fn(name, module)` says whether a convolution may be swapped.
    example_inputs
        What the model is called with: a tensor, a tuple of arguments or a dictionary of keyword
        arguments. The model runs on it ten times at most, in `eval` mode, without gradients.
        With them, padding before a convolution (`F.pad` and padding layers) is done by it.
    fold_batchnorm
        Let a convolution do the BatchNorm that follows in the same pass, in `eval` mode and where
        no derivative of the weights is wanted; else both run as before. No parameter is written.
    fuse_activations
        Let it do the activation that follows, too: ReLU, ReLU6, SiLU, GELU, Hardswish, Sigmoid and
        LeakyReLU, as modules. Both only where the model's `forward` proves that nothing else sees
        what lies between. A layer of those three that is called by itself then returns what all
        three return. With example inputs also activations called as functions, the addition of a
        residual before them, and both after the result was turned or flattened; such a layer
        called by itself returns a tensor whose numbers are computed when somebody wants them. And
        channels that are scaled before a pointwise convolution are scaled by its weight.
    channels_last
        `"auto"`: make the images of all convolutions channels-last if the plans for the example
        inputs take less time by estimate than leaving them; without example inputs leave them.
        True: make them; False: leave them. Results come in the layout of the last layer.
    verify
        True: compare the model before and after on the example inputs, against float64. Inputs: on
        those. If they differ by more than rounding, everything is put back and
        `VerificationError` says by how much."""

Model = TypeVar("Model", bound=nn.Module)
Filter = Callable[[str, nn.Module], bool]


def optimize_(
    model: Model,
    filter_fn: Filter | None = None,
    *,
    example_inputs: Any = None,
    fold_batchnorm: bool = False,
    fuse_activations: bool = False,
    channels_last: bool | Literal["auto"] = "auto",
    verify: Any = False,
) -> Model:
    """Swap a model's convolutions for ours, in place, and return the model.

    `Conv1d` to `Conv3d` and `ConvTranspose1d` to `ConvTranspose3d`, and classes made from them,
    wherever they are in the model. Only their class changes: parameters, `state_dict`, hooks,
    device, mode, copying, saving and training stay as they are, and `restore_` puts all of it back.
    A convolution that PyTorch does faster by estimate is left to PyTorch at each call, at no cost.
    With example inputs a `Linear` over the last axis of maps or sequences, which is a pointwise
    convolution, is taken, too, where ours is faster by estimate, and only without derivatives.

    Raises `ArgumentError` or `ArgumentTypeError` for arguments that make no sense, and whatever the
    model raises when it is called with the example inputs.

    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()).eval()
    >>> x = torch.ones(1, 3, 9, 9)
    >>> model = optimize_(model, example_inputs=x, fold_batchnorm=True, fuse_activations=True)
    >>> model(x).shape
    torch.Size([1, 8, 7, 7])
    """
    _check(model, channels_last)
    inputs, checking = _inputs(example_inputs, verify)
    truth = None if checking is None else Truth.of(model, checking)
    watch = None
    if inputs is not None:
        watch = Watch(model, [m for m in model.modules() if not m._modules or is_convolution(m)])
    swapped = _swapped(model, filter_fn, inputs, channels_last, watch)
    if watch is not None:
        for module, others in list(pads_before(watch)):
            lead(module, others)
    if fold_batchnorm or fuse_activations:
        _fuse(model, watch, fold_batchnorm, fuse_activations)
    close(model)
    if truth is not None and checking is not None:
        try:
            truth.check(model, checking, _error_factor(swapped))
        except BaseException:
            restore_(model)
            raise
    return model


def _fuse(model: nn.Module, watch: Watch | None, fold: bool, fuse: bool) -> None:
    """Have convolutions do what comes after them, and scale what comes before."""
    chains = chains_of(model, watch, fold, fuse)
    for chain in chains:
        tie(chain)
    if watch is not None and fuse:
        for scaling in list(scalings(watch, chains)):
            offer(*scaling)


def restore_(model: Model) -> Model:
    """Put a model back as it was before `optimize_`, to the bit, and return it.

    What was trained meanwhile stays trained. A model that is not optimised is left alone.

    >>> model = restore_(optimize_(nn.Sequential(nn.Conv2d(3, 8, 3))))
    >>> type(model[0]) is nn.Conv2d
    True
    """
    if not isinstance(model, nn.Module):
        raise ArgumentTypeError(f"restore_: model must be a module, got {type(model).__name__}")
    for module in model.modules():
        undo(module)
    return model


def _swapped(
    model: nn.Module,
    filter_fn: Filter | None,
    inputs: Inputs | None,
    channels_last: Any,
    watch: Watch | None,
) -> list[nn.Module]:
    """Swap what is to be swapped, in the layouts that it is to have."""
    convolutions, linears = _candidates(model, filter_fn)
    specs = {m: spec for m in convolutions if (spec := spec_by_call(m)) is not None}
    by_linear = {m: spec_by_linear(m) for m in linears}
    before = observe(model, inputs, {**specs, **by_linear}, watch) if inputs else {}
    images = {m: spec for m, spec in before.items() if m in specs}
    layouts = _layouts(model, inputs, specs, images, channels_last)
    swapped = [module for module in convolutions if swap(module)]
    for module in swapped:
        if module in before:
            module.__dict__[KEY].before = before[module]
        if module in layouts:
            by_torch = _is_native(before.get(module), layouts[module])
            lay_out(module, layouts[module], weight_too=by_torch)
    return swapped + _swapped_linears(model, inputs, by_linear, before, bool(images))


def _swapped_linears(
    model: nn.Module,
    inputs: Inputs | None,
    by_linear: Mapping[nn.Module, Callable[..., ConvSpec | None]],
    before: Mapping[nn.Module, ConvSpec],
    among_ours: bool,
) -> list[nn.Module]:
    """Swap the `Linear`s that are faster as convolutions.

    A convolution of ours leaves images channels-last that PyTorch's would not. So those that were
    given others when PyTorch's ran are asked again.
    """
    missing = {m: spec for m, spec in by_linear.items() if m not in before}
    seen = dict(before)
    if missing and among_ours and inputs is not None:
        seen |= observe(model, inputs, missing)
    swapped = [m for m in by_linear if m in seen and is_faster(seen[m]) and swap(m)]
    for module in swapped:
        module.__dict__[KEY].before = seen[module]
    return swapped


def _candidates(
    model: nn.Module, filter_fn: Filter | None
) -> tuple[list[nn.Module], list[nn.Module]]:
    """The convolutions that may be swapped, and the layers that may turn out to be some."""
    convolutions: list[nn.Module] = []
    linears: list[nn.Module] = []
    for name, module in model.named_modules():
        is_one = is_convolution(module) and why_not(module) is None
        if not (is_one or is_linear(module)):
            continue
        if filter_fn is None or filter_fn(name, module):
            (convolutions if is_one else linears).append(module)
    return convolutions, linears


def _check(model: Any, channels_last: Any) -> None:
    if not isinstance(model, nn.Module):
        raise ArgumentTypeError(f"optimize_: model must be a module, got {type(model).__name__}")
    if isinstance(model, torch.jit.ScriptModule):
        raise ArgumentTypeError(
            "optimize_: the model is compiled by torch.jit and has no Python left to swap; "
            "optimise the model that it was made from"
        )
    if channels_last not in (True, False, "auto"):
        raise ArgumentError(
            f"optimize_: channels_last must be True, False or 'auto', got {channels_last!r}"
        )


def _inputs(example_inputs: Any, verify: Any) -> tuple[Inputs | None, Inputs | None]:
    """The example inputs, and those to verify with."""
    inputs = None if example_inputs is None else Inputs.of(example_inputs)
    if verify is False or verify is None:
        return inputs, None
    if verify is True:
        if inputs is None:
            raise ArgumentError(
                "optimize_: verify=True compares on example_inputs, and there are none"
            )
        return inputs, inputs
    return inputs, Inputs.of(verify)


def _layouts(
    model: nn.Module,
    inputs: Inputs | None,
    specs: Mapping[nn.Module, Callable[..., ConvSpec]],
    before: Mapping[nn.Module, ConvSpec],
    channels_last: Any,
) -> dict[nn.Module, str]:
    """The convolutions whose images are to be brought into a layout."""
    if channels_last is True:
        return {m: "channels_last" for m in specs if len(getattr(m, "kernel_size", ())) > 1}
    if channels_last is False or inputs is None:
        return {}
    return best_layouts(model, inputs, specs, before)


def _is_native(spec: ConvSpec | None, layout: str) -> bool:
    """Whether PyTorch will do it, as far as is known: it reorders weights of the other layout."""
    if spec is None:
        return True
    knobs = settings.planner_chooses(settings.current())
    return planning.plan(as_layout(spec, layout), "conv", knobs).algorithm == "native_torch"


def _error_factor(modules: list[nn.Module]) -> float:
    """The most that any of the algorithms in use may round, against a direct sum."""
    factor, knobs = 1.0, settings.planner_chooses(settings.current())
    for module in modules:
        origin = origin_of(module)
        if origin is not None and origin.before is not None:
            spec = as_layout(origin.before, origin.layout)
            factor = max(factor, planning.plan(spec, "conv", knobs).chosen.algorithm.error_factor)
    return factor


optimize_.__doc__ = (optimize_.__doc__ or "").replace("    Raises", _OPTIONS + "\n\n    Raises", 1)
