"""The gradient of the weight by Winograd's filtering: a quarter of the multiplications.

    gw = Gᵀ [ Σ_tiles (A gy Aᵀ) ⊙ (Bᵀ x B) ] G            ⊙ is element by element

The forward convolution of a tile, y = Aᵀ [(G w Gᵀ) ⊙ (Bᵀ x B)] A, is linear in w, and this is the
transpose of that map: 36 products instead of 144 for the 4 × 4 tiles of 3 × 3 taps, an input and an
output channel. For each product, the sum over all tiles is a matrix product of the two. Tiles may
be of other sizes, and different along rows and columns.

Used for dense and grouped layers of many channels and stride 1, with windows of 2 to 6 taps along
rows, columns or both, in 1-D to 3-D and both memory layouts; channels-last images give a
channels-last gradient. Same bits for any number of threads. Rounding errors are larger than a
direct sum's by what the tiles make of them (docs/design/008-winograd.md), and `accuracy="exact"`
never uses any. An infinite or NaN number makes NaN of all taps that its tile meets.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", arXiv 1509.09308; for
the transpose Blahut, "Fast Algorithms for Signal Processing", 2010, section 5.6.
"""

import torch
from torch import Tensor

from ....lang.compile import Compiled, compiled
from ....lang.target import host_target
from ....machine import Machine
from ....parts import interleave, taps, transpose
from ....parts.weights import taps as tap_groups
from ....parts.weights import winograd, winograd_layout
from ....parts.weights.winograd_cutting import best_winograd_layout, busy
from ....parts.weights.winograd_layout import WinogradWeightLayout, WinogradWeightProblem
from ....parts.winograd import strips as winograd_strips
from ....parts.winograd import tiles as winograd_tiles
from ....parts.winograd import transforms as winograd_transforms
from ....parts.winograd.tiles import PlainAxis
from ....planning import Algorithm, Run
from ...calling import allocator
from ...geometry import Axis
from ...layouts import laid_out
from ...scratch import scratch_bytes, with_scratch
from ..parted import added
from ..refusals import REGISTER_BYTES, weight_refusals
from ..spec import ConvSpec

_CALL_SECONDS = 10e-6
_PARTS = (interleave, tap_groups, taps, transpose, winograd, winograd_layout, winograd_strips,
          winograd_tiles, winograd_transforms)  # fmt: skip
_SOURCES = [__file__, *(str(part.__file__) for part in _PARTS)]


class WeightWinogradCpu(Algorithm):
    """Fewer multiplications, vectors along the input channels."""

    tasks = frozenset({"grad_weight"})
    error_factor = 3.0

    def unsupported(self, spec: ConvSpec) -> list[str]:
        """Strides, and windows for which no exact enough tiles are known."""
        reasons = weight_refusals(spec)
        if max(spec.stride) > 1:
            reasons.append(f"needs stride 1, has {_times(spec.stride)}")
        if not reasons and _best(spec, 1) is None:
            window, size = _times(spec.kernel_size), _times(spec.output_size)
            reasons.append(
                f"knows no tiles for a window of {window} taps and {spec.batch} images of {size} "
                f"that round at most {self.error_factor:g} times as much as a direct sum"
            )
        return reasons

    def seconds(self, spec: ConvSpec, machine: Machine) -> float:
        """The cycles that transforms and products take, or the bytes at memory speed if longer."""
        per_cycle = 4 * host_target().vector_bits / 32  # operations of two multiply-adds on vectors
        layout = _layout(spec, machine.cores)
        clock = machine.peak / machine.cores / per_cycle
        computing = layout.cycles / busy(layout, machine.cores) / clock
        return _CALL_SECONDS + max(computing, spec.bytes / machine.bandwidth)

    def workspace(self, spec: ConvSpec) -> int:
        """Every thread's block, and the parts of the sum where there are several."""
        layout = _layout(spec, torch.get_num_threads())
        item_size = layout.problem.item_size
        parts = layout.parts * layout.problem.numbers if layout.parts > 1 else 0
        return scratch_bytes(item_size, *layout.scratch) + parts * item_size

    def build(self, spec: ConvSpec) -> Run:
        """`run(x, gy)`."""
        first = _layout(spec, torch.get_num_threads())
        wide: torch.dtype = getattr(torch, first.problem.wide_dtype)
        factors = torch.tensor([float(c) for c in first.factors], dtype=wide)
        order = "channels_last" if spec.layout == "channels_last" else "contiguous"
        make = allocator(spec.w_shape, first.problem.wide_dtype, order)
        several = allocator((first.parts, first.problem.numbers), str(wide)[6:], "contiguous")
        routines: dict[int, Compiled] = {}

        def routine_for(threads: int) -> Compiled:
            # how the channels are shared out changes no result
            if (found := routines.get(threads)) is None:
                found = routines[threads] = self._compiled(_layout(spec, threads))
            return found

        def run(x: Tensor, gy: Tensor) -> Tensor:
            x, gy = laid_out(x, order), laid_out(gy, order)
            gw, threads = make(), torch.get_num_threads()
            made, routine = gw if first.parts == 1 else several(), routine_for(threads)
            routine(threads, made.data_ptr(), x.data_ptr(), gy.data_ptr(), factors.data_ptr())
            if made is not gw:
                gw = added(made).as_strided(gw.shape, gw.stride())
            return gw.to(x.dtype)

        routine_for(torch.get_num_threads())
        return run

    def _compiled(self, layout: WinogradWeightLayout) -> Compiled:
        return with_scratch(compiled(
            f"{self.name} {layout.problem} {layout.cutting}", winograd.BUFFERS,
            lambda: winograd.WinogradWeightRoutine(layout).r, sources=_SOURCES,
        ))  # fmt: skip


def _best(spec: ConvSpec, threads: int) -> WinogradWeightLayout | None:
    missing = 3 - spec.dims
    deep, tall, across = (*[PlainAxis()] * missing, *map(_plain, spec.axes))
    lanes = host_target().lanes(REGISTER_BYTES[spec.dtype])
    while lanes > 4 and spec.in_channels // spec.groups <= lanes // 2:
        lanes //= 2
    problem = WinogradWeightProblem(
        spec.batch, spec.groups, spec.in_channels // spec.groups, spec.out_channels // spec.groups,
        deep, tall, across, spec.dtype, spec.layout == "channels_last", lanes,
        registers=32 if host_target().vector_bits == 512 else 16,
    )  # fmt: skip
    return best_winograd_layout(problem, WeightWinogradCpu.error_factor, threads)


def _layout(spec: ConvSpec, threads: int) -> WinogradWeightLayout:
    layout = _best(spec, threads)
    if layout is None:
        raise ValueError(f"no tiles are known for {spec}")
    return layout


def _plain(axis: Axis) -> PlainAxis:
    dilation = axis.dilation if axis.kernel_size > 1 else 1
    return PlainAxis(axis.input_size, axis.output_size, axis.kernel_size, axis.padding[0], dilation)


def _times(sizes: tuple[int, ...]) -> str:
    return "×".join(map(str, sizes))


ALGORITHM = WeightWinogradCpu()
