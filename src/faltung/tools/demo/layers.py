"""Layers of real networks, run on what the photograph gives and checked against float64.

Each layer is a name and the spelling of its problem. Sizes are the networks' own at batch 1 except
where `reduced` says which size was made smaller, so that the demo ends in a minute.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import ModuleType

import torch
from torch import Tensor
from torch.nn import functional as peer

from ... import functional
from ...ops.conv.api import plan
from ...ops.conv.spec import ConvSpec
from ...ops.padding import pad
from ..budget import Budget, error_in_budgets
from .photograph import PhotographSource

Operation = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Layer:
    """A layer of a published network. `problem` leaves out dtype and device."""

    name: str
    problem: str
    reduced: str = ""

    @property
    def spec(self) -> ConvSpec:
        """The layer's problem in float32 on the CPU."""
        return ConvSpec.parse(f"{self.problem} float32 cpu")


LAYERS = (
    Layer("ResNet-50 3×3", "forward n1 c64 o64 i56x56 k3x3 p1"),
    Layer("RepLKNet depthwise 31×31", "forward n1 c64 o64 i56x56 k31x31 p15 g64", "128 channels"),
    Layer("DCGAN up ×2", "grad_input n1 c128 o256 i32x32 k4x4 s2 p1"),
    Layer("Mamba causal 1-D", "forward n1 c384 o384 i2048 k4 p3+0 g384", "1536 channels"),
    Layer("ResNet-50 3×3, deep", "forward n1 c256 o256 i14x14 k3x3 p1"),
    Layer("ResNet-50 3×3, last", "forward n1 c512 o512 i7x7 k3x3 p1"),
    Layer("VGG 3×3", "forward n1 c64 o64 i112x112 k3x3 p1", "224×224"),
    Layer("ResNet stem 7×7, stride 2", "forward n1 c3 o64 i224x224 k7x7 s2 p3"),
    Layer("ConvNeXt stem 4×4, stride 4", "forward n1 c3 o96 i224x224 k4x4 s4"),
    Layer("ResNet 3×3, stride 2", "forward n1 c128 o128 i56x56 k3x3 s2 p1"),
    Layer("ResNet-50 1×1", "forward n1 c256 o64 i56x56 k1x1"),
    Layer("ResNet-50 1×1, deep", "forward n1 c1024 o256 i14x14 k1x1"),
    Layer("MobileNetV2 depthwise", "forward n1 c144 o144 i56x56 k3x3 p1 g144"),
    Layer("MobileNetV2 depthwise, stride 2", "forward n1 c144 o144 i56x56 k3x3 s2 p1 g144"),
    Layer("EfficientNet depthwise 5×5", "forward n1 c240 o240 i28x28 k5x5 p2 g240"),
    Layer("ConvNeXt depthwise 7×7", "forward n1 c96 o96 i56x56 k7x7 p3 g96"),
    Layer("ConvNeXt depthwise 7×7, deep", "forward n1 c384 o384 i14x14 k7x7 p3 g384"),
    Layer("RepLKNet depthwise 13×13", "forward n1 c256 o256 i7x7 k13x13 p6 g256", "1024 channels"),
    Layer("SLaK depthwise 51×5", "forward n1 c48 o48 i56x56 k51x5 p25x2 g48", "96 channels"),
    Layer("VAN depthwise 7×7, dilation 3", "forward n1 c64 o64 i56x56 k7x7 p9 d3 g64"),
    Layer("DeepLab ASPP, dilation 12", "forward n1 c128 o64 i33x33 k3x3 p12 d12", "512→256"),
    Layer("DRN 3×3, dilation 2", "forward n1 c256 o256 i28x28 k3x3 p2 d2"),
    Layer("ResNeXt, 32 groups", "forward n1 c128 o128 i56x56 k3x3 p1 g32"),
    Layer("ShuffleNet 1×1, 3 groups", "forward n1 c240 o240 i28x28 k1x1 g3"),
    Layer("dense 15×15", "forward n1 c32 o32 i48x48 k15x15 p7", "128×128"),
    Layer("one image, 31×31", "forward n1 c1 o1 i256x240 k31x31 p15", "1024×1024"),
    Layer("U-Net up ×2", "grad_input n1 c64 o128 i112x112 k2x2 s2"),
    Layer("FCN depthwise up ×2", "grad_input n1 c64 o64 i56x56 k4x4 s2 p1 g64"),
    Layer("wav2vec 2.0 1-D, stride 2", "forward n1 c256 o256 i2000 k3 s2", "512, length 8000"),
    Layer("Hyena long filter", "forward n1 c16 o16 i1024 k512 p511+0 g16", "64, 2048 of 4096"),
    Layer("TCN 1-D, dilation 8", "forward n1 c64 o64 i4000 k3 p16+0 d8", "length 16000"),
    Layer("HiFi-GAN up ×8", "grad_input n1 c128 o256 i1600 k16 s8 p4", "512→256 channels"),
    Layer("U-Net 3-D", "forward n1 c32 o32 i16x16x16 k3x3x3 p1", "32×32×32"),
    Layer("depthwise 3-D 7×7×7", "forward n1 c32 o32 i16x16x16 k7x7x7 p3 g32", "32×32×32"),
)  # fmt: skip


@dataclass(frozen=True)
class Checked:
    """A layer that has been run: what ran it, and its error in budgets."""

    layer: Layer
    spec: ConvSpec
    algorithm: str
    error: float

    @property
    def held(self) -> bool:
        """Whether the error is within the budget; NaN is not."""
        return self.error <= 1


def check_layers(source: PhotographSource, count: int | None = None) -> Iterator[Checked]:
    """Run the first `count` layers (None: all) on patches of the photograph, one after another."""
    for layer in LAYERS[:count]:
        yield check(layer, source)


def check(layer: Layer, source: PhotographSource) -> Checked:
    """One layer through `faltung.functional`, against the same in float64 through PyTorch."""
    spec = layer.spec
    x, w = (source.real(shape, torch.float32) for shape in spec.operand_shapes)
    transposed = spec.task == "grad_input"
    made = plan(
        x, w,
        stride=spec.stride, padding=spec.padding, dilation=spec.dilation, groups=spec.groups,
        transposed=transposed,
    )  # fmt: skip
    y = _transposed(functional, spec)(x, w) if transposed else _forward(functional, spec)(x, w)
    definition = _transposed(peer, spec) if transposed else _forward_padded(spec)
    budget = Budget.of(definition, (x, w), made.chosen.algorithm.error_factor)
    if not transposed:
        # PyTorch sums in blocks, which errs less than the plain sum that a budget is made of
        budget = replace(budget, direct=_plain_sum(made.spec, x, w))
    return Checked(layer, made.spec, made.algorithm, error_in_budgets(y, budget))


def _plain_sum(spec: ConvSpec, x: Tensor, w: Tensor) -> Tensor:
    """The convolution one product after another, as it is defined, for all outputs at once."""
    padded, outputs = pad(x, spec.axes), math.prod(spec.output_size)
    grouped = w.reshape(spec.groups, spec.out_channels // spec.groups, -1, spec.taps)
    y = x.new_zeros(spec.batch, spec.groups, spec.out_channels // spec.groups, outputs)
    for t, tap in enumerate(itertools.product(*map(range, spec.kernel_size))):
        grid = (
            slice(i * a.dilation, i * a.dilation + (a.output_size - 1) * a.stride + 1, a.stride)
            for i, a in zip(tap, spec.axes, strict=True)
        )
        seen = padded[:, :, *grid].reshape(spec.batch, spec.groups, -1, outputs)
        for c in range(seen.shape[2]):
            y.addcmul_(seen[:, :, c, None], grouped[None, :, :, c, t, None])
    return y.reshape(spec.y_shape)


def _forward(package: ModuleType, spec: ConvSpec) -> Operation:
    function = getattr(package, f"conv{spec.dims}d")
    return lambda x, w: function(x, w, None, spec.stride, spec.padding, spec.dilation, spec.groups)


def _forward_padded(spec: ConvSpec) -> Operation:
    """PyTorch's convolution with the padding laid around x first: it takes no unequal pairs."""
    function = getattr(peer, f"conv{spec.dims}d")
    around = [end for pair in reversed(spec.padding) for end in pair]
    return lambda x, w: function(
        peer.pad(x, around), w, None, spec.stride, 0, spec.dilation, spec.groups
    )


def _transposed(package: ModuleType, spec: ConvSpec) -> Operation:
    """The transposed convolution of a package; the table's paddings are equal at both ends."""
    function = getattr(package, f"conv_transpose{spec.dims}d")
    padding = tuple(low for low, _ in spec.padding)
    return lambda x, w: function(x, w, None, spec.stride, padding, 0, spec.groups, spec.dilation)
