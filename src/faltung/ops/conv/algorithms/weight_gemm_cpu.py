"""The gradient of the weight as a matrix product of all pixels, without a matrix of columns.

    gw[o, t, c] = Σ_{n, q} gy[n, o, q] · x[n, c, q·s − low + t·d]

For each tap, gy times the pixels of x that it sees: vectors run along the input channels, and the
numbers of gy are spread over the lanes from where they lie. Only x is copied, pixel by pixel with
its channels side by side. Stride and dilation cost nothing and padding is left out.

Used for dense and grouped layers of many input channels in 1-D to 3-D, pointwise ones among them,
in both memory layouts; channels-last images give a channels-last gradient. Same bits for any number
of threads. See Goto and van de Geijn, ACM TOMS 34 (3), 2008, for blocks and packing.
"""

from math import prod

from torch import Tensor

from ....lang.compile import compiled
from ....lang.target import host_target
from ....machine import Machine
from ....parts import interleave, opaque, taps, transpose
from ....parts.gemm import problem
from ....parts.gemm.problem import Span
from ....parts.weights import gemm, gemm_layout
from ....parts.weights import taps as tap_groups
from ....parts.weights.gemm_layout import GemmWeightLayout, GemmWeightProblem, best_gemm_layout
from ....planning import Algorithm, Run
from ...calling import allocator, launcher
from ...layouts import laid_out
from ...scratch import scratch_bytes, with_scratch
from ..refusals import REGISTER_BYTES, weight_refusals
from ..spans import span_of
from ..spec import ConvSpec

_CALL_SECONDS = 5e-6
_PARTS = (gemm, gemm_layout, interleave, opaque, problem, tap_groups, taps, transpose)
_SOURCES = [__file__, *(str(part.__file__) for part in _PARTS)]


class WeightGemmCpu(Algorithm):
    """Direct sums, vectors along the input channels."""

    tasks = frozenset({"grad_weight"})

    def unsupported(self, spec: ConvSpec) -> list[str]:
        """Anything but images of floating-point numbers, padded with zeros."""
        return weight_refusals(spec)

    def seconds(self, spec: ConvSpec, machine: Machine) -> float:
        """The cycles that panels and tiles take, or the bytes at memory speed if that is slower."""
        per_cycle = 4 * host_target().vector_bits / 32  # operations of two multiply-adds on vectors
        computing = _layout(spec).cycles * per_cycle / machine.peak
        return _CALL_SECONDS + max(computing, spec.bytes / machine.bandwidth)

    def workspace(self, spec: ConvSpec) -> int:
        """Every thread's panels and sums, and the result where it is rounded."""
        layout = _layout(spec)
        item_size = layout.problem.item_size
        wider = layout.problem.numbers if layout.copies_gy else 0
        own = scratch_bytes(item_size, layout.panel_numbers, layout.sum_numbers)
        return own + wider * item_size

    def build(self, spec: ConvSpec) -> Run:
        """`run(x, gy)`."""
        layout = _layout(spec)
        routine = with_scratch(compiled(
            f"{self.name} {layout.problem}", 3,
            lambda: gemm.GemmWeightRoutine(self.name, layout).r, sources=_SOURCES,
        ))  # fmt: skip
        order = _order(spec)
        make = allocator(spec.w_shape, layout.problem.wide, order)
        launch = launcher(routine, 2 * spec.executed_macs, spec.bytes)

        def run(x: Tensor, gy: Tensor) -> Tensor:
            x, gy = laid_out(x, order), laid_out(gy, order)
            gw = make()
            launch(gw.data_ptr(), x.data_ptr(), gy.data_ptr())
            return gw.to(x.dtype)

        return run


def _order(spec: ConvSpec) -> str:
    """The memory layout of everything."""
    return "channels_last" if spec.layout == "channels_last" else "contiguous"


def _layout(spec: ConvSpec) -> GemmWeightLayout:
    batch, depth, rows, columns = _spans(spec)
    lanes = host_target().lanes(REGISTER_BYTES[spec.dtype])
    inputs = spec.in_channels // spec.groups
    while lanes > 4 and inputs <= lanes // 2:
        lanes //= 2
    return best_gemm_layout(
        GemmWeightProblem(
            batch=batch,
            groups=spec.groups,
            inputs=inputs,
            outputs=spec.out_channels // spec.groups,
            depth=depth,
            rows=rows,
            columns=columns,
            channels_last=spec.layout == "channels_last",
            dtype=spec.dtype,
            lanes=lanes,
            registers=32 if host_target().vector_bits == 512 else 16,
        )
    )


def _spans(spec: ConvSpec) -> tuple[int, Span, Span, Span]:
    """Batch size and three spans; all pixels that a pointwise convolution maps alike are a row."""
    whole = spec.output_size == spec.input_size and not any(low for low, _ in spec.padding)
    if spec.taps == 1 and whole and set(spec.stride) == {1}:
        last = spec.layout == "channels_last"
        pixels = prod(spec.input_size) * (spec.batch if last else 1)
        return 1 if last else spec.batch, Span(), Span(), Span(pixels, pixels)
    depth, rows, columns = (*[Span()] * (3 - spec.dims), *map(span_of, spec.axes))
    return spec.batch, depth, rows, columns


ALGORITHM = WeightGemmCpu()
