"""Arguments as users write them, made canonical: one value per spatial axis.

PyTorch takes `stride=2`, `stride=(2, 1)` and `stride=[2]`; we take the same, say what is wrong with
anything else, and hand on tuples of plain integers.

`torch.compile` reads all of this anew at every layer, and takes half a millisecond for a function
called. So what nearly every call says is looked for first, in as few of them as possible.
"""

import operator
from typing import Any

from ..errors import ArgumentError, ArgumentTypeError

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
_LARGEST = 2**31 - 1  # no image is as long, and PyTorch's own code cuts larger ones short
PADDING_WORDS = ("valid", "same", "same_lower", "causal")


def integer(value: Any, what: str) -> int:
    """`value` as an int; booleans, floats and other things that only look like one are refused."""
    if not isinstance(value, bool):
        try:
            number = operator.index(value)
        except TypeError:
            pass
        else:
            if abs(number) > _LARGEST:
                raise ArgumentError(f"{what} must be at most {_LARGEST}, got {number}")
            return number
    raise ArgumentTypeError(f"{what} must be an integer, got {value!r} ({type(value).__name__})")


def integers(value: Any, dims: int, what: str, *, minimum: int) -> tuple[int, ...]:
    """One integer per axis from an integer, a sequence of one, or a sequence of `dims`."""
    given = value if type(value) is tuple and len(value) == dims else (value,) * dims
    numbers: tuple[int, ...] = ()
    for entry in given:
        if type(entry) is not int:
            break
        number = operator.index(entry)  # in a trace, the number that a symbol stands for
        if not minimum <= number <= _LARGEST:
            break
        numbers += (number,)
    else:
        return numbers
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if len(values) not in (1, dims):
        raise ArgumentError(
            f"{what} must be one integer or {dims} (one per spatial axis), "
            f"got {len(values)}: {value!r}"
        )
    checked = tuple(integer(v, what) for v in values)
    if min(checked) < minimum:
        raise ArgumentError(f"{what} must be at least {minimum}, got {value!r}")
    return checked * dims if len(checked) == 1 else checked


def lengths(value: Any, dims: int, what: str) -> tuple[int, ...]:
    """One length per axis as `integers` has them, at least 0; in a trace one may be a symbol."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if len(values) not in (1, dims) or not all(type(n) is int or _is_symbol(n) for n in values):
        return integers(value, dims, what, minimum=0)
    if any(n < 0 for n in values):
        raise ArgumentError(f"{what} must be at least 0, got {value!r}")
    return values * dims if len(values) == 1 else values


def _is_symbol(value: Any) -> bool:
    """Whether it is a size in a trace; made an integer, it would stand for one number only."""
    return type(value).__name__ == "SymInt"


def padding_pairs(value: Any, dims: int, what: str) -> str | tuple[tuple[int, int], ...]:
    """A padding word as it is, or one `(low, high)` pair per axis.

    Per axis an integer pads both ends alike and a pair `(low, high)` each end by its own amount:
    `1`, `(1, 2)`, `((1, 2), (0, 0))` and `(1, (0, 2))` all work in 2-D.
    """
    if isinstance(value, str):
        if value not in PADDING_WORDS:
            raise ArgumentError(f"{what} must be one of {_listed(PADDING_WORDS)}, got {value!r}")
        if value == "causal" and dims != 1:
            raise ArgumentError(
                f"{what}='causal' needs a time axis and is for 1-D only, got {dims}-D"
            )
        return value
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if len(values) not in (1, dims):
        raise ArgumentError(
            f"{what} must be one integer or {dims} entries (an integer or a (low, high) pair per "
            f"spatial axis), got {len(values)}: {value!r}"
        )
    pairs: tuple[tuple[int, int], ...] = ()
    for entry in values:
        number = operator.index(entry) if type(entry) is int else -1
        pairs += ((number, number) if 0 <= number <= _LARGEST else _pair(entry, what),)
    return pairs * dims if len(pairs) == 1 else pairs


def padding_mode(value: Any) -> str:
    """One of PyTorch's four padding modes."""
    if not isinstance(value, str) or value not in PADDING_MODES:
        raise ArgumentError(f"padding_mode must be one of {_listed(PADDING_MODES)}, got {value!r}")
    return value


def _pair(value: Any, what: str) -> tuple[int, int]:
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise ArgumentError(
                f"{what} of one axis must be an integer or a (low, high) pair, got {value!r}"
            )
        low, high = (v if _is_symbol(v) else integer(v, what) for v in value)
    else:
        low = high = integer(value, what)
    if any(n < 0 for n in (low, high) if not _is_symbol(n)):
        raise ArgumentError(f"{what} must be at least 0, got {value!r}")
    return low, high


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(repr(word) for word in words)
