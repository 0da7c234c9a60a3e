"""What users write for a convolution, checked and turned into a spec.

Every mistake a caller can make is found here or in `ConvSpec` itself, before any arithmetic, and
the message says what is wrong, with the numbers, and what would be right.
"""

from collections.abc import Sequence
from typing import Any

from ...errors import ArgumentError
from ..arguments import integer, integers, padding_mode, padding_pairs
from ..geometry import (
    Pairs,
    Sizes,
    legal_output_paddings,
    resolve_paddings,
    transposed_output_size,
)
from .spec import ConvSpec

# what a spec begins with, as far as users say it: task to activation
ConvFields = tuple[
    str, int, int, int, Sizes, Sizes, Sizes, Sizes, Pairs, Sizes, int, str, bool, str | None
]

SPATIAL_NAMES = {1: ("L",), 2: ("H", "W"), 3: ("D", "H", "W")}


def conv_spec(
    input_shape: Sequence[int],
    weight_shape: Sequence[int],
    bias_shape: Sequence[int] | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    mode: str = "zeros",
    activation: str | None = None,
    *,
    dims: int,
    dtype: str = "float32",
    device: str = "cpu",
    layout: str = "contiguous",
) -> ConvSpec:
    """The spec of `F.conv{dims}d` with these shapes and arguments.

    `input_shape` is (N, C, …) or, unbatched, (C, …); `weight_shape` (O, C/groups, …). Padding is
    an integer, one entry per axis (an integer or a (low, high) pair), or one of `"valid"`,
    `"same"`, `"same_lower"`, `"causal"`.

    Raises `ArgumentError` or `ArgumentTypeError` for every mistake a caller can make.
    """
    fields = conv_fields(
        input_shape, weight_shape, bias_shape, stride, padding, dilation, groups, mode, activation,
        dims=dims,
    )  # fmt: skip
    return ConvSpec(*fields, dtype, device, layout)


def conv_fields(
    input_shape: Sequence[int],
    weight_shape: Sequence[int],
    bias_shape: Sequence[int] | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    mode: str,
    activation: str | None,
    *,
    dims: int,
) -> ConvFields:
    """What `conv_spec` finds out about a call, in which sizes may be symbolic."""
    call = f"conv{dims}d"
    batch, channels, size = _image(call, "input", input_shape, dims)
    out_channels, group_channels, kernel = _weight(call, weight_shape, dims, "O, C/groups")
    groups = _groups(call, groups)
    if out_channels % groups:
        raise ArgumentError(
            f"{call}: groups={groups} does not divide the {out_channels} output channels of "
            f"weight {tuple(weight_shape)}"
        )
    if channels != group_channels * groups:
        raise ArgumentError(
            f"{call}: input has {channels} channels but weight {tuple(weight_shape)} with "
            f"groups={groups} needs {group_channels * groups}"
        )
    _bias(call, bias_shape, out_channels)
    stride = integers(stride, dims, f"{call}: stride", minimum=1)
    dilation = integers(dilation, dims, f"{call}: dilation", minimum=1)
    pairs = resolve_paddings(
        padding_pairs(padding, dims, f"{call}: padding"), size, kernel, stride, dilation
    )
    return (
        "forward", batch, channels, out_channels, size, kernel, (), stride, pairs, dilation,
        groups, padding_mode(mode), bias_shape is not None, activation,
    )  # fmt: skip


def conv_transpose_spec(
    input_shape: Sequence[int],
    weight_shape: Sequence[int],
    bias_shape: Sequence[int] | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    mode: str = "zeros",
    activation: str | None = None,
    *,
    dims: int,
    dtype: str = "float32",
    device: str = "cpu",
    layout: str = "contiguous",
) -> ConvSpec:
    """The spec of `F.conv_transpose{dims}d`: the task `grad_input` of the convolution it adjoins.

    `input_shape` is (N, C, …) or (C, …), `weight_shape` (C, O/groups, …) as PyTorch has it.
    `padding="same"` gives an output of input size × stride. A `padding_mode` other than zeros
    makes the exact adjoint of the convolution with that mode: what falls into the padding
    returns to the positions it was copied from (circular: wraps around).

    Raises `ArgumentError` or `ArgumentTypeError` for every mistake a caller can make.
    """
    fields = conv_transpose_fields(
        input_shape, weight_shape, bias_shape, stride, padding, output_padding, groups, dilation,
        mode, activation, dims=dims,
    )  # fmt: skip
    return ConvSpec(*fields, dtype, device, layout)


def conv_transpose_fields(
    input_shape: Sequence[int],
    weight_shape: Sequence[int],
    bias_shape: Sequence[int] | None,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
    mode: str,
    activation: str | None,
    *,
    dims: int,
) -> ConvFields:
    """What `conv_transpose_spec` finds out about a call, in which sizes may be symbolic."""
    call = f"conv_transpose{dims}d"
    batch, channels, size = _image(call, "input", input_shape, dims)
    weight_channels, group_out, kernel = _weight(call, weight_shape, dims, "C, O/groups")
    groups = _groups(call, groups)
    if channels != weight_channels:
        raise ArgumentError(
            f"{call}: input has {channels} channels but weight {tuple(weight_shape)} needs "
            f"{weight_channels} (the first dimension of a transposed weight is C)"
        )
    if channels % groups:
        raise ArgumentError(f"{call}: groups={groups} does not divide {channels} channels")
    _bias(call, bias_shape, group_out * groups)
    stride = integers(stride, dims, f"{call}: stride", minimum=1)
    dilation = integers(dilation, dims, f"{call}: dilation", minimum=1)
    extra = _output_padding(call, output_padding, stride, dilation)
    result, pairs = _transposed_sizes(call, padding, size, kernel, stride, dilation, extra)
    return (
        "grad_input", batch, group_out * groups, channels, result, kernel, size, stride, pairs,
        dilation, groups, padding_mode(mode), bias_shape is not None, activation,
    )  # fmt: skip


def check_residual(call: str, shape: Sequence[int], wanted: Sequence[int]) -> None:
    """Raise `ArgumentError` unless a residual has the shape of the result."""
    if tuple(shape) != tuple(wanted):
        raise ArgumentError(
            f"{call}: residual must have the shape {tuple(wanted)} of the result and is not "
            f"broadcast, got {tuple(shape)}; residual.expand({tuple(wanted)}) says what is meant"
        )


def _image(call: str, what: str, shape: Sequence[int], dims: int) -> tuple[int, int, Sizes]:
    """Batch, channels and spatial size of an image operand; unbatched counts as a batch of one."""
    if dims not in SPATIAL_NAMES:
        raise ArgumentError(f"{call}: a convolution has 1, 2 or 3 spatial axes, not {dims}")
    shape = tuple(shape)
    axes = ", ".join(SPATIAL_NAMES[dims])
    if len(shape) not in (dims + 1, dims + 2):
        raise ArgumentError(
            f"{call}: {what} must have {dims + 2} dimensions (N, C, {axes}) or {dims + 1} "
            f"(C, {axes}), got {len(shape)}: {shape}"
        )
    return (shape[0] if len(shape) == dims + 2 else 1), shape[-dims - 1], shape[-dims:]


def _weight(call: str, shape: Sequence[int], dims: int, channels: str) -> tuple[int, int, Sizes]:
    shape = tuple(shape)
    if len(shape) != dims + 2:
        axes = ", ".join(f"K{name}" for name in SPATIAL_NAMES[dims])
        raise ArgumentError(
            f"{call}: weight must have {dims + 2} dimensions ({channels}, {axes}), got "
            f"{len(shape)}: {shape}"
        )
    if any(n < 1 for n in shape):
        raise ArgumentError(f"{call}: every size of weight {shape} must be at least 1")
    return shape[0], shape[1], shape[2:]


def _groups(call: str, groups: Any) -> int:
    count = integer(groups, f"{call}: groups")
    if count < 1:
        raise ArgumentError(f"{call}: groups must be at least 1, got {count}")
    return count


def _bias(call: str, shape: Sequence[int] | None, channels: int) -> None:
    if shape is not None and tuple(shape) != (channels,):
        raise ArgumentError(
            f"{call}: bias must have shape ({channels},), one value per output channel, "
            f"got {tuple(shape)}"
        )


def _output_padding(call: str, value: Any, stride: Sizes, dilation: Sizes) -> Sizes:
    extra = integers(value, len(stride), f"{call}: output_padding", minimum=0)
    for e, s, d in zip(extra, stride, dilation, strict=True):
        if e not in legal_output_paddings(s, d):
            raise ArgumentError(
                f"{call}: output_padding={e} must be smaller than stride {s} or dilation {d} "
                f"of its axis: at most {max(s, d) - 1}"
            )
    return extra


def _transposed_sizes(
    call: str,
    padding: Any,
    size: Sizes,
    kernel: Sizes,
    stride: Sizes,
    dilation: Sizes,
    extra: Sizes,
) -> tuple[Sizes, Pairs]:
    """Result size and padding pairs of a transposed convolution."""
    padding = padding_pairs(padding, len(size), f"{call}: padding")
    if padding == "causal":
        raise ArgumentError(
            f"{call}: padding='causal' is for conv1d; a causal transposed convolution drops its "
            "last span − stride outputs: padding=((0, span - stride),)"
        )
    if padding in ("same", "same_lower"):
        whole = tuple(n * s for n, s in zip(size, stride, strict=True))
        pairs = resolve_paddings(padding, whole, kernel, stride, dilation)
        return tuple(n + e for n, e in zip(whole, extra, strict=True)), pairs
    pairs = resolve_paddings(padding, size, kernel, stride, dilation)
    result = tuple(
        transposed_output_size(n, k, s, p, d, e)
        for n, k, s, p, d, e in zip(size, kernel, stride, pairs, dilation, extra, strict=True)
    )
    if any(n < 1 for n in (*result, *size)):
        raise ArgumentError(
            f"{call}: input size {size} with kernel size {kernel}, stride {stride}, padding "
            f"{pairs} and output_padding {extra} would give the output size {result}, below 1"
        )
    return result, pairs
