"""What a case's result must be, in float64, and how far from it a result may lie.

    y[n, o, q]  = Σ_t Σ_c w[o, c, t] · x[n, c, q·s − low + t·d]      forward
    x[n, c, i] += Σ_o w[o, c, t] · y[n, o, q]  for i = q·s − low + t·d     grad_input, transposed

The definition of the by-hand chapter takes a Python step per output and tap; layers of real size
need this shorter form, with one step per tap. It shares no code with PyTorch's convolutions, which
are among those that are judged.

The budget is that of `faltung.tools.budget` without its first term: the error of one direct sum in
the dtype would have to come from one of the contestants, so only its last rounding is granted.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...ops.conv.spec import ConvSpec
from ...ops.padding import pad, pad_adjoint
from ..budget import Budget

_SEED = 7


@dataclass(frozen=True, eq=False)
class Operands:
    """The numbers of a case: what is convolved, the weight, and a bias or None."""

    a: Tensor
    w: Tensor
    b: Tensor | None

    @classmethod
    def of(cls, spec: ConvSpec) -> "Operands":
        """Normally distributed numbers, the same in every run."""
        numbers = torch.Generator().manual_seed(_SEED)
        dtype = getattr(torch, spec.dtype)
        image, weight = (torch.randn(s, generator=numbers).to(dtype) for s in spec.operand_shapes)
        bias = torch.randn(spec.result_shape[1], generator=numbers).to(dtype) if spec.bias else None
        return cls(image, weight, bias)


def budget_of(spec: ConvSpec, operands: Operands) -> Budget:
    """The right result and how far from it one may lie; a factor may be set with `replace`."""
    y64 = exact(spec, operands.a, operands.w, operands.b)
    b = operands.b
    magnitude64 = exact(spec, operands.a.abs(), operands.w.abs(), None if b is None else b.abs())
    return Budget(y64, magnitude64, y64.to(operands.a.dtype))


def exact(spec: ConvSpec, a: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
    """The task `forward` or `grad_input` in float64, tap by tap."""
    a, w = a.double(), _split(w.double(), 0, spec.groups)  # w [G, O/G, C/G, K…]
    result = _forward(spec, a, w) if spec.task == "forward" else _grad_input(spec, a, w)
    return result if b is None else result + b.double().view(-1, *(1,) * spec.dims)


def _forward(spec: ConvSpec, x: Tensor, w: Tensor) -> Tensor:
    groups, single = spec.groups, spec.in_channels == spec.groups
    y = x.new_zeros(spec.batch, groups, spec.out_channels // groups, *spec.output_size)
    padded = _split(pad(x, spec.axes), 1, groups)
    for tap, seen in _windows(spec):
        stretch, weight = padded[:, :, :, *seen], w[:, :, :, *tap]  # weight [G, O/G, C/G]
        if single:  # one channel to sum over: y [N, G, O/G, out…] and a column of weights
            y.addcmul_(stretch, weight.view(*weight.shape[:2], *(1,) * spec.dims))
        else:
            y += (weight @ stretch.flatten(3)).view(y.shape)
    return y.flatten(1, 2)


def _grad_input(spec: ConvSpec, gy: Tensor, w: Tensor) -> Tensor:
    groups = spec.groups
    size = (axis.padded_size for axis in spec.axes)
    padded = gy.new_zeros(spec.batch, groups, spec.in_channels // groups, *size)
    given = _split(gy, 1, groups).flatten(3)  # [N, G, O/G, outputs]
    for tap, seen in _windows(spec):
        stretch = padded[:, :, :, *seen]
        stretch += (w[:, :, :, *tap].mT @ given).view(stretch.shape)
    return pad_adjoint(padded.flatten(1, 2), spec.axes)


def _windows(spec: ConvSpec) -> Iterator[tuple[Any, Any]]:
    """Every tap, with the padded positions that the outputs read through it."""
    for tap in itertools.product(*map(range, spec.kernel_size)):
        yield (
            tap,
            [
                slice(t * axis.dilation, t * axis.dilation + (q - 1) * axis.stride + 1, axis.stride)
                for t, q, axis in zip(tap, spec.output_size, spec.axes, strict=True)
            ],
        )


def _split(t: Tensor, dim: int, groups: int) -> Tensor:
    """One axis as two: groups, and what each of them has."""
    return t.reshape(*t.shape[:dim], groups, t.shape[dim] // groups, *t.shape[dim + 1 :])
