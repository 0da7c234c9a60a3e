"""Who takes part in a case: our planner's choice, each of our algorithms, and the peers.

Everyone gets the same numbers, laid out as they like them best: images and weights contiguous, or
both channels-last, for ours and PyTorch alike. ONNX Runtime has the weight as a constant of its
graph and writes to the same memory every time, as it does in deployment.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib import util
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ... import functional, planning, settings
from ...ops.activations import activate_in_place
from ...ops.conv.spec import ConvSpec
from ...ops.geometry import transposed_output_size
from ...ops.operands import memory_layout
from ..verification.convolution import able
from .truth import Operands

NO_ONNX_RUNTIME = "ONNX Runtime is not compared: pip install 'faltung[bench]'"

_FALLBACK = "native_torch"  # PyTorch's own, which takes part as a peer
_CHANNELS_LAST = {2: torch.channels_last, 3: torch.channels_last_3d}
_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


@dataclass(frozen=True, eq=False)
class Contestant:
    """Someone who can do the case: `run()` does it once and gives the result.

    `algorithm` is the one of ours that runs, None for a peer; `planned` says that the planner chose
    it, so that this is what a user gets.
    """

    who: str
    layout: str
    run: Callable[[], Tensor]
    algorithm: str | None = None
    planned: bool = False
    error_factor: float = 1.0

    @property
    def name(self) -> str:
        """What tells it from the others of its case."""
        return f"{self.who}, {self.layout.replace('_', '-')}"

    @property
    def is_peer(self) -> bool:
        """Whether it is someone else's."""
        return self.algorithm is None


def contestants(
    spec: ConvSpec, operands: Operands, threads: int
) -> tuple[list[Contestant], list[str]]:
    """Ours and the peers, in every layout that makes a difference; and why someone is missing."""
    arranged = {"contiguous": operands}
    if spec.dims in _CHANNELS_LAST:
        order = _CHANNELS_LAST[spec.dims]
        a, w = (t.contiguous(memory_format=order) for t in (operands.a, operands.w))
        added = operands.residual
        added = None if added is None else added.contiguous(memory_format=order)
        arranged["channels_last"] = Operands(a, w, operands.b, added)
    found = []
    for layout, given in arranged.items():
        if layout == memory_layout(given.a):  # one channel lies the same way in both
            found += _ours(replace(spec, layout=layout), given)
    found += [
        Contestant("PyTorch", layout, by_pytorch(spec, given)) for layout, given in arranged.items()
    ]
    if not has_onnx_runtime():
        return found, [NO_ONNX_RUNTIME]
    if spec.dtype != "float32":
        return found, [f"ONNX Runtime is not compared: the graph is float32, not {spec.dtype}"]
    try:
        run = _by_onnx(spec, operands, threads)
    except Exception as refusal:  # its own classes, of no common one
        return found, [f"ONNX Runtime is not compared: {' '.join(str(refusal).split())}"]
    return [*found, Contestant("ONNX Runtime", "contiguous", run)], []


def by_pytorch(spec: ConvSpec, given: Operands) -> Callable[[], Tensor]:
    """The calls that a PyTorch user writes, those behind the convolution in place."""
    convolve, residual, activation = _convolved(spec, given), given.residual, spec.activation
    if residual is None:
        return convolve
    return lambda: activate_in_place(activation, convolve().add_(residual))


def _convolved(spec: ConvSpec, given: Operands) -> Callable[[], Tensor]:
    """PyTorch's convolution."""
    low = tuple(low for low, _ in spec.padding)
    if spec.task == "grad_input":
        return partial(
            _CONV_TRANSPOSE[spec.dims], given.a, given.w, given.b, spec.stride, low,
            output_padding(spec), spec.groups, spec.dilation,
        )  # fmt: skip
    conv: Callable[..., Tensor] = _CONV[spec.dims]
    if all(low == high for low, high in spec.padding):
        return partial(
            conv, given.a, given.w, given.b, spec.stride, low, spec.dilation, spec.groups
        )
    ends = [end for pair in reversed(spec.padding) for end in pair]
    rest = (given.w, given.b, spec.stride, 0, spec.dilation, spec.groups)
    return lambda: conv(F.pad(given.a, ends), *rest)


def output_padding(spec: ConvSpec) -> tuple[int, ...]:
    """What a transposed convolution must be told to give the spec's size."""
    return tuple(
        axis.input_size
        - transposed_output_size(q, axis.kernel_size, axis.stride, axis.padding, axis.dilation)
        for axis, q in zip(spec.axes, spec.output_size, strict=True)
    )


@cache
def has_onnx_runtime() -> bool:
    """Whether the extra `bench` is installed."""
    return all(util.find_spec(name) is not None for name in ("onnx", "onnxruntime"))


def _ours(spec: ConvSpec, given: Operands) -> list[Contestant]:
    """The planner's choice, and every other algorithm of ours that can."""
    chosen = planning.plan(spec, "conv", settings.current()).chosen.algorithm
    factor = chosen.error_factor
    found = [
        Contestant(chosen.name, spec.layout, _by_faltung(spec, given, None), chosen.name, True,
                   factor)
    ]  # fmt: skip
    found += [
        Contestant(
            other.name, spec.layout, _by_faltung(spec, given, other.name), other.name, False,
            other.error_factor,
        )
        for other in able(spec)
        if other.name not in (chosen.name, _FALLBACK)
    ]  # fmt: skip
    return found


def _by_faltung(spec: ConvSpec, given: Operands, algorithm: str | None) -> Callable[[], Tensor]:
    """The public function's call."""
    if spec.task == "grad_input":
        transpose = getattr(functional, f"conv_transpose{spec.dims}d")
        return partial(
            transpose, given.a, given.w, given.b, spec.stride, spec.padding, output_padding(spec),
            spec.groups, spec.dilation, algorithm=algorithm, activation=spec.activation,
            residual=given.residual,
        )  # fmt: skip
    conv = getattr(functional, f"conv{spec.dims}d")
    return partial(
        conv, given.a, given.w, given.b, spec.stride, spec.padding, spec.dilation, spec.groups,
        algorithm=algorithm, activation=spec.activation, residual=given.residual,
    )  # fmt: skip


def _by_onnx(spec: ConvSpec, given: Operands, threads: int) -> Callable[[], Tensor]:
    """A session of the graph, bound to the memory of what it reads and of a result of its own."""
    import onnxruntime  # noqa: PLC0415  (optional)

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # its threads would go on spinning in the next contestant's turn
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session: Any = onnxruntime.InferenceSession(
        onnx_model(spec, given).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    read, y = _read(given), torch.empty(spec.result_shape)
    binding = session.io_binding()
    for name, t in read.items():
        binding.bind_input(name, "cpu", 0, "float32", tuple(t.shape), t.data_ptr())
    binding.bind_output("y", "cpu", 0, "float32", tuple(y.shape), y.data_ptr())
    return partial(_run_bound, session, binding, read, y)


def _read(given: Operands) -> dict[str, Tensor]:
    """What a graph is given at every run, by name."""
    return {"x": given.a} if given.residual is None else {"x": given.a, "residual": given.residual}


def _run_bound(session: Any, binding: Any, read: dict[str, Tensor], y: Tensor) -> Tensor:
    """One run over bound memory, which `read` and y keep alive."""
    session.run_with_iobinding(binding)
    return y


def onnx_model(spec: ConvSpec, given: Operands) -> Any:
    """The case as a graph: `Conv` or `ConvTranspose`; behind it `Add`, and `Relu`."""
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415  (optional)

    attributes: dict[str, Any] = {
        "kernel_shape": spec.kernel_size,
        "strides": spec.stride,
        "dilations": spec.dilation,
        "group": spec.groups,
        "pads": [low for low, _ in spec.padding] + [high for _, high in spec.padding],
    }
    operator = "Conv"
    if spec.task == "grad_input":
        operator, attributes["output_padding"] = "ConvTranspose", output_padding(spec)
    constants = {"w": given.w} if given.b is None else {"w": given.w, "b": given.b}
    steps = [(operator, ["x", *constants], attributes)]
    if given.residual is not None:
        steps.append(("Add", ["step0", "residual"], {}))
    if spec.activation is not None:
        steps.append(("Relu", [f"step{len(steps) - 1}"], {}))
    names = [*(f"step{n}" for n in range(len(steps) - 1)), "y"]
    nodes = [
        helper.make_node(kind, inputs, [name], **said)
        for (kind, inputs, said), name in zip(steps, names, strict=True)
    ]
    read, (y,) = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, s) for name, s in shapes.items()]
        for shapes in (
            {name: tuple(t.shape) for name, t in _read(given).items()},
            {"y": spec.result_shape},
        )
    )
    weights = [
        numpy_helper.from_array(t.contiguous().numpy(), name) for name, t in constants.items()
    ]
    graph = helper.make_graph(nodes, "case", read, [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
