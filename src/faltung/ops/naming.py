"""The names of activations, and the number that two of them take.

    relu   silu   leaky_relu   leaky_relu(0.1)   elu   elu(0.5)

A spec names its activation in one word, so the number is part of the word: the slope of leaky_relu
left of zero, 0.01 unless given, and the α of elu, which goes to −α there and is 1 unless given.
Each has one spelling: what PyTorch takes when it is told nothing is not written.
"""

import math

from ..errors import ArgumentError

ACTIVATIONS = (
    "relu", "relu6", "silu", "gelu", "gelu_tanh", "hardswish", "sigmoid", "leaky_relu", "elu",
)  # fmt: skip
"""Every activation a spec may name, without its number."""

NUMBERED = {"leaky_relu": 0.01, "elu": 1.0}
"""Those that take a number, and which one unless given."""


def split(name: str) -> tuple[str, float | None]:
    """What an activation is called, and its number; None for those that take none.

    Raises `ValueError` for what is no activation.

    >>> split("relu"), split("elu"), split("leaky_relu(0.1)")
    (('relu', None), ('elu', 1.0), ('leaky_relu', 0.1))
    """
    base, opened, rest = name.partition("(")
    usual = NUMBERED.get(base)
    if base not in ACTIVATIONS:
        raise ValueError(f"there is no activation {name!r}")
    if not opened:
        return base, usual
    number = float(rest.removesuffix(")"))
    if usual is None or not rest.endswith(")") or not math.isfinite(number):
        raise ValueError(f"{base} takes no number {rest!r}")
    return base, number


def spelled(base: str, number: float | None = None) -> str:
    """The one name of an activation with a number.

    >>> spelled("leaky_relu", 0.1), spelled("elu", 1)
    ('leaky_relu(0.1)', 'elu')
    """
    if number is None or number == NUMBERED.get(base):
        return base
    return f"{base}({float(number)!r})"


def canonical(name: object) -> str | None:
    """The one spelling of what somebody called an activation; None if it is none.

    >>> canonical("elu(1)"), canonical("relu(2)"), canonical(3)
    ('elu', None, None)
    """
    if not isinstance(name, str) or name in ACTIVATIONS:
        return name if isinstance(name, str) else None
    try:
        return spelled(*split(name))
    except ValueError:
        return None


def checked(name: object, where: str = "") -> str | None:
    """The one spelling of an activation, or of none; `where` begins the message.

    Raises `ArgumentError` for what is neither.

    >>> checked("elu(1)"), checked(None)
    ('elu', None)
    """
    found = canonical(name)
    if found is None and name is not None:
        raise ArgumentError(f"{where}activation must be one of None, {listed()}, got {name!r}")
    return found


def listed() -> str:
    """What may be written, for messages."""
    return ", ".join(repr(word if word not in NUMBERED else f"{word}(…)") for word in ACTIVATIONS)
