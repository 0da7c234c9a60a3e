"""Derivatives of a convolution: three tasks, closed under differentiation.

A convolution is bilinear in (x, w), so the derivative of any task in any operand is again one of
the three tasks, with the incoming gradient `ct` in the place of an operand:

    task                 d/d first operand        d/d second operand
    forward(x, w)        grad_input(ct, w)        grad_weight(x, ct)
    grad_input(gy, w)    forward(ct, w)           grad_weight(ct, gy)
    grad_weight(x, gy)   grad_input(gy, ct)       forward(x, ct)

`backward` applies the same function with the task replaced, so a gradient is planned like any
other call and derivatives of any order come from this table alone. No arithmetic happens here.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ... import planning, settings
from ..operands import laid_out, memory_layout, plain_memory
from .spec import ConvSpec

_FIRST, _SECOND, _CT = "first", "second", "ct"
_DERIVATIVES = {
    "forward": (("grad_input", _CT, _SECOND), ("grad_weight", _FIRST, _CT)),
    "grad_input": (("forward", _CT, _SECOND), ("grad_weight", _CT, _FIRST)),
    "grad_weight": (("grad_input", _SECOND, _CT), ("forward", _FIRST, _CT)),
}


class Conv(torch.autograd.Function):
    """A task applied to its operands: `Conv.apply(first, second, bias, spec, knobs)`."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        first: Tensor,
        second: Tensor,
        bias: Tensor | None,
        spec: ConvSpec,
        knobs: settings.Settings,
    ) -> Tensor:
        """Plan the task and run it."""
        if plain_memory(first, second, bias):
            spec, first, second = _as_it_lies(spec, first, second)
        elif knobs.algorithm is None:
            knobs = settings.with_algorithm("native_torch")
        if spec.task != "grad_weight" and second.requires_grad:
            knobs = settings.for_changing_weight(knobs)
        plan = planning.plan(spec, "conv", knobs)
        operands = (first, second) if bias is None else (first, second, bias)
        result: Tensor = plan(*operands)
        return result

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep the operands for either direction of differentiation."""
        first, second, _, ctx.spec, knobs = inputs
        ctx.knobs = settings.planner_chooses(knobs)
        ctx.save_for_backward(first, second)
        ctx.save_for_forward(first, second)

    @staticmethod
    def backward(ctx: Any, ct: Tensor) -> tuple[Tensor | None, ...]:
        """The table's row, for the operands that need it; a complex gradient conjugates."""
        first, second = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        values = {_FIRST: first.conj(), _SECOND: second.conj(), _CT: ct}
        grads: list[Tensor | None] = [None, None]
        for position, (task, a, b) in enumerate(_DERIVATIVES[ctx.spec.task]):
            if wanted[position]:
                spec = ctx.spec.with_task(task)
                grads[position] = apply(values[a], values[b], None, spec, ctx.knobs)
        bias_axes = [0, *range(2, ct.dim())]
        return grads[0], grads[1], ct.sum(bias_axes) if wanted[2] else None, None, None

    @staticmethod
    def jvp(
        ctx: Any, first_t: Tensor | None, second_t: Tensor | None, bias_t: Tensor | None, *_: None
    ) -> Tensor | None:
        """The product rule: the task of each tangent with the other operand."""
        first, second = ctx.saved_tensors
        spec = ctx.spec.with_task(ctx.spec.task)
        terms = []
        if first_t is not None:
            terms.append(apply(first_t, second, None, spec, ctx.knobs))
        if second_t is not None:
            terms.append(apply(first, second_t, None, spec, ctx.knobs))
        if bias_t is not None:
            ones = (1,) * spec.dims
            terms.append(bias_t.view(-1, *ones).expand(spec.result_shape))
        return sum(terms[1:], start=terms[0]) if terms else None


def _as_it_lies(spec: ConvSpec, first: Tensor, second: Tensor) -> tuple[ConvSpec, Tensor, Tensor]:
    """The spec with the layout that the images have, or the images with that of the spec.

    A gradient comes as others made it: `y.sum()` expands one number to the whole image, which no
    routine can read, and a layer behind this one may have changed the order of the axes.
    """
    layout = memory_layout(first)
    if layout == "strided":
        layout, first = spec.layout, laid_out(first, spec.layout)
    if layout != spec.layout:
        spec = replace(spec, layout=layout)
    if spec.task == "grad_weight" and memory_layout(second) != layout:
        second = laid_out(second, layout)
    return spec, first, second


def apply(
    first: Tensor,
    second: Tensor,
    bias: Tensor | None,
    spec: ConvSpec,
    knobs: settings.Settings,
) -> Tensor:
    """`Conv.apply`, typed."""
    result: Tensor = Conv.apply(first, second, bias, spec, knobs)  # type: ignore[no-untyped-call]
    return result
