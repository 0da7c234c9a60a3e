"""Claims of agreement: a result against the float64 one, in error budgets."""

from collections.abc import Callable, Sequence

from torch import Tensor

from ..budget import Budget, error_in_budgets
from .scene import Claim


def agrees(
    text: str,
    y: Tensor,
    operation: Callable[..., Tensor],
    operands: Sequence[Tensor | None],
    error_factor: float = 1.0,
) -> Claim:
    """The claim that y is `operation(*operands)` up to `error_factor` times a direct sum's error.

    `operation` is a sum of products of the operands that works in float64 too.
    """
    error = error_in_budgets(y, Budget.of(operation, operands, error_factor))
    return Claim(text, error <= 1, f"error {error:.2f} of the budget")
