"""The gradient of the input at stride 1, done by what does the forward convolution.

    gx[i, c] = Σ_{t, o} w[o, c, t] · gy[i + low − t·d, o]
             = Σ_{t', o} w'[c, o, t'] · gy[i − low' + t'·d, o]

with t' = K − 1 − t, the taps mirrored and the channels of each group exchanged:

    w'[c, o, t'] = w[o, c, K − 1 − t']          low' = d·(K − 1) − low          high' likewise

So it is a forward convolution of gy, with what padding the forward one lacked to reach d·(K − 1) on
either side. Where it had more than that, the outermost outputs saw nothing but padding and are cut
off. This holds for a stride of 1 only: else gy would have to be spread out with zeros, and phases
(`phases_cpu`) do without. See Dumoulin and Visin, arXiv 1603.07285, section 4.3.

`algorithms/__init__.py` puts every algorithm that does no `grad_input` of its own into `Mirrored`,
so the planner weighs each as it is, under its own name, and a new forward algorithm is at once one
for this task. A plan shows the convolution that is really done.
"""

from collections.abc import Callable
from dataclasses import replace
from math import prod

import torch
from torch import Tensor

from ...machine import Machine
from ...planning import Algorithm, Run
from ..geometry import Axis
from ..layouts import laid_out
from ..packed import packer
from ..rearranged import Rearranged, rearranged_seconds
from .spec import ConvSpec

_CALL_SECONDS = 0.5e-6


class Mirrored(Algorithm):
    """An algorithm that does forward convolutions, and with them `grad_input` at stride 1."""

    def __init__(self, inner: Algorithm) -> None:
        self._inner = inner
        self.tasks = inner.tasks | {"grad_input"}
        self.error_factor, self.deterministic = inner.error_factor, inner.deterministic

    @property
    def name(self) -> str:
        """The algorithm's own."""
        return self._inner.name

    def rewritten(self, spec: ConvSpec) -> ConvSpec:
        """The forward convolution that is done for a `grad_input`."""
        return (as_forward(spec) or spec) if spec.task == "grad_input" else spec

    def unsupported(self, spec: ConvSpec) -> list[str]:
        """What keeps the algorithm from the forward convolution, or that there is none."""
        if spec.task == "grad_input" and as_forward(spec) is None:
            return [_why_not(spec)]
        return self._inner.unsupported(self.rewritten(spec))

    def seconds(self, spec: ConvSpec, machine: Machine) -> float:
        """The forward convolution's; the weight is mirrored when it is new or changed."""
        more = _CALL_SECONDS if spec.task == "grad_input" else 0.0
        return self._inner.seconds(self.rewritten(spec), machine) + more

    def preparing(self, spec: ConvSpec, machine: Machine) -> float:
        """What the algorithm makes of a weight, and the mirrored one before that."""
        first = 0.0
        if spec.task == "grad_input":
            numbers = prod(spec.w_shape)
            first = rearranged_seconds(numbers, spec.item_size, machine.bandwidth)
        return first + self._inner.preparing(self.rewritten(spec), machine)

    def adds(self, spec: ConvSpec) -> bool:
        """Whether the algorithm does."""
        return self._inner.adds(self.rewritten(spec))

    def workspace(self, spec: ConvSpec) -> int:
        """The forward convolution's, the mirrored weight, and gy where it is cut."""
        forward = self.rewritten(spec)
        need = self._inner.workspace(forward)
        if spec.task == "grad_input":
            cut = forward.input_size != spec.output_size
            need += (prod(spec.w_shape) + cut * prod(forward.x_shape)) * spec.item_size
        return need

    def build(self, spec: ConvSpec) -> Run:
        """`run(x, w, bias=None)`, or `run(gy, w, bias=None)`; with a residual if there is one."""
        forward = self.rewritten(spec)
        convolve = self._inner.build(forward)
        if spec.task != "grad_input":
            return convolve
        mirror, cut = _mirroring(spec), _cutting(spec)

        def run(gy: Tensor, w: Tensor, *added: Tensor | None) -> Tensor:
            gx: Tensor = convolve(gy if cut is None else cut(gy), mirror(w), *added)
            return gx

        return run


def as_forward(spec: ConvSpec) -> ConvSpec | None:
    """The forward convolution that is the same as a `grad_input`; None if none is.

    >>> spec = ConvSpec.parse("grad_input n1 c8 o4 i9x9 k3x3 p0x2 float32 cpu")
    >>> print(as_forward(spec))
    forward n1 c4 o8 i7x11 k3x3 p2x0 float32 cpu
    """
    if set(spec.stride) != {1} or _is_filled(spec) or 0 in (spec.in_channels, *spec.input_size):
        return None
    seen = [_seen(axis) for axis in spec.axes]
    if any(begin >= end for begin, end in seen):
        return None
    padding = []
    for axis, (begin, end) in zip(spec.axes, seen, strict=True):
        low = axis.span - 1 - axis.padding[0] + begin
        padding.append((low, axis.input_size + axis.span - 1 - (end - begin) - low))
    return replace(
        spec, task="forward", in_channels=spec.out_channels, out_channels=spec.in_channels,
        input_size=tuple(end - begin for begin, end in seen), output_size=spec.input_size,
        padding=tuple(padding), padding_mode="zeros",
    )  # fmt: skip


def _mirroring(spec: ConvSpec) -> Callable[[Tensor], Tensor]:
    """What makes the forward convolution's weight: mirrored, the channels of groups exchanged.

    A weight that changes is mirrored into the same tensor, which the algorithm then sees change:
    all that is known of it stays known.
    """
    inputs, outputs = spec.in_channels // spec.groups, spec.out_channels // spec.groups
    copy = Rearranged((spec.groups, outputs, inputs, spec.taps), (0, 2, 1, 3), backwards=(3,))
    shape = (spec.in_channels, outputs, *spec.kernel_size)

    def mirrored(w: Tensor) -> Tensor:
        return copy(w).view(shape).to(w.dtype)

    def again(w: Tensor, old: Tensor) -> Tensor:
        if w.dtype.itemsize == 2:  # whose copy is wider
            return old.copy_(mirrored(w))
        copy(w, old)
        torch.autograd.graph.increment_version(old)
        return old

    return packer(mirrored, again)


def _seen(axis: Axis) -> tuple[int, int]:
    """The first output whose window sees the input, and the end of them: all between do."""
    begin = max(0, axis.padding[0] - (axis.span - 1))
    return begin, min(axis.output_size, axis.input_size + axis.padding[0])


def _is_filled(spec: ConvSpec) -> bool:
    """Whether the padding is anything but zeros."""
    return spec.padding_mode != "zeros" and any(map(any, spec.padding))


def _why_not(spec: ConvSpec) -> str:
    if set(spec.stride) != {1}:
        return f"does grad_input at stride 1 only, not {spec.stride}"
    if _is_filled(spec):
        return f"does grad_input for zeros as padding only, not {spec.padding_mode}"
    return f"has nothing to sum up: {spec.x_shape} of which the windows see nothing"


def _cutting(spec: ConvSpec) -> Callable[[Tensor], Tensor] | None:
    """What cuts off the outputs that see nothing but padding; None if there are none."""
    seen = [_seen(axis) for axis in spec.axes]
    if all(
        end - begin == axis.output_size for axis, (begin, end) in zip(spec.axes, seen, strict=True)
    ):
        return None
    inside = (slice(None), slice(None), *(slice(*ends) for ends in seen))
    return lambda gy: laid_out(gy[inside], spec.layout)
