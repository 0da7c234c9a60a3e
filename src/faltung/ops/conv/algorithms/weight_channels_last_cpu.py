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

from torch import Tensor

from ....lang.compile import compiled
from ....lang.target import host_target
from ....machine import Machine
from ....parts import opaque, taps, transpose
from ....parts.gemm import gather_panel, problem
from ....parts.gemm.problem import Span
from ....parts.weights import channels, channels_layout, gy_sums
from ....parts.weights import taps as tap_groups
from ....parts.weights.channels_layout import (
    ChannelsLayout,
    ChannelsProblem,
    best_channels_layout,
)
from ....planning import Algorithm, Run
from ...calling import allocator, launcher
from ...layouts import laid_out
from ...scratch import room_of, scratch_bytes, with_scratch
from ..bias_gradient import OnTheWay, rounded
from ..refusals import REGISTER_BYTES, weight_refusals
from ..spans import span_of
from ..spec import ConvSpec

_CALL_SECONDS = 5e-6
_MOST_OUTPUTS = 64  # of a group, whose numbers are arranged one by one
_PARTS = (
    channels, channels_layout, gather_panel, gy_sums, opaque, problem, tap_groups, taps, transpose,
)  # fmt: skip
_SOURCES = [__file__, *(str(part.__file__) for part in _PARTS)]


class WeightChannelsLastCpu(Algorithm):
    """Direct sums, vectors along the channels."""

    tasks = frozenset({"grad_weight"})

    def unsupported(self, spec: ConvSpec) -> list[str]:
        """Anything but small groups, on channels-last images of floating-point numbers."""
        reasons = weight_refusals(spec)
        if spec.layout != "channels_last":
            reasons.append(f"needs channels-last images, has {spec.layout}")
        lanes = host_target().lanes(REGISTER_BYTES.get(spec.dtype, 4))
        if (inputs := spec.in_channels // spec.groups) > lanes:
            reasons.append(f"needs groups of at most {lanes} channels, has {inputs}")
        if (products := spec.out_channels // spec.groups) > _MOST_OUTPUTS:
            reasons.append(
                f"spreads at most {_MOST_OUTPUTS} output channels of a group, has {products}"
            )
        return reasons

    def seconds(self, spec: ConvSpec, machine: Machine) -> float:
        """The cycles that panels and tiles take, or the bytes at memory speed if that is slower."""
        per_cycle = 4 * host_target().vector_bits / 32  # operations of two multiply-adds on vectors
        computing = _layout(spec).cycles * per_cycle / machine.peak
        return _CALL_SECONDS + max(computing, spec.bytes / machine.bandwidth)

    def workspace(self, spec: ConvSpec) -> int:
        """Every thread's panel, and all parts of the sums."""
        layout = _layout(spec)
        item_size = layout.problem.item_size
        parts = layout.parts * layout.sum_numbers * item_size
        return parts + scratch_bytes(item_size, layout.panel_numbers)

    def build(self, spec: ConvSpec) -> Run:
        """`run(x, gy)`; the bias's gradient is found on the way."""
        layout = _layout(spec)
        summing = with_scratch(compiled(
            f"{self.name} sums {layout.problem}", 3,
            lambda: channels.ChannelSums(self.name, layout).r, sources=_SOURCES,
        ))  # fmt: skip
        adding = compiled(
            f"{self.name} adds {layout.problem}", 3,
            lambda: channels.AddedSums(self.name, layout).r, sources=_SOURCES,
        )  # fmt: skip
        parts = layout.parts * layout.sum_numbers
        size = parts * layout.problem.item_size
        make = allocator(spec.w_shape, layout.problem.wide, "contiguous")
        make_sums = allocator((spec.out_channels,), layout.problem.wide, "contiguous")
        launch = launcher(summing, 2 * spec.executed_macs, spec.bytes)
        make_parts, add = room_of(size), launcher(adding, parts, size)

        def both(x: Tensor, gy: Tensor) -> tuple[Tensor, Tensor]:
            gy, gw, gb = laid_out(gy, "channels_last"), make(), make_sums()
            sums = make_parts()
            launch(sums.data_ptr(), x.data_ptr(), gy.data_ptr())
            add(gw.data_ptr(), gb.data_ptr(), sums.data_ptr())
            return rounded(gw, gb, x.dtype)

        return OnTheWay(both)


def _layout(spec: ConvSpec) -> ChannelsLayout:
    axes = [Span()] * (3 - spec.dims) + [span_of(axis) for axis in spec.axes]
    lanes = host_target().lanes(REGISTER_BYTES[spec.dtype])
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


ALGORITHM = WeightChannelsLastCpu()
