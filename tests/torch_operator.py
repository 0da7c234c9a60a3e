"""Calls of `torch.ops.faltung.conv`, as every test of it makes them."""

from typing import Any

import torch
from torch import Tensor

from faltung import ConvSpec
from faltung.ops.conv.operator import arguments_of
from faltung.ops.layouts import laid_out

# every argument, in every number of dimensions; each holds for the three tasks
PROBLEMS = (
    "n2 c4 o6 i9 k3 s2 p1+0 g2",
    "n2 c3 o2 i5x6 k3x2 p1x0+2",
    "n1 c4 o4 i7x8 k3x3 s2x1 p2 d2 circular",
    "n2 c4 o8 i6x5 k2x3 p1 g4 reflect",
    "n3 c4 o4 i8x9 k3x3 p1 g4 channels_last",
    "n2 c2 o4 i9x9 k3x3 y3x3 s2 p1 replicate",
    "n1 c2 o2 i4x3x5 k2x1x3 s1x1x2 p1 g2",
    "n0 c2 o3 i5x5 k3x3",
)
TASKS = ("forward", "grad_input", "grad_weight")
EVERY = [(task, words) for task in TASKS for words in PROBLEMS]


def problem(task: str, words: str, dtype: str = "float64") -> ConvSpec:
    """The spec of one of the problems."""
    return ConvSpec.parse(f"{task} {words} {dtype} cpu")


def operands(spec: ConvSpec, *, biased: bool = False, added: bool = False) -> list[Tensor]:
    """Whole numbers for a task, lying as the spec says; perhaps a bias, perhaps a residual."""
    shapes = [*spec.operand_shapes, *[spec.result_shape[1:2]] * biased]
    shapes += [spec.result_shape] * added
    dtype = getattr(torch, spec.dtype)
    first, *others = [torch.randint(-4, 5, shape).to(dtype) for shape in shapes]
    return [laid_out(first, spec.layout), *others]


def arguments(spec: ConvSpec, activation: str | None = None) -> tuple[Any, ...]:
    """What the operator is given besides its operands."""
    *others, _, changing_weight, algorithm = arguments_of(spec, False, None)
    return (*others, activation, changing_weight, algorithm)


def conv(spec: ConvSpec, *given: Tensor | None, activation: str | None = None) -> Tensor:
    """The operator with the arguments of a spec."""
    first, second, bias, residual = (*given, None, None)[:4]
    result: Tensor = torch.ops.faltung.conv.default(
        first, second, bias, residual, *arguments(spec, activation)
    )
    return result
