"""PyTorch's own convolution: always there, the baseline, and every fallback's visible name.

    forward      F.conv{n}d
    grad_input   F.conv_transpose{n}d
    grad_weight  aten.convolution_backward

What PyTorch refuses (unequal padding, padding modes, an output that stops early) is done around
it: the image is padded to exactly what the windows touch, and the adjoint of that padding is
applied to a gradient. Used wherever no algorithm of ours can, or ours would be slower.
"""

from collections.abc import Callable
from functools import cache
from math import prod

import torch
from torch import Tensor
from torch.nn import functional as F

from ....machine import Machine
from ....planning import Algorithm, Run
from ...activations import activate
from ...padding import pad, pad_adjoint
from ..spec import ConvSpec

_CONV: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_CONV_TRANSPOSE: dict[int, Callable[..., Tensor]] = {
    1: F.conv_transpose1d,
    2: F.conv_transpose2d,
    3: F.conv_transpose3d,
}

# what PyTorch's CPU convolutions are compiled for; other devices answer for themselves
_FLOATING = {"float16", "bfloat16", "float32", "float64", "complex64", "complex128"}
_DTYPES = {
    "forward": _FLOATING | {"uint8", "int8", "int16", "int32", "int64"},
    "grad_input": _FLOATING | {"int64"},
    "grad_weight": _FLOATING,
}

# What PyTorch reaches, as shares of the peak and of copying, each measured on AVX-512 with AMX over
# the layers of `faltung bench`. Dense layers run in oneDNN; groups of few channels fill its vectors
# only in part; depthwise ones have code of their own, but not all of them.
_DENSE = {"contiguous": 0.66, "channels_last": 0.76}
_GROUP_CHANNEL = 0.045  # of a group of so few channels that they decide, each
# of a sum of so few products that they decide, each
_SHORT_SUM = {"contiguous": 0.011, "channels_last": 0.016}
_SHORT_SUM_1D = 0.04
_DEPTHWISE = {"contiguous": 0.6, "channels_last": 0.45}
_COPYING = {"contiguous": 0.35, "channels_last": 1.0}  # contiguous images are reordered on the way
_ONE_BY_ONE = 0.02  # depthwise that falls to a small matrix product for every channel
_ONE_CHANNEL = 0.06  # one channel in, or few out, in 2-D and 3-D
_FEW = 8  # channels
# times float32, in dense layers; bfloat16 has a unit of its own in some processors
_OTHER_DTYPES = {"float64": 0.3, "float16": 0.5, "bfloat16": 0.5}
_WITH_AMX = 6.5
_NARROW_GROUPED = 0.12  # 16-bit numbers in groups
# gradients: depthwise ones that fall to small matrix products, or whose weight is wider than 3 × 3
_SLOW_GRADIENT = {"contiguous": 0.01, "channels_last": 0.025}
_WIDEST_GRADIENT = 3
_COPYING_GRADIENT = {"contiguous": 0.6, "channels_last": 1.0}
_VOLUME_GRADIENT = 0.2  # in 3-D
_INTO_CHANNEL = {"grad_input": 0.035, "grad_weight": 0.3}  # of few input channels, each
_FROM_CHANNEL = {"grad_input": 0.012, "grad_weight": 0.04}  # of few output channels, each
_BETWEEN_TWO = {"grad_input": 0.002, "grad_weight": 0.02}  # one of each
# of copying: contiguous results of all phases, if they stay in the second cache or not
_SCATTERING, _SCATTERING_FAR = 0.04, 0.012
# of copying: the weight's gradient, which comes in blocks of channels
_REORDERING = {"contiguous": 3.0, "channels_last": 10.0}
_WIDEST_PADDING = 6  # beyond it oneDNN's depthwise code refuses contiguous images
_CALL_SECONDS, _GROUPED_CALL_SECONDS = 5e-6, 30e-6  # oneDNN's call, which groups always take


class NativeTorch(Algorithm):
    """PyTorch's own."""

    tasks = frozenset(_DTYPES)

    def unsupported(self, spec: ConvSpec) -> list[str]:
        """Only what PyTorch itself has no code for."""
        if spec.device == "cpu" and spec.dtype not in _DTYPES[spec.task]:
            return [f"PyTorch has no {spec.task} convolution of {spec.dtype} on the CPU"]
        return []

    def seconds(self, spec: ConvSpec, machine: Machine) -> float:
        """Multiply-adds at their share of the peak, and the bytes at theirs of copying."""
        layout = "contiguous" if spec.layout == "strided" else spec.layout
        # channels-last code skips what is padding, the other does not
        macs = spec.executed_macs if layout == "channels_last" else spec.macs
        computing = 2 * macs / (machine.peak * _share(spec, layout))
        depthwise = 1 < spec.groups == spec.in_channels
        copying = 1.0
        if depthwise:
            copying = (_COPYING_GRADIENT if spec.task == "grad_weight" else _COPYING)[layout]
        moving = (spec.bytes + self.workspace(spec)) / (machine.bandwidth * copying)
        moving += _scattered(spec, layout, machine) / machine.bandwidth
        if spec.task == "grad_weight" and not depthwise and spec.taps > 1:
            moving += _REORDERING[layout] * spec.parameters * spec.item_size / machine.bandwidth
        calling = _CALL_SECONDS if spec.groups == 1 else _GROUPED_CALL_SECONDS
        return calling + computing + moving

    def workspace(self, spec: ConvSpec) -> int:
        """The padded copy of the image, where one is made."""
        if _is_plain(spec):
            return 0
        numbers = spec.batch * spec.in_channels
        for axis in spec.axes:
            numbers *= axis.padded_size
        return numbers * spec.item_size

    def build(self, spec: ConvSpec) -> Run:
        """`run(a, b, bias=None)`."""
        makers = {"forward": _forward, "grad_input": _grad_input, "grad_weight": _grad_weight}
        return makers[spec.task](spec)


def _scattered(spec: ConvSpec, layout: str, machine: Machine) -> float:
    """Bytes that take as long to copy as the results of all phases to be put in order."""
    dense = spec.task == "grad_input" and spec.groups == 1 and spec.dtype == "float32"
    if not dense or layout != "contiguous" or max(spec.stride) == 1:
        return 0.0
    size = prod(spec.x_shape) * spec.item_size
    near = size < dict(machine.caches).get("L2", 0) / 2
    return size / (_SCATTERING if near else _SCATTERING_FAR)


def _share(spec: ConvSpec, layout: str) -> float:
    """Share of the peak to expect."""
    inputs, outputs = spec.in_channels // spec.groups, spec.out_channels // spec.groups
    if 1 < spec.groups == spec.in_channels:
        return _depthwise_share(spec, layout)
    short = _SHORT_SUM[layout] if spec.dims > 1 else _SHORT_SUM_1D
    share = min(_DENSE[layout], short * inputs * spec.taps)
    if spec.groups > 1:
        share = min(share, _GROUP_CHANNEL * min(inputs, outputs))
        return share * (_NARROW_GROUPED if spec.item_size == 2 else _other_dtype(spec))
    if spec.task != "forward":
        share = min(share, _gradient_share(spec))
    elif spec.dims > 1 and (inputs == 1 or outputs < _FEW):
        share = min(share, _ONE_CHANNEL)
    return share * _other_dtype(spec)


def _gradient_share(spec: ConvSpec) -> float:
    """Share of the peak that gradients of dense layers reach at most."""
    if spec.dims == 1:
        return 1.0
    inputs, outputs = spec.in_channels, spec.out_channels
    if inputs == outputs == 1:
        return _BETWEEN_TWO[spec.task]
    share = _VOLUME_GRADIENT if spec.dims == 3 else 1.0
    if inputs < _FEW:
        share = min(share, _INTO_CHANNEL[spec.task] * inputs)
    if outputs < _FEW:
        share = min(share, _FROM_CHANNEL[spec.task] * outputs)
    return share


def _depthwise_share(spec: ConvSpec, layout: str) -> float:
    own_code = spec.dims > 1 and spec.in_channels == spec.out_channels
    own_code = own_code and spec.in_channels >= _FEW
    own_code = own_code and max(spec.dilation) == 1 and spec.dtype == "float32"
    if layout == "contiguous":
        own_code = own_code and spec.dims == 2 and max(spec.padding[-1]) <= _WIDEST_PADDING
    wide = spec.task == "grad_weight" and max(spec.kernel_size) > _WIDEST_GRADIENT
    if spec.task != "forward" and (wide or spec.dims == 3 or not own_code):
        return _SLOW_GRADIENT[layout]
    return _DEPTHWISE[layout] if own_code else _ONE_BY_ONE


def _other_dtype(spec: ConvSpec) -> float:
    if spec.dtype == "bfloat16" and _has_amx():
        return _WITH_AMX
    return _OTHER_DTYPES.get(spec.dtype, 1.0)


@cache
def _has_amx() -> bool:
    """Whether PyTorch finds a unit for bfloat16 matrices; unknown to it means no."""
    ask = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(ask and ask())


def _is_plain(spec: ConvSpec) -> bool:
    """Whether PyTorch's own arguments can say this spec."""
    if 0 in spec.input_size:
        return False  # PyTorch refuses an empty image even where padding gives it outputs
    symmetric = all(low == high for low, high in spec.padding)
    filled = spec.padding_mode == "zeros" or not any(low for low, _ in spec.padding)
    if spec.task == "grad_input":
        legal = zip(_unread_at_end(spec), spec.stride, spec.dilation, strict=True)
        return symmetric and filled and all(0 <= e < max(s, d) for e, s, d in legal)
    return symmetric and filled and spec.output_size == spec.full_output_size


def _forward(spec: ConvSpec) -> Run:
    conv, plain, axes = _CONV[spec.dims], _is_plain(spec), spec.axes
    padding = tuple(low for low, _ in spec.padding) if plain else (0,) * spec.dims
    stride, dilation, groups, activation = spec.stride, spec.dilation, spec.groups, spec.activation

    def run(x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
        if not plain:
            x = pad(x, axes)
        return activate(activation, conv(x, w, bias, stride, padding, dilation, groups))

    return run


def _grad_input(spec: ConvSpec) -> Run:
    transpose, plain, axes = _CONV_TRANSPOSE[spec.dims], _is_plain(spec), spec.axes
    padding = tuple(low for low, _ in spec.padding) if plain else (0,) * spec.dims
    extra = tuple(_unread_at_end(spec)) if plain else (0,) * spec.dims
    stride, dilation, groups, activation = spec.stride, spec.dilation, spec.groups, spec.activation
    per_channel = (-1,) + (1,) * spec.dims

    def run_plain(gy: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
        gx = transpose(gy, w, bias, stride, padding, extra, groups, dilation)
        return activate(activation, gx)

    def run_around(gy: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
        # what folds back from the padding and the bias are added in float32, and rounded once
        dtype = torch.promote_types(gy.dtype, torch.float32) if gy.is_floating_point() else gy.dtype
        gx = transpose(gy.to(dtype), w.to(dtype), None, stride, padding, extra, groups, dilation)
        gx = pad_adjoint(gx, axes)
        if bias is not None:
            gx = gx + bias.to(dtype).view(per_channel)
        return activate(activation, gx).to(gy.dtype).contiguous()

    return run_plain if plain else run_around


def _grad_weight(spec: ConvSpec) -> Run:
    plain, axes = _is_plain(spec), spec.axes
    padding = [low for low, _ in spec.padding] if plain else [0] * spec.dims
    stride, dilation = list(spec.stride), list(spec.dilation)
    unused = [0] * spec.dims

    def real(x: Tensor, gy: Tensor) -> Tensor:
        w = gy.new_empty(spec.w_shape)  # only its shape is read
        gw: Tensor = torch.ops.aten.convolution_backward(
            gy, x, w, None, stride, padding, dilation, False, unused, spec.groups,
            [False, True, False],
        )[1]  # fmt: skip
        return gw

    def run(x: Tensor, gy: Tensor) -> Tensor:
        if not plain:
            x = pad(x, axes)
        if not x.is_complex():
            return real(x, gy)
        a, b = (real(x.real, gy.real), real(x.imag, gy.imag))
        return torch.complex(a - b, real(x.real, gy.imag) + real(x.imag, gy.real))

    return run


def _unread_at_end(spec: ConvSpec) -> list[int]:
    """Inputs past the last window: what `F.conv_transpose` calls output_padding."""
    return [a.input_size + sum(a.padding) - a.padded_size for a in spec.axes]


ALGORITHM = NativeTorch()
