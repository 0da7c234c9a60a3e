"""The gradient of the weight of channels-last images, with channels as lanes.

    gw[o, c, t] = Σ_{n, q} gy[n, o, q] · x[n, c, q·s − low + t·d]

The lanes of a vector are neighbouring channels: depthwise ones, or those of several small groups,
beside which the numbers of gy are arranged group by group. A tile of taps shares its loads, each
lane sums up its own weights, and none is lost to narrow images.

Used for depthwise layers and groups of at most a vector of channels, in 2-D and 3-D, every stride,
dilation and padding. Same bits for any number of threads.

Zeros stand for the padding in the panel, so an infinite or NaN number of gy makes NaN of weights
that it meets there.
"""

import torch
from torch import Tensor

from ....lang.compile import compiled
from ....lang.target import host_target, unavailable
from ....machine import Machine
from ....parts import opaque, taps, transpose
from ....parts.gemm import gather_panel, problem
from ....parts.gemm.problem import Span
from ....parts.weights import channels, channels_layout
from ....parts.weights import taps as tap_groups
from ....parts.weights.channels_layout import (
    ChannelsLayout,
    ChannelsProblem,
    best_channels_layout,
)
from ....planning import Algorithm, Run
from ...calling import allocator, launcher
from ...geometry import Axis
from ...operands import laid_out
from ..parted import added
from ..spec import ConvSpec

_DTYPES = {"float32": 4, "float64": 8, "bfloat16": 4, "float16": 4}  # bytes in a register
_CALL_SECONDS = 5e-6
_MOST_OUTPUTS = 64  # of a group, whose numbers are arranged one by one
_PARTS = (channels, channels_layout, gather_panel, opaque, problem, tap_groups, taps, transpose)
_SOURCES = [__file__, *(str(part.__file__) for part in _PARTS)]


class WeightChannelsLastCpu(Algorithm):
    """Direct sums, vectors along the channels."""

    tasks = frozenset({"grad_weight"})

    def unsupported(self, spec: ConvSpec) -> list[str]:
        """Anything but small groups, on channels-last images of floating-point numbers."""
        reasons = []
        if spec.dtype not in _DTYPES:
            reasons.append(f"needs one of {', '.join(_DTYPES)}, has {spec.dtype}")
        if spec.layout != "channels_last":
            reasons.append(f"needs channels-last images, has {spec.layout}")
        lanes = host_target().lanes(_DTYPES.get(spec.dtype, 4))
        if (inputs := spec.in_channels // spec.groups) > lanes:
            reasons.append(f"needs groups of at most {lanes} channels, has {inputs}")
        if (products := spec.out_channels // spec.groups) > _MOST_OUTPUTS:
            reasons.append(
                f"spreads at most {_MOST_OUTPUTS} output channels of a group, has {products}"
            )
        if spec.padding_mode != "zeros" and any(map(any, spec.padding)):
            reasons.append(f"pads with zeros only, not {spec.padding_mode}")
        if 0 in (spec.batch, spec.in_channels, *spec.input_size):
            reasons.append(f"needs something to sum up, has x of {spec.x_shape}")
        if (missing := unavailable()) is not None:
            reasons.append(missing)
        return reasons

    def seconds(self, spec: ConvSpec, machine: Machine) -> float:
        """The cycles that panels and tiles take, or the bytes at memory speed if that is slower."""
        per_cycle = 4 * host_target().vector_bits / 32  # operations of two multiply-adds on vectors
        computing = _layout(spec).cycles * per_cycle / machine.peak
        return _CALL_SECONDS + max(computing, spec.bytes / machine.bandwidth)

    def workspace(self, spec: ConvSpec) -> int:
        """Every thread's panels and sums, and the parts of the sum where there are several."""
        layout = _layout(spec)
        own = torch.get_num_threads() * (layout.panel_numbers + layout.sum_numbers)
        return (own + layout.parts * layout.problem.numbers) * layout.problem.item_size

    def build(self, spec: ConvSpec) -> Run:
        """`run(x, gy)`."""
        layout = _layout(spec)
        routine = compiled(
            f"{self.name} {layout.problem}", 5,
            lambda: channels.ChannelsRoutine(self.name, layout).r, sources=_SOURCES,
        )  # fmt: skip
        wide: torch.dtype = getattr(torch, layout.problem.wide)
        panel, sums, parts = layout.panel_numbers, layout.sum_numbers, layout.parts
        several = (parts,) if parts > 1 else ()
        make = allocator((*several, *spec.w_shape), layout.problem.wide, "contiguous")
        launch = launcher(routine, 2 * spec.executed_macs, spec.bytes)

        def run(x: Tensor, gy: Tensor) -> Tensor:
            gy = laid_out(gy, "channels_last")
            gw, threads = make(), torch.get_num_threads()
            own = torch.empty(threads * (panel + sums), dtype=wide)
            first = own.data_ptr()
            after = first + threads * panel * wide.itemsize
            launch(gw.data_ptr(), x.data_ptr(), gy.data_ptr(), first, after)
            return (added(gw) if several else gw).to(x.dtype)

        return run


def _layout(spec: ConvSpec) -> ChannelsLayout:
    axes = [Span()] * (3 - spec.dims) + [_span(axis) for axis in spec.axes]
    lanes = host_target().lanes(_DTYPES[spec.dtype])
    while lanes > 4 and spec.in_channels <= lanes // 2:
        lanes //= 2
    return best_channels_layout(
        ChannelsProblem(
            batch=spec.batch,
            groups=spec.groups,
            inputs=spec.in_channels // spec.groups,
            outputs=spec.out_channels // spec.groups,
            depth=axes[0],
            rows=axes[1],
            columns=axes[2],
            dtype=spec.dtype,
            lanes=lanes,
            registers=32 if host_target().vector_bits == 512 else 16,
        )
    )


def _span(axis: Axis) -> Span:
    return Span(
        axis.output_size, axis.input_size, axis.kernel_size, axis.stride, axis.padding[0],
        axis.dilation,
    )  # fmt: skip


ALGORITHM = WeightChannelsLastCpu()
