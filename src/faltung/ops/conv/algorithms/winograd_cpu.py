"""Winograd's minimal filtering: convolution of stride 1 with a quarter of the multiplications.

    Y = Aᵀ [ Σ_c (G w Gᵀ) ⊙ (Bᵀ x B) ] A         tile by tile; ⊙ is element by element

A tile of m × m outputs of r × r taps takes (m + r − 1)² products of each input channel and each
output channel instead of m²r², at the cost of transforms that all channels share: 36 instead of 144
for the 4 × 4 tiles of 3 × 3 taps. Blocks of tiles are transformed, multiplied and transformed back
before the next, so that what lies between stays in the second cache. Tiles may be of other sizes,
and different along rows and columns, for what fits the image and the cache; a 1-D convolution has
tiles of one row, and a 3-D one sums the taps of its depth before it transforms back. With dilation,
the outputs of each residue are a convolution of their own, and it is all index arithmetic.

The gradient of the input is a convolution as well, of the output's gradient with the weight turned
round: the q = i + low − t·d that it sums are q = i − low' + t'·d with t' = K − 1 − t and
low' = d·(K − 1) − low.

Rounding errors are larger than a direct sum's. With well-chosen points of interpolation they stay
below three times as large (docs/design/008-winograd.md); tiles that would exceed that are not used,
and `accuracy="exact"` never uses any. An infinite or NaN input makes all outputs of its tiles NaN,
not only those that see it.

Used for windows of 2 to 6 taps along rows, columns or both, dense and grouped. Not for other
strides, nor for one or two channels a group, of which a direct sum is more exact.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", arXiv 1509.09308.
"""

import torch
from torch import Tensor

from ....lang.compile import Compiled, compiled
from ....lang.target import host_target, unavailable
from ....machine import Machine, this_machine
from ....parts import activation, taps, transpose
from ....parts.winograd import problem as winograd_problem
from ....parts.winograd import routine as winograd_routine
from ....parts.winograd import strips as winograd_strips
from ....parts.winograd import tiles as winograd_tiles
from ....parts.winograd import transforms as winograd_transforms
from ....parts.winograd.cutting import Core, busy, cut, cycles, shared
from ....parts.winograd.problem import Layout, Problem
from ....parts.winograd.tiles import PlainAxis
from ....parts.winograd.weights import transformed_weight
from ....planning import Algorithm, Run
from ...geometry import Axis
from ...packed import Packed
from ..spec import ConvSpec

_DTYPES = ("float32", "float64", "bfloat16", "float16")
_NEAR = 1 << 20  # bytes of a second cache, where the system does not say
_CALL_SECONDS = 8e-6
_BESIDES = 1.1  # cycles as they were seen, to those that are counted
_PARTS = (activation, taps, transpose, winograd_problem, winograd_routine, winograd_strips,
          winograd_tiles, winograd_transforms)  # fmt: skip


class WinogradCpu(Algorithm):
    """Dense and grouped, stride 1, fewer multiplications."""

    tasks = frozenset({"forward", "grad_input"})
    error_factor = 3.0

    def unsupported(self, spec: ConvSpec) -> list[str]:
        """Strides, pointwise filters, and windows for which no exact enough tiles are known."""
        reasons = []
        if spec.dtype not in _DTYPES:
            reasons.append(f"needs one of {', '.join(_DTYPES)}, has {spec.dtype}")
        if any(s != 1 for s in spec.stride):
            reasons.append(f"needs stride 1, has {_times(spec.stride)}")
        if spec.layout == "channels_last" and spec.dims == 1:
            reasons.append("needs a contiguous signal, has channels_last")
        if spec.padding_mode != "zeros" and any(map(any, spec.padding)):
            reasons.append(f"pads with zeros only, not {spec.padding_mode}")
        if not spec.in_channels or not all(spec.input_size):
            size = _times(spec.input_size)
            reasons.append(f"needs an input, has {spec.in_channels} channels of {size}")
        if (missing := unavailable()) is not None:
            reasons.append(missing)
        window = spec.kernel_size[-2:]
        if set(window) == {1}:
            reasons.append(f"saves nothing for a window of {_times(window)} taps")
        elif not reasons and _cut(spec) is None:
            reasons.append(
                f"knows no tiles for a window of {_times(window)} taps, {_problem(spec).inputs} "
                f"channels a group and {_times(spec.result_shape[2:])} results that round at most "
                f"{self.error_factor:g} times as much as a direct sum"
            )
        return reasons

    def seconds(self, spec: ConvSpec, machine: Machine) -> float:
        """The cycles that all passes over a block take, and the memory traffic beyond."""
        per_cycle = 4 * host_target().vector_bits / 32  # operations of two multiply-adds on vectors
        core = Core(_near(machine), machine.bandwidth * per_cycle / machine.peak)
        layout = shared(_layout(spec), core, machine.cores)
        clock = machine.peak / machine.cores / per_cycle
        computing = _BESIDES * cycles(layout, core) / clock
        return _CALL_SECONDS + computing / busy(layout, machine.cores)

    def workspace(self, spec: ConvSpec) -> int:
        """The transformed weight, and every thread's block."""
        layout = _layout(spec)
        own = torch.get_num_threads() * sum(layout.scratch)
        return (layout.weights + own) * layout.problem.item_size

    def build(self, spec: ConvSpec) -> Run:
        """`run(x, w, bias=None)`."""
        layout = _layout(spec)
        shape, order, dtype = spec.result_shape, _memory_format(spec), getattr(torch, spec.dtype)
        wide = getattr(torch, layout.problem.wide_dtype)
        factors = torch.tensor([float(c) for c in layout.factors], dtype=wide)
        packed = Packed(lambda w: transformed_weight(layout, _turned(spec, w)))
        routines: dict[int, Compiled] = {}

        def routine_for(threads: int) -> Compiled:
            # how the work is shared out changes no result
            if (found := routines.get(threads)) is None:
                core = Core(_near(this_machine()))
                found = routines[threads] = self._compiled(shared(layout, core, threads))
            return found

        def run(x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
            y = torch.empty(shape, dtype=dtype, memory_format=order)
            threads = torch.get_num_threads()
            scratch = [torch.empty(threads * count, dtype=wide) for count in layout.scratch]
            given = [y, x.contiguous(memory_format=order), packed(w), factors, *scratch]
            if bias is not None:
                given.append(bias.contiguous())
            routine_for(threads)(threads, *[t.data_ptr() for t in given])
            return y

        routine_for(torch.get_num_threads())
        return run

    def _compiled(self, layout: Layout) -> Compiled:
        problem = layout.problem
        return compiled(
            f"{self.name} {problem} {layout.cutting}", winograd_routine.BUFFERS + problem.bias,
            lambda: winograd_routine.winograd_routine(layout),
            sources=[__file__, *(str(part.__file__) for part in _PARTS)],
        )  # fmt: skip


def _cut(spec: ConvSpec) -> Layout | None:
    """How the work is cut; from what the machine is, and not from how fast it was seen to be.

    Another measurement must not lead to other tiles, whose results differ in the last bits.
    """
    return cut(_problem(spec), WinogradCpu.error_factor, Core(_near(this_machine())))


def _layout(spec: ConvSpec) -> Layout:
    layout = _cut(spec)
    if layout is None:
        raise ValueError(f"no tiles are known for {spec}")
    return layout


def _near(machine: Machine) -> int:
    """Bytes of the second cache."""
    return dict(machine.caches).get("L2", _NEAR)


def _problem(spec: ConvSpec) -> Problem:
    """The spec's task as a convolution; in fewer dimensions the first axes have size 1."""
    forward = spec.task == "forward"
    depth, high, wide = (
        *[PlainAxis()] * (3 - spec.dims), *(_plain(axis, forward=forward) for axis in spec.axes)
    )  # fmt: skip
    inputs, outputs = spec.in_channels // spec.groups, spec.out_channels // spec.groups
    if not forward:
        inputs, outputs = outputs, inputs
    return Problem(
        spec.batch, spec.groups, inputs, outputs, depth, high, wide, spec.dtype,
        last=spec.layout == "channels_last", bias=spec.bias, activation=spec.activation,
    )  # fmt: skip


def _plain(axis: Axis, *, forward: bool) -> PlainAxis:
    """An axis of the task's convolution."""
    dilation = axis.dilation if axis.kernel_size > 1 else 1
    sizes, low = (axis.input_size, axis.output_size), axis.padding[0]
    if not forward:
        sizes, low = sizes[::-1], dilation * (axis.kernel_size - 1) - low
    return PlainAxis(*sizes, axis.kernel_size, low, dilation)


def _turned(spec: ConvSpec, w: Tensor) -> Tensor:
    """The weight as [groups · outputs, inputs, depth, high, wide] of the task's convolution."""
    kernel = (*(1,) * (3 - spec.dims), *spec.kernel_size)
    if spec.task == "forward":
        return w.reshape(spec.out_channels, -1, *kernel)
    grouped = w.reshape(spec.groups, spec.out_channels // spec.groups, -1, *kernel)
    return grouped.transpose(1, 2).flip(3, 4, 5).reshape(spec.in_channels, -1, *kernel)


def _memory_format(spec: ConvSpec) -> torch.memory_format:
    if spec.layout != "channels_last":
        return torch.contiguous_format
    return torch.channels_last if spec.dims == 2 else torch.channels_last_3d


def _times(sizes: tuple[int, ...]) -> str:
    return "×".join(map(str, sizes))


ALGORITHM = WinogradCpu()
