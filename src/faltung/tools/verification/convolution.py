"""The ways to compute one convolution: PyTorch, the planner, each algorithm, and by hand.

Every problem is a spelled spec. For each, `checks` makes its operands (with whole and with real
numbers, laid out in memory as the spec says) and yields one check a way.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ... import by_hand, functional, planning
from ...ops.activations import activate
from ...ops.conv.spec import ConvSpec
from ...ops.geometry import transposed_output_size
from ...settings import using
from .checks import Check, Truth
from .source import Numbers

By = Callable[["Layer"], Tensor]
Ways = Mapping[str, By]

_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
_PYTORCH_MODE = {"zeros": "constant"}
_CHANNELS_LAST = {2: torch.channels_last, 3: torch.channels_last_3d}


@dataclass(frozen=True)
class Layer:
    """A problem with its numbers: the task's operands `a` and `w`, and a bias or None."""

    spec: ConvSpec
    a: Tensor
    w: Tensor
    b: Tensor | None

    @property
    def output_padding(self) -> tuple[int, ...]:
        """What `conv_transpose` needs to give the result's size."""
        spec = self.spec
        return tuple(
            axis.input_size
            - transposed_output_size(q, axis.kernel_size, axis.stride, axis.padding, axis.dilation)
            for axis, q in zip(spec.axes, spec.output_size, strict=True)
        )


def checks(
    problems: Sequence[str],
    numbers: Numbers,
    by: Ways | None = None,
    error_factors: Mapping[str, float] | None = None,
) -> Iterator[Check]:
    """Whole and real numbers, each way: the given ones, then everything else.

    `error_factors` holds the factor of a given way that rounds more than a direct sum.
    """
    for problem in problems:
        spec = ConvSpec.parse(problem)
        for whole in (True, False):
            layer = layer_of(spec, numbers, whole=whole)
            truth = truth_of(layer, whole=whole)
            for way, compute in (by or {}).items():
                factor = (error_factors or {}).get(way, 1.0)
                yield truth.check(problem, way, partial(compute, layer), factor)
            yield from machine_checks(layer, truth)


def machine_checks(layer: Layer, truth: Truth) -> Iterator[Check]:
    """PyTorch where it can, the planner's choice, and every algorithm that can."""
    spec = layer.spec
    if spec.task == "forward" or all(low == high for low, high in spec.padding):
        yield truth.check(str(spec), "PyTorch", partial(by_pytorch, layer))
    yield truth.check(str(spec), "planned", partial(by_faltung, layer, None), _loosest(spec))
    for algorithm in able(spec):
        yield truth.check(
            str(spec), algorithm.name, partial(by_faltung, layer, algorithm.name),
            algorithm.error_factor,
        )  # fmt: skip


def able(spec: Any, family: str = "conv") -> list[planning.Algorithm]:
    """The algorithms of the family that can do the spec."""
    return [
        algorithm
        for algorithm in planning.algorithms(family, spec.device)
        if spec.task in algorithm.tasks and not algorithm.unsupported(spec)
    ]


def layer_of(spec: ConvSpec, numbers: Numbers, *, whole: bool) -> Layer:
    """Operands for a spec, laid out in memory as it says."""
    dtype: torch.dtype = getattr(torch, spec.dtype)
    image, other = spec.operand_shapes
    bias = (spec.result_shape[1],) if spec.bias else None
    return Layer(
        spec,
        laid_out(numbers.image(image, dtype, whole=whole), spec.layout),
        numbers.weight(other, dtype, whole=whole),
        None if bias is None else numbers.weight(bias, dtype, whole=whole),
    )


def laid_out(x: Tensor, layout: str) -> Tensor:
    """The same values in another memory layout; `strided` lies between NaN."""
    if layout == "channels_last":
        return x.contiguous(memory_format=_CHANNELS_LAST[x.dim() - 2])
    if layout == "strided":
        wide = x.new_full((*x.shape[:-1], 2 * x.shape[-1] + 2), torch.nan)
        view = wide[..., 1:-1:2]
        view.copy_(x)
        return view
    return x


def truth_of(layer: Layer, *, whole: bool) -> Truth:
    """The result by the definition."""
    spec = layer.spec

    def defined(a: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        y = (by_hand.forward if spec.task == "forward" else by_hand.grad_input)(a, w, spec)
        y = y if b is None else y + b.reshape(-1, *(1,) * spec.dims)
        return activate(spec.activation, y)

    return Truth(defined, (layer.a, layer.w, layer.b), whole=whole)


def by_pytorch(layer: Layer) -> Tensor:
    """The result as PyTorch users write it."""
    spec, a = layer.spec, layer.a
    if spec.task == "grad_input":
        y = _CONV_TRANSPOSE[spec.dims](
            a, layer.w, layer.b, spec.stride, tuple(low for low, _ in spec.padding),
            layer.output_padding, spec.groups, spec.dilation,
        )  # fmt: skip
        return activate(spec.activation, y)
    padding = tuple(low for low, _ in spec.padding)
    if spec.padding_mode != "zeros" or spec.padding != tuple((p, p) for p in padding):
        ends = [end for pair in reversed(spec.padding) for end in pair]
        a = F.pad(a, ends, mode=_PYTORCH_MODE.get(spec.padding_mode, spec.padding_mode))
        padding = (0,) * spec.dims
    y = _CONV[spec.dims](a, layer.w, layer.b, spec.stride, padding, spec.dilation, spec.groups)
    return activate(spec.activation, y)


def by_faltung(layer: Layer, algorithm: str | None) -> Tensor:
    """The result through the public function, with an algorithm or the planner's choice."""
    spec = layer.spec
    if spec.task == "grad_input":
        transpose = getattr(functional, f"conv_transpose{spec.dims}d")
        y: Tensor = transpose(
            layer.a, layer.w, layer.b, spec.stride, spec.padding, layer.output_padding,
            spec.groups, spec.dilation, padding_mode=spec.padding_mode,
            activation=spec.activation, algorithm=algorithm,
        )  # fmt: skip
        return y
    conv = getattr(functional, f"conv{spec.dims}d")
    y = conv(
        layer.a, layer.w, layer.b, spec.stride, spec.padding, spec.dilation, spec.groups,
        padding_mode=spec.padding_mode, activation=spec.activation, algorithm=algorithm,
    )  # fmt: skip
    return y


def by_task(spec: ConvSpec, algorithm: str, a: Tensor, b: Tensor) -> Tensor:
    """One task by one algorithm, without the layers above."""
    with using(algorithm=algorithm) as forced:
        result: Tensor = planning.plan(spec, "conv", forced)(a, b)
    return result


def in_dtype(problem: str, dtype: str) -> str:
    """The same problem in another dtype."""
    return str(replace(ConvSpec.parse(problem), dtype=dtype))


def _loosest(spec: ConvSpec) -> float:
    """The error factor of whichever algorithm the planner takes when it may take any."""
    with using(accuracy="fast") as settings:
        return planning.plan(spec, "conv", settings).chosen.algorithm.error_factor
