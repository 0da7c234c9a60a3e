"""The same layer as lines of code: in PyTorch, here, and by hand.

Every line is Python that can be run where `torch`, `F` (torch.nn.functional), `faltung`, `x`, `w`
and, with a bias or a residual, `b` and `residual` are defined, and its value is the layer's output.
"""

import ast
import importlib
import inspect
import textwrap
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any

from ... import by_hand
from ...ops.conv.spec import ConvSpec
from ...ops.geometry import Axis, legal_output_paddings, transposed_output_size
from ...ops.naming import split

_ACTIVATIONS = {
    "relu": "F.relu({})",
    "relu6": "F.relu6({})",
    "silu": "F.silu({})",
    "gelu": "F.gelu({})",
    "gelu_tanh": 'F.gelu({}, approximate="tanh")',
    "hardswish": "F.hardswish({})",
    "sigmoid": "torch.sigmoid({})",
    "leaky_relu": "F.leaky_relu({}, {})",
    "elu": "F.elu({}, {})",
}


@dataclass(frozen=True)
class Page:
    """The page of the by-hand book for a layer: the line that calls it, and what stands there."""

    line: str
    name: str
    file: str
    title: str
    formula: tuple[str, ...]
    source: str


def pytorch_line(spec: ConvSpec) -> str | None:
    """The layer as PyTorch computes it; None where PyTorch has no way to say it.

    >>> print(pytorch_line(ConvSpec.parse("forward n1 c8 o8 i9x9 k3x3 s2 p0+1 float32 cpu")))
    F.conv2d(F.pad(x, (0, 1, 0, 1)), w, stride=2)
    """
    if spec.task == "grad_input":
        line = _transposed_in_pytorch(spec)
    elif _folds_back(spec):
        line = None
    else:
        padding, x = _padding_of(spec), "x"
        if padding is None or spec.padding_mode != "zeros" or 0 in spec.input_size:
            x, padding = _padded(spec), None
        arguments = _arguments(stride=_once(spec.stride), padding=padding,
                               dilation=_once(spec.dilation), groups=spec.groups)  # fmt: skip
        line = f"F.conv{spec.dims}d({x}, w{_bias(spec)}{arguments}){_stopped(spec)}"
    return line and _activated(spec, line)


def pytorch_module(spec: ConvSpec) -> str | None:
    """PyTorch's module with these arguments, if there is one.

    >>> pytorch_module(ConvSpec.parse("forward n1 c8 o16 i9x9 k3x3 s2 p1 float32 cpu"))
    'torch.nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False)'
    """
    padding, extra = _padding_of(spec), output_padding(spec)
    plain = padding is not None and spec.activation is None and not _stopped(spec)
    plain = plain and not _folds_back(spec) and not spec.residual
    transposed = spec.task == "grad_input"
    if not plain or (transposed and (spec.padding_mode != "zeros" or extra is None)):
        return None
    ends = (spec.in_channels, spec.out_channels)
    before, after = reversed(ends) if transposed else ends
    mode = repr(spec.padding_mode).replace("'", '"')
    arguments = _arguments(
        stride=_once(spec.stride), padding=padding,
        output_padding=_once(extra or (0,)), dilation=_once(spec.dilation), groups=spec.groups,
        bias=None if spec.bias else False,
        padding_mode=None if spec.padding_mode == "zeros" else mode,
    )  # fmt: skip
    kind = "ConvTranspose" if transposed else "Conv"
    kernel = _once(spec.kernel_size)
    return f"torch.nn.{kind}{spec.dims}d({before}, {after}, {kernel}{arguments})"


def faltung_line(spec: ConvSpec) -> str | None:
    """The layer as a call of ours; None for a size that only a gradient has.

    >>> print(faltung_line(ConvSpec.parse("forward n1 c8 o8 i9 k3 s2 p0+1 relu float32 cpu")))
    faltung.functional.conv1d(x, w, stride=2, padding=((0, 1),), activation="relu")
    """
    transposed = spec.task == "grad_input"
    extra = output_padding(spec)
    stopped = "" if transposed else _stopped(spec)
    if extra is None or (stopped and spec.residual):
        return None
    arguments = _arguments(
        stride=_once(spec.stride), padding=_pairs(spec), output_padding=_once(extra),
        dilation=_once(spec.dilation), groups=spec.groups,
        padding_mode=None if spec.padding_mode == "zeros" else f'"{spec.padding_mode}"',
        activation=None if spec.activation is None else f'"{spec.activation}"',
        residual="residual" if spec.residual else None,
    )  # fmt: skip
    call = f"conv_transpose{spec.dims}d" if transposed else f"conv{spec.dims}d"
    return f"faltung.functional.{call}(x, w{_bias(spec)}{arguments}){stopped}"


def by_hand_page(spec: ConvSpec) -> Page:
    """The page that tells most about a layer, and the line that computes the layer with it.

    >>> by_hand_page(ConvSpec.parse("forward n1 c8 o8 i9 k3 p1 g8 float32 cpu")).line
    'faltung.by_hand.depthwise(x, w, padding=1)'
    """
    name, line = _by_hand_line(spec)
    function: FunctionType = getattr(by_hand, name)
    module = importlib.import_module(function.__module__)
    title, formula = _opening(module.__doc__ or "")
    file = Path(inspect.getfile(function)).as_posix()
    file = file[file.rindex("faltung/ops/") :]
    return Page(_activated(spec, line), name, file, title, formula, _source(function))


def output_padding(spec: ConvSpec) -> tuple[int, ...] | None:
    """What a transposed layer was given as `output_padding`; None if no legal one gives its size.

    For an ordinary layer zeros.
    """
    if spec.task != "grad_input":
        return (0,) * spec.dims
    found = tuple(axis.input_size - _least(axis) for axis in spec.axes)
    legal = all(
        extra in legal_output_paddings(axis.stride, axis.dilation)
        for extra, axis in zip(found, spec.axes, strict=True)
    )
    return found if legal else None


def _by_hand_line(spec: ConvSpec) -> tuple[str, str]:
    """Name of the function, and the call."""
    mode, dense = spec.padding_mode, spec.groups == 1
    if spec.task == "grad_input":
        extra = output_padding(spec)
        if mode != "zeros" or extra is None:
            return _by_spec(spec)
        arguments = _by_hand_arguments(spec, output_padding=_once(extra))
        return _line("conv_transpose_scatter", spec, arguments)
    if spec.output_size != spec.full_output_size:
        return _by_spec(spec)
    if mode != "zeros":
        mode_argument = f'"{mode}"'
        return _line("conv", spec, _by_hand_arguments(spec, padding_mode=mode_argument))
    if spec.dims == 1 and spec.padding[0] == (spec.axes[0].span - 1, 0) and spec.taps > 1:
        return _line("causal_conv1d", spec, _by_hand_arguments(spec, padding=None))
    if not dense and spec.groups == spec.in_channels:
        return _line("depthwise", spec, _by_hand_arguments(spec, groups=None))
    if not dense:
        return _line("grouped", spec, _by_hand_arguments(spec))
    if spec.taps == 1 and set(spec.stride) == {1} and not any(map(any, spec.padding)):
        return _line("pointwise", spec, "")
    if set(spec.dilation) != {1}:
        return _line("conv_dilated", spec, _by_hand_arguments(spec))
    if spec.dims == 2:
        return _line("conv2d_sliding_window", spec, _by_hand_arguments(spec))
    return _line("conv", spec, _by_hand_arguments(spec))


def _by_spec(spec: ConvSpec) -> tuple[str, str]:
    """The task itself, for what none of the functions has arguments."""
    task = spec.task
    plain = f'faltung.ConvSpec.parse("{spec.with_task(task)}")'
    ones = ", 1" * spec.dims
    bias = f" + b.view(-1{ones})" if spec.bias else ""
    return task, f"faltung.by_hand.{task}(x, w, {plain}){bias}"


def _line(name: str, spec: ConvSpec, arguments: str) -> tuple[str, str]:
    return name, f"faltung.by_hand.{name}(x, w{_bias(spec)}{arguments})"


def _by_hand_arguments(spec: ConvSpec, **changed: Any) -> str:
    named: dict[str, Any] = {
        "stride": _once(spec.stride),
        "padding": _pairs(spec),
        "dilation": _once(spec.dilation),
        "groups": spec.groups,
    }
    return _arguments(**(named | changed))


def _transposed_in_pytorch(spec: ConvSpec) -> str | None:
    """The transposed convolution; where the paddings differ, all of it, and cut out of that."""
    extra, padding = output_padding(spec), _padding_of(spec)
    common = {"dilation": _once(spec.dilation), "groups": spec.groups}
    call = f"F.conv_transpose{spec.dims}d"
    if spec.padding_mode != "zeros":
        return _adjoint_in_pytorch(spec)
    if padding is not None and extra is not None:
        arguments = _arguments(
            stride=_once(spec.stride), padding=padding, output_padding=_once(extra), **common
        )
        return f"{call}(x, w{_bias(spec)}{arguments})"
    # zeros after the input stamp nothing, but make room for positions that get only the bias
    room = [_missing(axis) for axis in spec.axes]
    ends = ", ".join(f"0, {more}" for more in reversed(room))
    x = f"F.pad(x, ({ends}))" if any(room) else "x"
    cut = ", ".join(f"{a.padding[0]}:{a.padding[0] + a.input_size}" for a in spec.axes)
    arguments = _arguments(stride=_once(spec.stride), **common)
    return f"{call}({x}, w{_bias(spec)}{arguments})[..., {cut}]"


def _adjoint_in_pytorch(spec: ConvSpec) -> str | None:
    """With a padding mode: PyTorch has only the gradient of the convolution with that mode."""
    if _folds_back(spec) or 0 in spec.input_size:
        return None
    inner = f"F.conv{spec.dims}d({_padded(spec, 'z')}, w" + _arguments(
        stride=_once(spec.stride), dilation=_once(spec.dilation), groups=spec.groups
    )
    ones = ", 1" * spec.dims
    bias = f" + b.view(-1{ones})" if spec.bias else ""
    through = f"lambda z: {inner}){_stopped(spec)}"
    z = f"torch.zeros({spec.x_shape}, dtype=x.dtype)"
    return f"torch.autograd.functional.vjp({through}, {z}, x)[1]{bias}"


def _missing(axis: Axis) -> int:
    """Zeros after the input that a transposed convolution needs to reach its last output."""
    reach = (axis.output_size - 1) * axis.stride + axis.span
    return max(-((reach - axis.padding[0] - axis.input_size) // axis.stride), 0)


def _least(axis: Axis) -> int:
    return transposed_output_size(
        axis.output_size, axis.kernel_size, axis.stride, axis.padding, axis.dilation
    )


def _folds_back(spec: ConvSpec) -> bool:
    """Whether a padding mode reaches further than PyTorch's goes: more than once around."""
    return spec.padding_mode == "circular" and any(
        max(pair) > n for pair, n in zip(spec.padding, spec.input_size, strict=True)
    )


def _padded(spec: ConvSpec, x: str = "x") -> str:
    """The image with its padding around it; PyTorch names the last axis first."""
    if not any(map(any, spec.padding)):
        return x
    ends = ", ".join(f"{low}, {high}" for low, high in reversed(spec.padding))
    mode = "" if spec.padding_mode == "zeros" else f', mode="{spec.padding_mode}"'
    return f"F.pad({x}, ({ends}){mode})"


def _stopped(spec: ConvSpec) -> str:
    """What cuts off the outputs that the spec does without."""
    if spec.task == "grad_input" and spec.padding_mode == "zeros":
        return ""
    if spec.output_size == spec.full_output_size:
        return ""
    return f"[..., {', '.join(f':{q}' for q in spec.output_size)}]"


def _padding_of(spec: ConvSpec) -> Any:
    """Padding as PyTorch takes it: equal at both ends; None if it is not."""
    if any(low != high for low, high in spec.padding):
        return None
    return _once(tuple(low for low, _ in spec.padding))


def _pairs(spec: ConvSpec) -> Any:
    """Padding as we take it."""
    equal = _padding_of(spec)
    return spec.padding if equal is None else equal


def _once(values: tuple[int, ...]) -> Any:
    """A number per axis, written once if they are all the same."""
    return values[0] if len(set(values)) == 1 else values


def _bias(spec: ConvSpec) -> str:
    return ", b" if spec.bias else ""


def _activated(spec: ConvSpec, line: str) -> str:
    """The line with what comes after the convolution."""
    line += " + residual" * spec.residual
    if spec.activation is None:
        return line
    base, number = split(spec.activation)
    return _ACTIVATIONS[base].format(line, number)


_DEFAULTS = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1}


def _arguments(**named: Any) -> str:
    """The arguments that differ from their defaults, each with a comma before it."""
    said = {k: v for k, v in named.items() if v is not None and _DEFAULTS.get(k) != v}
    return "".join(f", {name}={value}" for name, value in said.items())


def _opening(text: str) -> tuple[str, tuple[str, ...]]:
    """A page's first sentence, and its first formula: the lines that are set in."""
    title, *rest = text.strip().splitlines()
    block: list[str] = []
    for line in rest:
        if line.startswith("    "):
            block.append(line.rstrip())
        elif block and line.strip():
            break
        elif block:
            block.append("")
    return title, tuple(textwrap.dedent("\n".join(block)).strip().splitlines())


def _source(function: FunctionType) -> str:
    """The function as it stands in its file, without its docstring."""
    text = textwrap.dedent(inspect.getsource(function))
    lines = text.splitlines()
    first = ast.parse(text).body[0]
    if isinstance(first, ast.FunctionDef) and ast.get_docstring(first) is not None:
        docstring = first.body[0]
        del lines[docstring.lineno - 1 : docstring.end_lineno]
    return "\n".join(lines)
