"""The activations that an operator can apply to its result, by name.

y = activation(conv(x, w) + b + residual)

Two take a number, which is part of the name (`naming`): "leaky_relu(0.1)", "elu(0.5)".
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import ArgumentError
from .naming import canonical, listed, split

_FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "relu": F.relu,
    "relu6": F.relu6,
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": lambda y: F.gelu(y, approximate="tanh"),
    "hardswish": F.hardswish,
    "sigmoid": F.sigmoid,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
}

_IN_PLACE: dict[str, Callable[..., Any]] = {
    "relu": torch.relu_,
    "relu6": lambda y: F.relu6(y, inplace=True),
    "silu": lambda y: F.silu(y, inplace=True),
    "gelu": torch.ops.aten.gelu_.default,
    "gelu_tanh": lambda y: torch.ops.aten.gelu_.default(y, approximate="tanh"),
    "hardswish": lambda y: F.hardswish(y, inplace=True),
    "sigmoid": torch.sigmoid_,
    "leaky_relu": lambda y, slope: F.leaky_relu(y, slope, inplace=True),
    "elu": lambda y, alpha: F.elu(y, alpha, inplace=True),
}


def activate(name: str | None, y: Tensor) -> Tensor:
    """The named activation of y; None leaves y as it is.

    >>> import torch
    >>> activate("relu", torch.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    >>> activate("leaky_relu(0.5)", torch.tensor([-1.0, 2.0]))
    tensor([-0.5000,  2.0000])
    """
    if name is None:
        return y
    if canonical(name) is None:
        raise ArgumentError(f"activation must be one of {listed()}, got {name!r}")
    base, number = split(name)
    return _FUNCTIONS[base](y) if number is None else _FUNCTIONS[base](y, number)


def activate_in_place(name: str | None, y: Tensor) -> Tensor:
    """The same, written over y.

    >>> activate_in_place("relu6", torch.tensor([-1.0, 9.0]))
    tensor([0., 6.])
    """
    if name is not None:
        base, number = split(name)
        _IN_PLACE[base](*((y,) if number is None else (y, number)))
    return y
