"""Which of our activations a module is, read from its class or from the one line it runs.

The number that some of them take goes into the name, see `ops.naming`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from ..ops.naming import NUMBERED, spelled

_CLASSES: dict[type[nn.Module], str] = {
    nn.ReLU: "relu",
    nn.ReLU6: "relu6",
    nn.SiLU: "silu",
    nn.Hardswish: "hardswish",
    nn.Sigmoid: "sigmoid",
}
_GELU = {"none": "gelu", "tanh": "gelu_tanh"}
# PyTorch's functions with a number, what they call it, and ours
_TAKING: dict[Callable[..., Any], tuple[str, str]] = {
    F.leaky_relu: ("negative_slope", "leaky_relu"),
    F.leaky_relu_: ("negative_slope", "leaky_relu"),
    F.elu: ("alpha", "elu"),
    F.elu_: ("alpha", "elu"),
}

_FUNCTIONS: dict[Callable[..., Any], str] = {
    F.relu: "relu",
    torch.relu: "relu",
    F.relu6: "relu6",
    F.silu: "silu",
    F.hardswish: "hardswish",
    F.sigmoid: "sigmoid",
    torch.sigmoid: "sigmoid",
    Tensor.relu: "relu",
    Tensor.sigmoid: "sigmoid",
    Tensor.relu_: "relu",
    torch.relu_: "relu",
    Tensor.sigmoid_: "sigmoid",
}


def name_of(module: nn.Module) -> str | None:
    """Its name in `activation=`; None for what is none of them.

    A module without parameters and children whose `forward` is a call of one of PyTorch's functions
    and nothing else counts, too: libraries write such classes of their own.

    >>> name_of(nn.GELU(approximate="tanh")), name_of(nn.LeakyReLU(0.2)), name_of(nn.Tanh())
    ('gelu_tanh', 'leaky_relu(0.2)', None)
    """
    kind, options = type(module), module.__dict__
    if kind in _CLASSES:
        return _CLASSES[kind]
    if kind is nn.GELU:
        return _GELU.get(options["approximate"])
    if kind is nn.LeakyReLU:
        return _with("leaky_relu", options["negative_slope"])
    if kind is nn.ELU:
        return _with("elu", options["alpha"])
    if kind.__module__.startswith("torch.") or _has_parts(module):
        return None
    return _by_tracing(module)


def name_of_call(
    function: Callable[..., Any], args: Sequence[Any], keywords: Mapping[str, Any]
) -> str | None:
    """The name of what a call of a function of PyTorch's does to its first argument, or None.

    `args` and `keywords` are the other arguments.

    >>> name_of_call(F.gelu, (), {"approximate": "tanh"}), name_of_call(F.elu, (0.5,), {})
    ('gelu_tanh', 'elu(0.5)')
    """
    name = _FUNCTIONS.get(function)
    if name is None and function is not F.gelu and function not in _TAKING:
        return None
    others = {k: v for k, v in keywords.items() if k != "inplace"}
    if function in _TAKING:
        return _numbered(*_TAKING[function], args, others)
    if args:
        return None
    if function is F.gelu:
        known = set(others) <= {"approximate"}
        return _GELU.get(str(others.get("approximate", "none"))) if known else None
    return None if others else name


def _numbered(
    keyword: str, base: str, args: Sequence[Any], others: Mapping[str, Any]
) -> str | None:
    """The name of a call with one number, given by place, by `keyword` or not at all."""
    given = [*args, *(v for k, v in others.items() if k == keyword)]
    if len(given) > 1 or len(given) != len(args) + len(others):
        return None
    return _with(base, given[0] if given else NUMBERED[base])


def _with(base: str, number: Any) -> str | None:
    """The name with this number, which may be anything."""
    plain = type(number) in (int, float) and math.isfinite(number)
    return spelled(base, number) if plain else None


def _has_parts(module: nn.Module) -> bool:
    return bool(module._parameters or module._buffers or module._modules)


def _by_tracing(module: nn.Module) -> str | None:
    try:
        # reads the source of no one: what the forward does to a stand-in is written down
        nodes = list(fx.Tracer().trace(_twin(module)).nodes)
    except Exception:  # whatever a forward of the user's raises when it is given no tensor
        return None
    if [node.op for node in nodes] != ["placeholder", "call_function", "output"]:
        return None
    given, call, out = nodes
    if out.args != (call,) or call.args[:1] != (given,) or not callable(call.target):
        return None
    return name_of_call(call.target, call.args[1:], call.kwargs)


def _twin(module: nn.Module) -> nn.Module:
    """The same module with attributes of its own, for a forward may write to them."""
    twin = module.__new__(type(module))
    twin.__dict__ = dict(module.__dict__)
    return twin
