"""The gradient of the weight of contiguous images, with pixels of a row as lanes.

    gw[o, c, t] = Σ_{n, q} gy[n, o, q] · x[n, c, q·s − low + t·d]

The lanes of a vector are neighbouring outputs of a row, whose products all belong to the same
weight: they are summed up vector by vector, and across the lanes at the very end. So nothing is
transposed, and there is no matrix of columns. A tile of output channels or row taps × column taps
shares its loads: every vector of gy meets as many of x, and the other way round.

Used for depthwise and grouped layers, and for dense ones of few channels, in 1-D to 3-D, every
stride, dilation and padding. Where rows are much shorter than a vector, or channels many on both
sides, a matrix product is faster (`weight_gemm_cpu`). Same bits for any number of threads.

Zeros stand beside gy and x in the panels, so an infinite or NaN input makes NaN of all weights of
its channel, also of those whose taps do not see it.
"""

from torch import Tensor

from ....lang.compile import compiled
from ....lang.target import host_target
from ....machine import Machine
from ....parts import lane_sums, lanes, opaque, taps
from ....parts.gemm import gather_panel, problem
from ....parts.gemm.problem import Span
from ....parts.weights import gy_sums, rows, rows_ahead, rows_layout
from ....parts.weights import taps as tap_groups
from ....parts.weights.rows_layout import RowsLayout, RowsProblem, best_rows_layout
from ....planning import Algorithm, Run
from ...calling import allocator, launcher
from ...layouts import laid_out
from ...scratch import scratch_bytes, with_scratch
from ..bias_gradient import OnTheWay, rounded
from ..parted import added
from ..refusals import REGISTER_BYTES, weight_refusals
from ..spans import span_of
from ..spec import ConvSpec

_CALL_SECONDS = 5e-6
_PARTS = (
    gather_panel, gy_sums, lane_sums, lanes, opaque, problem, rows, rows_ahead, rows_layout,
    tap_groups, taps,
)  # fmt: skip
_SOURCES = [__file__, *(str(part.__file__) for part in _PARTS)]


class WeightRowsCpu(Algorithm):
    """Direct sums, vectors along the rows."""

    tasks = frozenset({"grad_weight"})

    def unsupported(self, spec: ConvSpec) -> list[str]:
        """Anything but contiguous images of floating-point numbers, padded with zeros."""
        reasons = weight_refusals(spec)
        if spec.layout == "channels_last":
            reasons.append("needs contiguous images, has channels_last")
        return reasons

    def seconds(self, spec: ConvSpec, machine: Machine) -> float:
        """The cycles that panels and tiles take, or the bytes at memory speed if that is slower."""
        per_cycle = 4 * host_target().vector_bits / 32  # operations of two multiply-adds on vectors
        computing = _layout(spec).cycles * per_cycle / machine.peak
        return _CALL_SECONDS + max(computing, spec.bytes / machine.bandwidth)

    def workspace(self, spec: ConvSpec) -> int:
        """Every thread's panels and sums, and the parts of the sum where there are several."""
        layout = _layout(spec)
        item_size = layout.problem.item_size
        own = scratch_bytes(item_size, layout.panel_numbers, layout.sum_numbers)
        return own + layout.parts * layout.problem.numbers * item_size

    def build(self, spec: ConvSpec) -> Run:
        """`run(x, gy)`; the bias's gradient is found on the way."""
        layout = _layout(spec)
        routine = with_scratch(compiled(
            f"{self.name} {layout.problem}", 4,
            lambda: rows.RowsRoutine(self.name, layout).r, sources=_SOURCES,
        ))  # fmt: skip
        several = (layout.parts,) if layout.parts > 1 else ()
        make = allocator((*several, *spec.w_shape), layout.problem.wide, "contiguous")
        make_sums = allocator((*several, spec.out_channels), layout.problem.wide, "contiguous")
        launch = launcher(routine, 2 * spec.executed_macs, spec.bytes)

        def both(x: Tensor, gy: Tensor) -> tuple[Tensor, Tensor]:
            if not (x.is_contiguous() and gy.is_contiguous()):
                x, gy = laid_out(x, "contiguous"), laid_out(gy, "contiguous")
            gw, gb = make(), make_sums()
            launch(gw.data_ptr(), gb.data_ptr(), x.data_ptr(), gy.data_ptr())
            if several:
                gw, gb = added(gw), added(gb)
            return rounded(gw, gb, x.dtype)

        return OnTheWay(both)


def _layout(spec: ConvSpec) -> RowsLayout:
    axes = [Span()] * (3 - spec.dims) + [span_of(axis) for axis in spec.axes]
    lanes = host_target().lanes(REGISTER_BYTES[spec.dtype])
    while lanes > 4 and spec.output_size[-1] <= lanes // 2:
        lanes //= 2
    return best_rows_layout(
        RowsProblem(
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


ALGORITHM = WeightRowsCpu()
