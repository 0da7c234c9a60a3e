"""The activations that an operator can apply to its result, by name.

y = activation(conv(x, w) + b + residual)
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import ArgumentError

_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "relu6": F.relu6,
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": lambda y: F.gelu(y, approximate="tanh"),
    "hardswish": F.hardswish,
    "sigmoid": F.sigmoid,
    "leaky_relu": F.leaky_relu,
}
ACTIVATIONS = tuple(_FUNCTIONS)

_IN_PLACE: dict[str, Callable[[Tensor], Any]] = {
    "relu": torch.relu_,
    "relu6": lambda y: F.relu6(y, inplace=True),
    "silu": lambda y: F.silu(y, inplace=True),
    "gelu": torch.ops.aten.gelu_.default,
    "gelu_tanh": lambda y: torch.ops.aten.gelu_.default(y, approximate="tanh"),
    "hardswish": lambda y: F.hardswish(y, inplace=True),
    "sigmoid": torch.sigmoid_,
    "leaky_relu": lambda y: F.leaky_relu(y, inplace=True),
}


def activate(name: str | None, y: Tensor) -> Tensor:
    """The named activation of y; None leaves y as it is.

    >>> import torch
    >>> activate("relu", torch.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    if name is None:
        return y
    if name not in _FUNCTIONS:
        known = ", ".join(repr(word) for word in ACTIVATIONS)
        raise ArgumentError(f"activation must be one of {known}, got {name!r}")
    return _FUNCTIONS[name](y)


def activate_in_place(name: str | None, y: Tensor) -> Tensor:
    """The same, written over y.

    >>> activate_in_place("relu6", torch.tensor([-1.0, 9.0]))
    tensor([0., 6.])
    """
    if name is not None:
        _IN_PLACE[name](y)
    return y
