"""A convolution as one call of an operator of PyTorch's, `torch.ops.faltung.conv`.

    conv(first, second, bias, residual, task, size, stride, padding, dilation, groups,
         padding_mode, activation, changing_weight, algorithm)

`size` is the spatial size of the task's result: that of y in `forward`, of x in `grad_input`, of w
in `grad_weight`. With the operands' shapes it says everything that a `ConvSpec` does, so that the
shape of the result needs no arithmetic and may be symbolic. `padding` is flat: the low and the high
end of each axis in turn. `changing_weight` says to the planner that a weight is in training, which
nothing shows any more when a graph runs.

Used where someone has to see an operator: `torch.compile`, `torch.export`, `make_fx`, fake tensors,
`torch.func` and dispatch modes. Other calls save themselves PyTorch's dispatcher, which takes
longer than a small layer. `faltung.torch_ops` registers the operator.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ...errors import ArgumentError
from ..geometry import Sizes, flat, output_size
from ..operands import checked
from .arguments import ConvFields, check_residual
from .spec import ConvSpec

# stands for `Any` where a size may be symbolic
OperatorArguments = tuple[
    str, list[int], list[int], list[int], list[int], int, str, str | None, bool, str | None
]


def call_operator(
    first: Tensor,
    second: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    arguments: OperatorArguments,
) -> Tensor:
    """`torch.ops.faltung.conv`, typed."""
    result: Tensor = torch.ops.faltung.conv.default(first, second, bias, residual, *arguments)
    return result


def arguments_of_call(
    fields: ConvFields, changing_weight: bool, algorithm: str | None
) -> OperatorArguments:
    """What the operator is called with for a checked call of a user's."""
    (task, _, _, _, inputs, kernel, _, stride, padding, dilation, groups, mode, _, activation) = (
        fields
    )
    size: Sequence[int] = inputs
    if task == "forward":
        size = [
            output_size(n, k, s, p, d)
            for n, k, s, p, d in zip(inputs, kernel, stride, padding, dilation, strict=True)
        ]
    return (
        task, list(size), list(stride), flat(padding), list(dilation), groups, mode, activation,
        changing_weight, algorithm,
    )  # fmt: skip


def arguments_of(spec: ConvSpec, changing_weight: bool, algorithm: str | None) -> OperatorArguments:
    """What the operator is called with for a spec."""
    return (
        spec.task, list(spec.result_shape[2:]), list(spec.stride), flat(spec.padding),
        list(spec.dilation), spec.groups, spec.padding_mode, spec.activation, changing_weight,
        algorithm,
    )  # fmt: skip


def spec_of(
    first: Tensor,
    second: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    task: str,
    size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    padding_mode: str,
    activation: str | None,
) -> ConvSpec:
    """The spec of a call of the operator; the layout is left to who looks at the memory.

    Raises `ArgumentError` or `ArgumentTypeError` where the operands do not fit together.
    """
    optional = {"bias": bias, "residual": residual}
    dtype, device = checked("faltung::conv", {"first": first, "second": second}, optional)
    x, w, y = _forward_shapes(task, first.shape, second.shape, tuple(size), groups)
    spec = ConvSpec(
        task, x[0], x[1], w[0], x[2:], w[2:], y[2:], tuple(stride),
        tuple(zip(padding[::2], padding[1::2], strict=True)), tuple(dilation), groups,
        padding_mode, bias is not None, activation, dtype, device,
    )  # fmt: skip
    found = (tuple(first.shape), tuple(second.shape))
    if found != spec.operand_shapes:
        raise ArgumentError(
            f"faltung::conv: {task} with groups={groups} and size {list(size)} has operands of "
            f"shapes {found}, needs {spec.operand_shapes}"
        )
    added = [name for name, tensor in optional.items() if tensor is not None]
    if task == "grad_weight" and (added or activation is not None):
        raise ArgumentError(
            "faltung::conv: grad_weight takes neither a bias nor a residual nor an activation, got "
            f"{' and '.join(f'a {name}' for name in added) or 'no bias'} and activation "
            f"{activation!r}"
        )
    if bias is not None and tuple(bias.shape) != spec.result_shape[1:2]:
        raise ArgumentError(
            f"faltung::conv: bias must have shape ({spec.result_shape[1]},), one value per channel "
            f"of the result, got {tuple(bias.shape)}"
        )
    if residual is None:
        return spec
    check_residual("faltung::conv", residual.shape, spec.result_shape)
    return replace(spec, residual=True)


def _forward_shapes(
    task: str, first: Sizes, second: Sizes, size: Sizes, groups: int
) -> tuple[Sizes, Sizes, Sizes]:
    """The shapes of x, w and y, from those of the two that are there."""
    if len(first) != len(second) or len(first) != len(size) + 2:
        raise ArgumentError(
            f"faltung::conv: {task} of operands with {len(first)} and {len(second)} dimensions "
            f"cannot give a result with {len(size)} spatial axes"
        )
    if task == "grad_input":
        return (first[0], second[1] * groups, *size), second, first
    if task == "grad_weight":
        return first, (second[1], first[1] // max(groups, 1), *size), second
    return first, second, (first[0], second[0], *size)
