"""Strassen's multiplication: convolutions that are one product of two matrices, an eighth less.

    y[n, m] = Σ_k x[n, k] · w[k, m]        seven products of matrices of half the size for eight

A pointwise convolution is such a product, with a row for each pixel; and so is a transposed one
whose kernel is as large as its stride (2 × 2 taps and stride 2, say), with a column for each result
channel and phase. Winograd's form of Strassen's multiplication (`parts/strassen/routine.py`) makes
four sums of quarters of x, four of w, which are packed once, and puts the products together while
they are in registers. Done once, not recursively: what is saved gets smaller each time, and what it
costs does not.

Tiles are those of `implicit_gemm_cpu`: vectors of output channels × numbers of x where channels
come last; vectors of pixels × weights in contiguous images, so that neither x nor y is transposed.

Rounding errors are two to three times a direct sum's (docs/design/007-implicit-gemm.md), therefore
`accuracy="exact"` never uses it. An infinite or NaN input reaches the results of the pixel that it
was paired with as well.

Used for pointwise convolutions with stride 1 and no padding, and transposed ones whose kernel size
is their stride, dense and grouped, in 1-D to 3-D. Not for few channels or outputs, where sums take
as long as the product that is saved, nor for few pixels with many weights, which are then read
rather than multiplied: the sums of weights make them 7/4 as many.

Source: Strassen, "Gaussian Elimination is not Optimal", Numerische Mathematik 13 (1969); the form
of it with 15 additions: Winograd, "On multiplication of 2 × 2 matrices", Linear Algebra and its
Applications 4 (1971); for one level in a blocked product: Huang and others, "Strassen's Algorithm
Reloaded", SC 2016.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ....lang.compile import compiled
from ....lang.target import host_target
from ....machine import Machine, this_machine
from ....parts import activation, interleave
from ....parts.gemm import gather_panel, sharing
from ....parts.gemm import tile as gemm_tile
from ....parts.strassen import problem as strassen_problem
from ....parts.strassen import results as strassen_results
from ....parts.strassen import routine as strassen_routine
from ....parts.strassen.problem import StrassenLayout, StrassenProblem
from ....parts.strassen.routine import StrassenRoutine
from ....planning import Algorithm, Run
from ...calling import allocator, launcher
from ...packed import packer
from ...scratch import scratch_bytes, with_scratch
from ..refusals import REGISTER_BYTES, refusals
from ..spec import ConvSpec

_SECOND_CACHE = 1 << 20  # bytes, where the system does not say
_CALL_SECONDS = 5e-6
_PACKING = 6e-9  # seconds for each number of a weight
# cycles as they were seen, to those that are counted; and how often the packed weight comes from
# memory, since in contiguous images each block goes through all of it
_BESIDES = {"channels_last": 1.08, "contiguous": 1.1}
_POINTWISE = 1.2  # of contiguous images, whose results the plain product writes as fast
_READING = {"channels_last": 2.2, "contiguous": 8.8}
_PARTS = (
    activation, gather_panel, gemm_tile, interleave, sharing, strassen_problem, strassen_results,
    strassen_routine,
)  # fmt: skip


class StrassenCpu(Algorithm):
    """One product of two matrices, with fewer multiplications."""

    tasks = frozenset({"forward", "grad_input"})
    error_factor = 3.0

    def unsupported(self, spec: ConvSpec) -> list[str]:
        """Anything but one product: windows that overlap, pixels that are left out, padding."""
        reasons = refusals(spec, ["contiguous", "channels_last"])
        if spec.task == "forward" and (spec.taps, max(spec.stride)) != (1, 1):
            reasons.append(
                f"needs one tap and stride 1, has {_times(spec.kernel_size)} taps and stride "
                f"{_times(spec.stride)}"
            )
        elif spec.kernel_size != spec.stride or (spec.taps > 1 and max(spec.dilation) > 1):
            reasons.append(
                f"needs a kernel as large as the stride, has {_times(spec.kernel_size)} taps, "
                f"stride {_times(spec.stride)} and dilation {_times(spec.dilation)}"
            )
        elif spec.input_size != tuple(
            size * stride for size, stride in zip(spec.output_size, spec.stride, strict=True)
        ) or any(low for low, _ in spec.padding):
            reasons.append(f"needs a result for each tap, has {_times(spec.input_size)}")
        if 0 in (spec.in_channels, spec.out_channels, *spec.input_size):
            reasons.append(f"has nothing to multiply: images of {spec.x_shape}")
        return [*reasons, *self._cannot_weave(spec)]

    def _cannot_weave(self, spec: ConvSpec) -> list[str]:
        """Why the phases of a row are not written as vectors."""
        lanes, beside = _lanes(spec), spec.stride[-1]
        if spec.layout != "contiguous" or max(spec.stride) == 1:
            return []
        if lanes % beside:
            return [f"weaves rows of vectors of {lanes} numbers, which {beside} phases do not fill"]
        if spec.output_size[-1] < lanes // beside:
            return [f"needs rows of {lanes // beside} numbers, has {spec.output_size[-1]}"]
        return []

    def seconds(self, spec: ConvSpec, machine: Machine) -> float:
        """The cycles that products take and reading their weight, or the bytes of the images."""
        per_cycle = 4 * host_target().vector_bits / 32  # operations of two multiply-adds on vectors
        layout = StrassenLayout(_problem(spec))
        cycles = layout.cut.last * layout.problem.cores * _BESIDES[spec.layout]
        if spec.task == "forward" and spec.layout == "contiguous":
            cycles *= _POINTWISE
        computing = cycles * per_cycle / machine.peak
        weights = layout.weight_numbers * layout.problem.groups * layout.problem.item_size
        reading = _READING[spec.layout] * weights / machine.bandwidth
        return _CALL_SECONDS + max(computing + reading, (spec.bytes + weights) / machine.bandwidth)

    def preparing(self, spec: ConvSpec, machine: Machine) -> float:
        """Sums of the weight's quarters, in another order."""
        return 60e-6 + _PACKING * spec.parameters

    def workspace(self, spec: ConvSpec) -> int:
        """The packed weight and bias, and every thread's panels and waiting sums."""
        layout = StrassenLayout(_problem(spec))
        item_size = layout.problem.item_size
        packed = layout.weight_numbers + spec.bias * 2 * layout.outputs
        own = scratch_bytes(item_size, layout.panel_numbers, layout.waiting_numbers)
        return layout.problem.groups * packed * item_size + own

    def build(self, spec: ConvSpec) -> Run:
        """`run(x, w, bias=None)`."""
        layout = StrassenLayout(_problem(spec))
        routine = with_scratch(compiled(
            f"{self.name} {layout.problem} {layout.cut}", 3 + spec.bias,
            lambda: StrassenRoutine(self.name, layout).r,
            sources=[__file__, *(str(part.__file__) for part in _PARTS)],
        ))  # fmt: skip
        make = allocator(spec.result_shape, spec.dtype, spec.layout)
        launch = launcher(routine, 2 * spec.macs, spec.bytes)
        pack, pack_bias = packer(_packing(spec, layout)), packer(_outputs(layout))

        def run(x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
            y, packed = make(), pack(w)
            if bias is None:
                launch(y.data_ptr(), x.data_ptr(), packed.data_ptr())
            else:
                given = pack_bias(bias)
                launch(y.data_ptr(), x.data_ptr(), packed.data_ptr(), given.data_ptr())
            return y

        return run


def _times(sizes: tuple[int, ...]) -> str:
    return "×".join(map(str, sizes))


def _lanes(spec: ConvSpec) -> int:
    return host_target().lanes(REGISTER_BYTES.get(spec.dtype, 4))


def _problem(spec: ConvSpec) -> StrassenProblem:
    """The spec in the terms of a matrix product, on this machine."""
    inputs, channels = spec.in_channels // spec.groups, spec.out_channels // spec.groups
    if spec.task == "grad_input":
        inputs, channels = channels, inputs
    missing, last = 3 - spec.dims, spec.layout == "channels_last"
    depth, high, wide = (*[1] * missing, *spec.output_size)
    stride = (*[1] * missing, *spec.stride)
    if max(stride) == 1:
        depth, high, wide = 1, 1, depth * high * wide
    if last:
        depth *= spec.batch
    if max(stride) == 1:
        depth, wide = 1, depth * wide
    machine = this_machine()
    return StrassenProblem(
        images=1 if last else spec.batch, groups=spec.groups, inputs=inputs, channels=channels,
        size=(depth, high, wide), stride=(stride[0], stride[1], stride[2]), last=last,
        dtype=spec.dtype, bias=spec.bias, activation=spec.activation,
        lanes=_lanes(spec), registers=32 if host_target().vector_bits == 512 else 16,
        item_size=REGISTER_BYTES[spec.dtype], cores=machine.cores,
        cache=dict(machine.caches).get("L2", _SECOND_CACHE),
    )  # fmt: skip


def _packing(spec: ConvSpec, layout: StrassenLayout) -> Callable[[Tensor], Tensor]:
    """What packs a weight: by groups and tiles, the seven matrices of the products in turn."""
    p, wide = layout.problem, getattr(torch, layout.problem.wide)

    def pack(w: Tensor) -> Tensor:
        matrix = _matrix(spec, p, w.to(wide))
        whole = torch.zeros(p.groups, 2, layout.outputs, 2, layout.inputs, dtype=wide)
        flat = whole.view(p.groups, 2 * layout.outputs, 2 * layout.inputs)
        flat[:, : p.outputs, : p.inputs] = matrix
        w11, w12, w21, w22 = (whole[:, m, :, k] for m in range(2) for k in range(2))
        s1 = w21 + w22
        s2 = s1 - w11
        made = torch.stack([w11, w12, s2, w11 - w21, -w22, s1, w12 - s2], 1)
        made = made.view(p.groups, 7, layout.tiles, layout.width, layout.inputs)
        return made.permute(0, 2, 1, 4, 3).contiguous()

    return pack


def _matrix(spec: ConvSpec, p: StrassenProblem, w: Tensor) -> Tensor:
    """The weight as [groups, outputs, inputs]; rows of 0 where outputs fill up vectors."""
    if spec.task == "forward":
        rows = w.view(p.groups, p.channels, p.inputs)
    else:
        rows = w.reshape(p.groups, p.inputs, p.channels, *p.stride).permute(_order(p))
    rows = rows.reshape(p.groups, p.runs, p.run, p.inputs)
    padded = torch.nn.functional.pad(rows, (0, 0, 0, p.padded_run - p.run))
    return padded.reshape(p.groups, p.outputs, p.inputs)


def _order(p: StrassenProblem) -> tuple[int, ...]:
    """Axes of a transposed convolution's weight [G, K, C, deep, high, wide] as results lie."""
    if p.last:  # channels within the phases
        return (0, 3, 4, 5, 2, 1)
    return (0, 3, 4, 2, 5, 1)


def _outputs(layout: StrassenLayout) -> Callable[[Tensor], Tensor]:
    """What puts a bias to all outputs of a place, as the packed weight has them."""
    p = layout.problem

    def spread(b: Tensor) -> Tensor:
        b = b.to(getattr(torch, p.wide)).view(p.groups, 1, p.channels)
        beside = p.stride[2]
        phases = p.stride[0] * p.stride[1]
        if p.last:
            rows = b.expand(-1, phases * beside, -1)
        else:
            rows = b.repeat_interleave(beside, 2).expand(-1, phases, -1)
        rows = rows.reshape(p.groups, p.runs, p.run)
        rows = torch.nn.functional.pad(rows, (0, p.padded_run - p.run)).flatten(1)
        return torch.nn.functional.pad(rows, (0, 2 * layout.outputs - p.outputs)).contiguous()

    return spread


ALGORITHM = StrassenCpu()
