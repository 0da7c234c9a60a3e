"""Gradients of unfold and fold: each is the other's adjoint.

    unfold   d/dx = fold(ct)       fold   d/dc = unfold(ct)

Both are linear, so a forward-mode tangent goes through the task itself and `backward` is the
adjoint task called the same way: derivatives of any order are planned like any other call.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ... import planning
from ...settings import Settings
from ..tracing import is_traced
from .operator import call_operator
from .spec import UnfoldSpec


class Windows(torch.autograd.Function):
    """One task of the family, outside PyTorch's dispatcher: `apply(operand, spec, settings)`.

    It knows nothing of `torch.func`: there, the operator is called.
    """

    @staticmethod
    def forward(ctx: Any, operand: Tensor, spec: UnfoldSpec, settings: Settings) -> Tensor:
        """Plan the task and run it; a linear map keeps no tensor for its derivative."""
        ctx.spec, ctx.settings = spec, settings
        if is_traced(operand):
            return _one_level_down(operand, spec, settings)
        result: Tensor = planning.plan(spec, "unfold", settings)(operand)
        # what an algorithm has cut out of something larger is no view of anything that is
        # differentiated, though forward mode would look for a tangent of the whole
        return result.data if result._is_view() else result

    @staticmethod
    def backward(ctx: Any, ct: Tensor) -> tuple[Tensor, None, None]:
        """The adjoint task of the cotangent."""
        return run(ct, ctx.spec.adjoint, ctx.settings), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:
        """The same task of the tangent."""
        return run(tangent, ctx.spec, ctx.settings)


def run(operand: Tensor, spec: UnfoldSpec, settings: Settings) -> Tensor:
    """The spec's task of a batched operand."""
    if is_traced(operand):
        return call_operator(operand, spec, settings.algorithm)
    return applied(operand, spec, settings)


def applied(operand: Tensor, spec: UnfoldSpec, settings: Settings) -> Tensor:
    """`Windows.apply`, typed, for the level of differentiation that there is."""
    result: Tensor = _applied(operand, spec, settings)
    return result


# what `Windows.apply` does when no transform is active
_applied: Any = super(torch.autograd.Function, Windows).apply


def _one_level_down(operand: Tensor, spec: UnfoldSpec, settings: Settings) -> Tensor:
    """The operator, where this level of differentiation is already taken care of.

    A transform around this one may differentiate as well, which is off inside of a Function.
    """
    with (
        torch.enable_grad(),
        forward_ad._set_fwd_grad_enabled(True),
        torch._C._AutoDispatchBelowAutograd(),
    ):
        return call_operator(operand, spec, settings.algorithm)
