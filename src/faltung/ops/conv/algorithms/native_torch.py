"""PyTorch's own convolution: always there, the baseline, and every fallback's visible name.

    forward      F.conv{n}d
    grad_input   F.conv_transpose{n}d
    grad_weight  aten.convolution_backward

What PyTorch refuses (unequal padding, padding modes, an output that stops early) is done around
it: the image is padded to exactly what the windows touch, and the adjoint of that padding is
applied to a gradient. Used wherever no algorithm of ours can, or ours would be slower.
"""

from collections.abc import Callable

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

# shares of nominal peak that PyTorch reaches in dense layers, in depthwise ones that oneDNN has
# code for, and in those that fall to one small matrix product a channel; measured on AVX-512
_DENSE, _DEPTHWISE, _FALLEN = 0.5, 0.12, 0.01
_WIDEST_PADDING = 4  # beyond it oneDNN's depthwise code refuses contiguous images
_CALL_SECONDS, _GROUPED_CALL_SECONDS = 4e-6, 30e-6  # oneDNN's call, which groups always take


class NativeTorch(Algorithm):
    """PyTorch's own."""

    tasks = frozenset(_DTYPES)

    def unsupported(self, spec: ConvSpec) -> list[str]:
        """Only what PyTorch itself has no code for."""
        if spec.device == "cpu" and spec.dtype not in _DTYPES[spec.task]:
            return [f"PyTorch has no {spec.task} convolution of {spec.dtype} on the CPU"]
        return []

    def seconds(self, spec: ConvSpec, machine: Machine) -> float:
        """Multiply-adds at a fraction of peak, or the bytes at memory speed if that is slower."""
        computing = 2 * spec.macs / (machine.peak * _efficiency(spec))
        moving = (spec.bytes + self.workspace(spec)) / machine.bandwidth
        calling = _CALL_SECONDS if spec.groups == 1 else _GROUPED_CALL_SECONDS
        return calling + max(computing, moving)

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


def _efficiency(spec: ConvSpec) -> float:
    """Share of nominal peak to expect."""
    if spec.groups == 1 or spec.groups < spec.in_channels:
        return _DENSE
    common = spec.dims > 1 and spec.in_channels == spec.out_channels
    easy = common and max(spec.padding[-1]) <= _WIDEST_PADDING and spec.dtype == "float32"
    return _DEPTHWISE if easy or spec.layout == "channels_last" else _FALLEN


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
