"""What a case's result must be, in float64, and how far from it a result may lie.

    y[n, o, q]  = Σ_t Σ_c w[o, c, t] · x[n, c, q·s − low + t·d]      forward
    x[n, c, i] += Σ_o w[o, c, t] · y[n, o, q]  for i = q·s − low + t·d     grad_input, transposed

and where a case has them, activation(… + residual).

The definition of the by-hand chapter takes a Python step per output and tap; layers of real size
need this shorter form, with one step per tap. It shares no code with PyTorch's convolutions, which
are among those that are judged. The direct sum of the budget is made the same way in the dtype
itself, one product after the other.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...ops.activations import activate
from ...ops.conv.spec import ConvSpec
from ...ops.padding import pad, pad_adjoint
from ..budget import Budget

_SEED = 7


@dataclass(frozen=True, eq=False)
class Operands:
    """The numbers of a case: what is convolved, the weight, a bias and a residual, or None."""

    a: Tensor
    w: Tensor
    b: Tensor | None
    residual: Tensor | None = None

    @classmethod
    def of(cls, spec: ConvSpec) -> "Operands":
        """Normally distributed numbers, the same in every run."""
        numbers = torch.Generator().manual_seed(_SEED)
        dtype = getattr(torch, spec.dtype)
        image, weight = (torch.randn(s, generator=numbers).to(dtype) for s in spec.operand_shapes)
        bias = torch.randn(spec.result_shape[1], generator=numbers).to(dtype) if spec.bias else None
        residual = None
        if spec.residual:
            residual = torch.randn(spec.result_shape, generator=numbers).to(dtype)
        return cls(image, weight, bias, residual)


def budget_of(spec: ConvSpec, operands: Operands) -> Budget:
    """The right result and how far from it one may lie; a factor may be set with `replace`."""
    given = (operands.a, operands.w, operands.b, operands.residual)
    return Budget.of(partial(by_taps, spec), given)


def by_taps(
    spec: ConvSpec, a: Tensor, w: Tensor, b: Tensor | None, residual: Tensor | None = None
) -> Tensor:
    """The task `forward` or `grad_input`, tap by tap, in the dtype of the operands."""
    w = _split(w, 0, spec.groups)  # [G, O/G, C/G, K…]
    result = _forward(spec, a, w) if spec.task == "forward" else _grad_input(spec, a, w)
    if b is not None:
        result = result + b.view(-1, *(1,) * spec.dims)
    # ReLU keeps magnitudes, and brings no two numbers further apart: a budget holds behind it
    return activate(spec.activation, result if residual is None else result + residual)


def _forward(spec: ConvSpec, x: Tensor, w: Tensor) -> Tensor:
    y = x.new_zeros(spec.batch, spec.groups, spec.out_channels // spec.groups, *spec.output_size)
    padded = _split(pad(x, spec.axes), 1, spec.groups)
    for tap, seen in _windows(spec):
        _add(y, w[:, :, :, *tap], padded[:, :, :, *seen])
    return y.flatten(1, 2)


def _grad_input(spec: ConvSpec, gy: Tensor, w: Tensor) -> Tensor:
    size = (axis.padded_size for axis in spec.axes)
    padded = gy.new_zeros(spec.batch, spec.groups, spec.in_channels // spec.groups, *size)
    given = _split(gy, 1, spec.groups)
    for tap, seen in _windows(spec):
        _add(padded[:, :, :, *seen], w[:, :, :, *tap].mT, given)
    return pad_adjoint(padded.flatten(1, 2), spec.axes)


def _add(sums: Tensor, w: Tensor, x: Tensor) -> None:
    """sums [N, G, A, …] += Σ_b w [G, A, b] · x [N, G, b, …]; but for float64, in that order."""
    if x.dtype == torch.float64 and x.shape[2] > 1:
        sums += (w @ x.flatten(3)).view(sums.shape)
        return
    for b in range(x.shape[2]):
        weight = w[:, :, b].reshape(*w.shape[:2], *(1,) * (x.dim() - 3))
        sums.addcmul_(x[:, :, b : b + 1], weight)


def _windows(spec: ConvSpec) -> Iterator[tuple[Any, Any]]:
    """Every tap, with the padded positions that the outputs read through it."""
    for tap in itertools.product(*map(range, spec.kernel_size)):
        seen = []
        for t, q, axis in zip(tap, spec.output_size, spec.axes, strict=True):
            first = t * axis.dilation
            seen.append(slice(first, first + (q - 1) * axis.stride + 1, axis.stride))
        yield tap, seen


def _split(t: Tensor, dim: int, groups: int) -> Tensor:
    """One axis as two: groups, and what each of them has."""
    return t.reshape(*t.shape[:dim], groups, t.shape[dim] // groups, *t.shape[dim + 1 :])
