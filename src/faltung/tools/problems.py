"""A problem as it is spelled on the command line, read by the family that it belongs to."""

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import ArgumentError
from ..ops.conv.spec import ConvSpec
from ..ops.deform.spec import DeformSpec
from ..ops.unfold.spec import TASKS as UNFOLD_TASKS
from ..ops.unfold.spec import UnfoldSpec

READERS: dict[str, Callable[[str], Any]] = {
    "conv": ConvSpec.parse,
    "deform": DeformSpec.parse,
    "unfold": UnfoldSpec.parse,
}
"""How each family reads a problem."""


def read_problem(words: Sequence[str], family: str | None = None) -> tuple[Any, str]:
    """The spec that the words spell, and its family.

    The task decides the family; `deform` spells like `conv` and must be named.

    >>> spec, family = read_problem("unfold n2 c5 i3x4 k2x3 float32 cpu".split())
    >>> family, spec.columns_shape
    ('unfold', (2, 30, 4))
    """
    if family is None:
        family = "unfold" if words and words[0] in UNFOLD_TASKS else "conv"
    if family not in READERS:
        raise ArgumentError(f"--family must be one of {', '.join(READERS)}, got {family!r}")
    return READERS[family](" ".join(words)), family
