"""The activations that an operator can apply to its result, by name.

y = activation(conv(x, w) + b)
"""

from collections.abc import Callable

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
