"""One line of code, run exactly as the report shows it, and the facts of the call in it.

    conv2d(photo, blur, padding="same", groups=3)

The line is evaluated with the names it uses, so what is shown cannot differ from what was run. The
plan of the same arguments says sizes, parameters, work and algorithm.
"""

import ast
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ... import functional, planning, settings
from ...ops.conv.api import plan
from ...ops.conv.spec import ConvSpec
from ...ops.deform.arguments import deform_spec
from ...ops.geometry import Axis, Sizes
from ...planning import Plan

AXES = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}


@dataclass(frozen=True)
class Solved:
    """A problem that a line solved: its spelling, sizes and work, and the algorithm that ran.

    `before` and `after` are the shapes of input and result without the batch. `executed_macs`
    leaves out the taps on zero padding; None where that depends on the numbers (deformable).
    """

    problem: str
    before: Sizes
    after: Sizes
    formulas: tuple[str, ...]
    parameters: int
    macs: int
    executed_macs: int | None
    im2col_bytes: int
    algorithm: str

    @classmethod
    def of(cls, made: Plan) -> "Solved":
        """The facts of a plan for a convolution."""
        spec: ConvSpec = made.spec
        return cls(
            str(spec), spec.operand_shapes[0][1:], spec.result_shape[1:], formulas(spec),
            spec.parameters, spec.macs, spec.executed_macs, spec.im2col_bytes, made.algorithm,
        )  # fmt: skip


@dataclass(frozen=True)
class Line:
    """A line of code that has been run: its text, its result and the problems it solved."""

    text: str
    result: Any
    solved: tuple[Solved, ...]


def run_line(text: str, names: Mapping[str, Any]) -> Line:
    """Run a call of one function of `faltung.functional`, written as the reader would write it.

    >>> import torch
    >>> line = run_line("conv2d(image, weight, stride=2)",
    ...                 {"image": torch.ones(1, 1, 5, 5), "weight": torch.ones(1, 1, 3, 3)})
    >>> line.result.tolist()
    [[[[9.0, 9.0], [9.0, 9.0]]]]
    >>> line.solved[0].problem
    'forward n1 c1 o1 i5x5 k3x3 s2 float32 cpu'
    """
    call = ast.parse(text, mode="eval").body
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise ValueError(f"a line is one call of a function of faltung.functional, got {text!r}")
    function: Callable[..., Any] = getattr(functional, call.func.id)
    positional = [_value(argument, names) for argument in call.args]
    named = {word.arg: _value(word.value, names) for word in call.keywords if word.arg}
    bound = inspect.signature(function).bind(*positional, **named)
    result = function(*bound.args, **bound.kwargs)
    bound.apply_defaults()
    return Line(text, result, _solved(call.func.id, bound.arguments))


def formulas(spec: ConvSpec) -> tuple[str, ...]:
    """The size formula of each axis with its numbers filled in; equal axes are said once.

    >>> formulas(ConvSpec.parse("forward n1 c1 o1 i80x80 k3x3 s2 p1 float32 cpu"))
    ('⌊(80 + 1 + 1 − 1·(3 − 1) − 1) / 2⌋ + 1 = 40',)
    """
    transposed = spec.task == "grad_input"
    return _said(spec.axes, _transposed_formula if transposed else _forward_formula)


def counted(number: float) -> str:
    """A count for people.

    >>> counted(691_200), counted(46_080_000), counted(2_100_000_000)
    ('691,200', '46.1 million', '2.10 billion')
    """
    if number < 1e6:
        return f"{number:,.0f}"
    return f"{number / 1e6:.1f} million" if number < 1e9 else f"{number / 1e9:,.2f} billion"


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    # the lines are the demo's own text, never a user's
    return eval(compile(ast.Expression(node), "<demo>", "eval"), {"__builtins__": {}}, dict(names))


def _solved(function: str, a: Mapping[str, Any]) -> tuple[Solved, ...]:
    """The convolution problems behind a call; none for functions that are not convolutions."""
    if function == "depthwise_separable_conv2d":
        return _separable(a)
    if function == "causal_conv1d":
        return (_plan(a, padding="causal"),)
    if function == "deform_conv2d":
        return (_deformed(a),)
    if function.startswith("conv_transpose"):
        made = plan(
            a["input"], a["weight"], a["bias"],
            stride=a["stride"], padding=a["padding"], output_padding=a["output_padding"],
            dilation=a["dilation"], groups=a["groups"], padding_mode=a["padding_mode"],
            transposed=True,
        )  # fmt: skip
        return (Solved.of(made),)
    if function.startswith("conv"):
        return (_plan(a, padding=a["padding"]),)
    return ()


def _plan(a: Mapping[str, Any], padding: Any) -> Solved:
    made = plan(
        a["input"], a["weight"], a["bias"],
        stride=a["stride"], padding=padding, dilation=a["dilation"], groups=a["groups"],
        padding_mode=a.get("padding_mode", "zeros"),
    )  # fmt: skip
    return Solved.of(made)


def _separable(a: Mapping[str, Any]) -> tuple[Solved, ...]:
    x = a["input"]
    first = plan(
        x, a["depthwise_weight"], a["depthwise_bias"],
        stride=a["stride"], padding=a["padding"], dilation=a["dilation"], groups=x.shape[1],
    )  # fmt: skip
    between = x.new_empty(first.spec.y_shape)
    second = plan(between, a["pointwise_weight"], a["pointwise_bias"])
    return Solved.of(first), Solved.of(second)


def _deformed(a: Mapping[str, Any]) -> Solved:
    shapes = [None if a[n] is None else a[n].shape for n in ("bias", "mask")]
    spec = deform_spec(
        a["input"].shape, a["offset"].shape, a["weight"].shape, *shapes,
        stride=a["stride"], padding=a["padding"], dilation=a["dilation"],
        activation=a["activation"],
    )  # fmt: skip
    made = planning.plan(spec, "deform", settings.with_algorithm(a["algorithm"]))
    return Solved(
        str(spec), spec.x_shape[1:], spec.y_shape[1:], _said(spec.axes, _forward_formula),
        math.prod(spec.w_shape), spec.macs, None, spec.columns_bytes, made.algorithm,
    )  # fmt: skip


def _said(axes: Sequence[Axis], formula: Callable[[Axis], str]) -> tuple[str, ...]:
    texts = [formula(axis) for axis in axes]
    if len(set(texts)) == 1:
        return (texts[0],)
    return tuple(f"{name} {text}" for name, text in zip(AXES[len(axes)], texts, strict=True))


def _forward_formula(axis: Axis) -> str:
    low, high = axis.padding
    return (
        f"⌊({axis.input_size} + {low} + {high} − {axis.dilation}·({axis.kernel_size} − 1) − 1)"
        f" / {axis.stride}⌋ + 1 = {axis.output_size}"
    )


def _transposed_formula(axis: Axis) -> str:
    low, high = axis.padding
    reach = (axis.output_size - 1) * axis.stride + axis.span - low - high
    return (
        f"({axis.output_size} − 1)·{axis.stride} − {low} − {high} + "
        f"{axis.dilation}·({axis.kernel_size} − 1) + {axis.input_size - reach} + 1 = "
        f"{axis.input_size}"
    )
