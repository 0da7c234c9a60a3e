"""Gradients of unfold and fold: each is the other's adjoint.

    unfold   d/dx = fold(ct)       fold   d/dc = unfold(ct)

Both are linear, so a forward-mode tangent goes through the task itself and `backward` is the
adjoint task called the same way: derivatives of any order are planned like any other call.
"""

from typing import Any

import torch
from torch import Tensor

from ... import planning
from ...settings import Settings
from .spec import UnfoldSpec


class Windows(torch.autograd.Function):
    """One task of the family, differentiable any number of times in either mode."""

    generate_vmap_rule = True

    @staticmethod
    def forward(operand: Tensor, spec: UnfoldSpec, settings: Settings) -> Tensor:
        """Plan the task and run it."""
        result: Tensor = planning.plan(spec, "unfold", settings)(operand)
        return result

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, UnfoldSpec, Settings], output: Any) -> None:
        """Keep the spec; a linear map needs no tensor for its derivative."""
        _, ctx.spec, ctx.settings = inputs

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
    result: Tensor = Windows.apply(operand, spec, settings)  # type: ignore[no-untyped-call]
    return result
