"""Running a model on example inputs, to see what its convolutions are given.

The model runs in `eval` mode, without gradients, and leaves the random numbers and every module's
mode as they were.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from ..errors import ArgumentTypeError
from ..ops.conv.spec import ConvSpec
from ..ops.layouts import laid_out
from .watching import Watch

_IMAGES = (4, 5)  # dimensions of what can be channels-last


@dataclass(frozen=True)
class Inputs:
    """The arguments of one call of a model."""

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, given: Any) -> "Inputs":
        """A tensor, a tuple of arguments, or a dictionary of keyword arguments.

        Raises `ArgumentTypeError` for anything else.

        >>> Inputs.of((1, 2)).args
        (1, 2)
        """
        if isinstance(given, Tensor):
            return cls((given,))
        if isinstance(given, Mapping):
            return cls((), dict(given))
        if isinstance(given, tuple | list):
            return cls(tuple(given))
        raise ArgumentTypeError(
            "example inputs must be a tensor, a tuple of arguments or a dictionary of keyword "
            f"arguments, got {type(given).__name__}"
        )

    def mapped(self, change: Callable[[Tensor], Tensor]) -> "Inputs":
        """The same with every tensor changed."""
        args, kwargs = tree_map(
            lambda v: change(v) if isinstance(v, Tensor) else v, (self.args, dict(self.kwargs))
        )
        return Inputs(args, kwargs)

    def channels_last(self) -> "Inputs":
        """The same with the images channels-last."""
        return self.mapped(lambda t: laid_out(t, "channels_last") if t.dim() in _IMAGES else t)

    @property
    def image_bytes(self) -> int:
        """Bytes of all tensors that can be channels-last."""
        leaves = tree_leaves((self.args, dict(self.kwargs)))
        return sum(t.nbytes for t in leaves if isinstance(t, Tensor) and t.dim() in _IMAGES)


@contextmanager
def quietly(model: nn.Module) -> Iterator[None]:
    """Evaluation without gradients; every module's mode and the random numbers come back."""
    modes = [(module, module.training) for module in model.modules()]
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=[]))
        stack.enter_context(torch.no_grad())
        for module, _ in modes:
            module.training = False
        try:
            yield
        finally:
            for module, mode in modes:
                module.training = mode


def outputs(model: nn.Module, inputs: Inputs) -> list[Tensor]:
    """All tensors that a model returns."""
    with quietly(model):
        result = model(*inputs.args, **inputs.kwargs)
    return [t for t in _leaves(result) if isinstance(t, Tensor)]


def observe(
    model: nn.Module,
    inputs: Inputs,
    specs: Mapping[nn.Module, Callable[..., ConvSpec | None]],
    watch: Watch | None = None,
) -> dict[nn.Module, ConvSpec]:
    """What each convolution is given at its first call.

    `specs` has for each what tells the spec from the arguments of a call. The run may be watched.
    """
    seen: dict[nn.Module, ConvSpec] = {}

    def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if module not in seen:
            with torch._C.DisableTorchFunction():  # what is asked here is no part of the model
                spec = specs[module](*args, **kwargs)
            if spec is not None:
                seen[module] = spec

    with ExitStack() as stack:
        for module in specs:
            handle = module.register_forward_pre_hook(note, with_kwargs=True)
            stack.callback(handle.remove)
        if watch is not None:
            stack.enter_context(watch)
        with quietly(model):
            result = model(*inputs.args, **inputs.kwargs)
    if watch is not None:
        watch.finish(result)
    return seen


def _leaves(result: Any) -> list[Any]:
    """Tensors in tuples, dictionaries and the dictionary-like classes that libraries return."""
    if isinstance(result, Mapping):
        return [leaf for value in result.values() for leaf in _leaves(value)]
    if isinstance(result, tuple | list):
        return [leaf for value in result for leaf in _leaves(value)]
    return tree_leaves(result)
