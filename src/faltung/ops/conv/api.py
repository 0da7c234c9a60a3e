"""The convolutions, with PyTorch's names and argument order.

Every function here is its PyTorch namesake with more allowed: unequal padding, `"same"` with any
stride, padding modes, an activation, a residual, and a choice of algorithm. The arithmetic is one
of the files in `algorithms/`, picked by the planner (`faltung.plan` says which and why).
"""

from typing import Any

from torch import Tensor

from ...errors import ArgumentError
from ...planning import Plan
from .dispatch import convolve, planned

_COMMON = """
    padding
        An integer, one entry per axis (an integer or a `(low, high)` pair), `"valid"`, `"same"`
        (output ⌈input/stride⌉, any stride; an odd total pads the high end more, as TensorFlow and
        ONNX's SAME_UPPER do), `"same_lower"` (the low end more){causal}.
    padding_mode
        `"zeros"`, `"reflect"`, `"replicate"` or `"circular"`.
    activation
        None, `"relu"`, `"relu6"`, `"silu"`, `"gelu"`, `"gelu_tanh"`, `"hardswish"`, `"sigmoid"`,
        `"leaky_relu"` or `"elu"`, applied to the result; the last two take a number other than
        PyTorch's usual one in brackets, `"leaky_relu(0.1)"`.
    algorithm
        Name of the algorithm to use; None leaves it to the planner. Gradients are always planned.
    residual
        A tensor of the result's shape, dtype and device, in any memory layout, that is added before
        the activation, as blocks with a shortcut do: the same as
        `activation(conv(input, weight, bias, …) + residual)`, in one pass where the algorithm can.
        It is not broadcast, and may be the input itself.

    Raises `ArgumentError` (a `ValueError` and `RuntimeError`) or `ArgumentTypeError` (a `TypeError`
    and `RuntimeError`) for every mistake, and `NoAlgorithmError` if the algorithm asked for cannot
    do this call."""


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    activation: str | None = None,
    algorithm: str | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    """1-D convolution: input [N, C, L] or [C, L], weight [O, C/groups, K], bias [O].

    y[n, o, q] = b[o] + Σ_{c, t} w[o, c, t] · x[n, c, q·s − low + t·d]

    Same as `torch.nn.functional.conv1d(input, weight, bias, stride, padding, dilation, groups)`.

    >>> import torch
    >>> conv1d(torch.arange(5.0).view(1, 5), torch.ones(1, 1, 3), padding="same", stride=2)
    tensor([[1., 6., 7.]])
    """
    return convolve(
        "conv1d", input, weight, bias, stride, padding, 0, dilation, groups,
        padding_mode, activation, algorithm, residual,
    )  # fmt: skip


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    activation: str | None = None,
    algorithm: str | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    """2-D convolution: input [N, C, H, W] or [C, H, W], weight [O, C/groups, KH, KW], bias [O].

    y[n, o, q] = b[o] + Σ_{c, t} w[o, c, t] · x[n, c, q·s − low + t·d]

    Same as `torch.nn.functional.conv2d(input, weight, bias, stride, padding, dilation, groups)`.

    >>> import torch
    >>> conv2d(torch.ones(1, 3, 80, 80), torch.ones(8, 3, 3, 3), stride=2, padding=1).shape
    torch.Size([1, 8, 40, 40])
    >>> x = torch.tensor([[[1.0, -20.0]]])
    >>> conv2d(x, torch.full((1, 1, 1, 1), 10.0), activation="relu6", residual=-9 * x)
    tensor([[[1., 0.]]])
    """
    return convolve(
        "conv2d", input, weight, bias, stride, padding, 0, dilation, groups,
        padding_mode, activation, algorithm, residual,
    )  # fmt: skip


def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    activation: str | None = None,
    algorithm: str | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    """3-D convolution: input [N, C, D, H, W] or unbatched, weight [O, C/groups, KD, KH, KW].

    y[n, o, q] = b[o] + Σ_{c, t} w[o, c, t] · x[n, c, q·s − low + t·d]

    Same as `torch.nn.functional.conv3d(input, weight, bias, stride, padding, dilation, groups)`.

    >>> import torch
    >>> conv3d(torch.ones(2, 3, 5, 6, 7), torch.ones(4, 3, 3, 3, 3), padding=(1, 0, (0, 2))).shape
    torch.Size([2, 4, 5, 4, 7])
    """
    return convolve(
        "conv3d", input, weight, bias, stride, padding, 0, dilation, groups,
        padding_mode, activation, algorithm, residual,
    )  # fmt: skip


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    padding_mode: str = "zeros",
    activation: str | None = None,
    algorithm: str | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    """1-D transposed convolution: input [N, C, L] or [C, L], weight [C, O/groups, K], bias [O].

    The adjoint of `conv1d` with the same arguments: it restores the shape, not the values. The
    output is (L − 1)·s − low − high + d·(K − 1) + output_padding + 1 long.

    Same as `torch.nn.functional.conv_transpose1d` with these arguments in this order.

    >>> import torch
    >>> conv_transpose1d(torch.tensor([[1.0, 2.0]]), torch.ones(1, 1, 3), stride=2)
    tensor([[1., 1., 3., 2., 2.]])
    """
    return convolve(
        "conv_transpose1d", input, weight, bias, stride, padding, output_padding, dilation,
        groups, padding_mode, activation, algorithm, residual,
    )  # fmt: skip


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    padding_mode: str = "zeros",
    activation: str | None = None,
    algorithm: str | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    """2-D transposed convolution: input [N, C, H, W] or unbatched, weight [C, O/groups, KH, KW].

    The adjoint of `conv2d` with the same arguments: it restores the shape, not the values.

    Same as `torch.nn.functional.conv_transpose2d` with these arguments in this order.

    >>> import torch
    >>> conv_transpose2d(torch.ones(8, 16, 16), torch.ones(8, 4, 4, 4), stride=2, padding=1).shape
    torch.Size([4, 32, 32])
    """
    return convolve(
        "conv_transpose2d", input, weight, bias, stride, padding, output_padding, dilation,
        groups, padding_mode, activation, algorithm, residual,
    )  # fmt: skip


def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    padding_mode: str = "zeros",
    activation: str | None = None,
    algorithm: str | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    """3-D transposed convolution: input [N, C, D, H, W], weight [C, O/groups, KD, KH, KW].

    The adjoint of `conv3d` with the same arguments: it restores the shape, not the values.

    Same as `torch.nn.functional.conv_transpose3d` with these arguments in this order.

    >>> import torch
    >>> conv_transpose3d(torch.ones(1, 2, 3, 3, 3), torch.ones(2, 5, 2, 2, 2), stride=2).shape
    torch.Size([1, 5, 6, 6, 6])
    """
    return convolve(
        "conv_transpose3d", input, weight, bias, stride, padding, output_padding, dilation,
        groups, padding_mode, activation, algorithm, residual,
    )  # fmt: skip


def causal_conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    dilation: Any = 1,
    groups: int = 1,
    *,
    activation: str | None = None,
    algorithm: str | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    """1-D convolution whose output q sees no input after q·stride: input [N, C, L] or [C, L].

    y[n, o, q] = b[o] + Σ_{c, t} w[o, c, t] · x[n, c, q·s − d·(K−1) + t·d]

    Same as `F.conv1d(F.pad(input, (dilation * (K - 1), 0)), weight, bias, stride, 0, dilation,
    groups)`, without the padded copy where an algorithm can do without. The weight has PyTorch's
    shape [O, C/groups, K]; its last tap is the present.

    >>> import torch
    >>> causal_conv1d(torch.arange(4.0).view(1, 4), torch.ones(1, 1, 3))
    tensor([[0., 1., 3., 6.]])
    """
    return convolve(
        "conv1d", input, weight, bias, stride, "causal", 0, dilation, groups,
        "zeros", activation, algorithm, residual,
    )  # fmt: skip


def plan(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    activation: str | None = None,
    algorithm: str | None = None,
    residual: Tensor | None = None,
    transposed: bool = False,
) -> Plan:
    """What a call with these operands and arguments would run, and why; nothing is computed.

    The number of spatial axes is that of the weight. `transposed=True` plans `conv_transpose{n}d`.
    The plan prints itself and has `.algorithm` (its name), `.candidates` (what else could do it,
    with estimated times), `.rejected` (reasons by name) and `.workspace` (bytes). Inside
    `with faltung.using(measure=True)` the candidates are run, and the plan has their times.

    Raises what the call would raise.

    >>> import torch
    >>> plan(torch.ones(1, 8, 9, 9), torch.ones(8, 1, 3, 3), groups=8).spec.macs
    3528
    """
    dims = weight.dim() - 2 if isinstance(weight, Tensor) else 2
    if dims not in (1, 2, 3):
        raise ArgumentError(
            f"plan: weight must have 3, 4 or 5 dimensions (1-D, 2-D or 3-D), got {weight.dim()}: "
            f"{tuple(weight.shape)}"
        )
    if output_padding != 0 and not transposed:
        raise ArgumentError(
            f"plan: output_padding={output_padding} is for transposed convolution; "
            "pass transposed=True"
        )
    arguments = (stride, padding, output_padding, dilation, groups, padding_mode, activation,
                 algorithm)  # fmt: skip
    call = f"conv_transpose{dims}d" if transposed else f"conv{dims}d"
    return planned(call, input, weight, bias, arguments, residual)


for _function in (conv1d, conv2d, conv3d, conv_transpose1d, conv_transpose2d, conv_transpose3d):
    _causal = ', `"causal"` (all of it before the input)' if _function is conv1d else ""
    _function.__doc__ = (_function.__doc__ or "").rstrip() + "\n" + _COMMON.format(causal=_causal)
