"""Winograd's minimal filtering: convolution with a quarter of the multiplications.

    Y = Aᵀ [ Σ_c (G w Gᵀ) ⊙ (Bᵀ x B) ] A         tile by tile; ⊙ is element by element

A tile of m × m outputs of r × r taps takes (m + r − 1)² products of each input channel and each
output channel instead of m²r², at the cost of transforms that all channels share: 36 instead of 144
for the 4 × 4 tiles of 3 × 3 taps. Blocks of tiles are transformed, multiplied and transformed back
before the next, so that what lies between stays in the second cache. Tiles may be of other sizes,
and different along rows and columns, for what fits the image and the cache; a 1-D convolution has
tiles of one row, and a 3-D one sums the taps of its depth before it transforms back. With dilation,
the outputs of each residue are a convolution of their own, and it is all index arithmetic.

The gradient of the input is a convolution as well, of the output's gradient with the weight turned
round; with a stride of s it is one of s times as many channels along that axis, whose outputs lie
between each other (`parts/phases/placing.py`). A transposed convolution of 4 × 4 taps and stride 2
is one of 2 × 2 taps so, and takes 16 products for 9 × 4 results instead of 4 each.

Rounding errors are larger than a direct sum's. With well-chosen points of interpolation they stay
below three times as large (docs/design/008-winograd.md); tiles that would exceed that are not used,
and `accuracy="exact"` never uses any. An infinite or NaN input makes all outputs of its tiles NaN,
not only those that see it.

A convolution with a stride of s has a transform of its own (`parts/winograd/transforms.py`); or,
where s divides the kernel, it is one of s times as many input channels and as many times fewer
taps, likewise (`parts/phases/gathering.py`). Filters of 7 and more taps along a row are sums of
such of 3 or 4 taps (`parts/winograd/tiles.py`): 21 products for 44 with 11 taps.

Used for windows of 2 to 6 taps along rows, columns or both, and longer ones along rows alone,
dense and grouped, where strides count as so many times fewer taps. Not for one or two channels a
group, of which a direct sum is more exact, nor for strides together with dilations.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", arXiv 1509.09308.
"""

from math import gcd, prod

import torch
from torch import Tensor

from ....lang.compile import Compiled, compiled
from ....lang.target import host_target, unavailable
from ....machine import Machine, this_machine
from ....parts import activation, taps, transpose
from ....parts.gemm import gather_panel
from ....parts.phases import classes as phases
from ....parts.phases import gathering, placing
from ....parts.phases.classes import PhaseAxis
from ....parts.phases.gathering import GatheredAxis, Gathering, gathered
from ....parts.phases.placing import PlacedAxis, Placing, placed
from ....parts.winograd import problem as winograd_problem
from ....parts.winograd import routine as winograd_routine
from ....parts.winograd import strips as winograd_strips
from ....parts.winograd import tiles as winograd_tiles
from ....parts.winograd import transforms as winograd_transforms
from ....parts.winograd.cutting import Core, busy, cut, cycles, shared
from ....parts.winograd.problem import Layout, Problem
from ....parts.winograd.tiles import PlainAxis
from ....parts.winograd.weights import square_numbers
from ....planning import Algorithm, Run
from ...calling import allocator
from ...geometry import Axis
from ...packed import packer
from ...scratch import scratch_bytes, with_scratch
from ..spec import ConvSpec
from ..transformed_filters import TransformedFilters

_DTYPES = ("float32", "float64", "bfloat16", "float16")
_NEAR = 1 << 20  # bytes of a second cache, where the system does not say
_CALL_SECONDS = 8e-6
_WEIGHT_SECONDS = 20e-6  # to transform a weight, and so many times
_WRITING = 2.0  # what it takes to copy as much as the transformed one,
_REARRANGING = 20e-9  # besides what a number takes that has to be put elsewhere first
_BESIDES = 1.1  # cycles as they were seen, to those that are counted,
_WARMTH = 0.65  # of the speed of copying: weights, which come from memory in a network;
_LUKEWARM = 0.7  # or, so that tiles suit both, do not always
_PLACING = 1.1  # and where results of phases are put to their places, or inputs gathered
_GATHERING = 1.3
_WORTHWHILE = 1.3  # how many more lanes phases must fill to lie side by side
_PARTS = (activation, gather_panel, gathering, phases, placing, taps, transpose, winograd_problem,
          winograd_routine, winograd_strips, winograd_tiles, winograd_transforms)  # fmt: skip


class WinogradCpu(Algorithm):
    """Dense and grouped, fewer multiplications."""

    tasks = frozenset({"forward", "grad_input"})
    error_factor = 3.0

    def unsupported(self, spec: ConvSpec) -> list[str]:
        """Pointwise filters, and windows for which no exact enough tiles are known."""
        reasons = []
        if spec.dtype not in _DTYPES:
            reasons.append(f"needs one of {', '.join(_DTYPES)}, has {spec.dtype}")
        if mixed := _mixed(spec):
            reasons.append(f"needs dilation 1 with such strides, has {_times(mixed)}")
        if spec.layout == "channels_last" and spec.dims == 1:
            reasons.append("needs 2 or 3 dimensions to be channels last, has 1")
        if spec.padding_mode != "zeros" and any(map(any, spec.padding)):
            reasons.append(f"pads with zeros only, not {spec.padding_mode}")
        if not spec.in_channels or not all(spec.input_size):
            size = _times(spec.input_size)
            reasons.append(f"needs an input, has {spec.in_channels} channels of {size}")
        if (missing := unavailable()) is not None:
            reasons.append(missing)
        window = _window(spec)
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
        core = Core(_near(machine), machine.bandwidth * per_cycle / machine.peak, _WARMTH)
        layout = shared(_layout(spec), core, machine.cores)
        clock = machine.peak / machine.cores / per_cycle
        besides = _BESIDES * (_PLACING if layout.problem.outlet else 1.0)
        if layout.problem.inlet and spec.dims > 1:
            besides *= _GATHERING
        computing = besides * cycles(layout, core) / clock
        added = prod(spec.result_shape) * spec.item_size if spec.residual else 0
        moving = machine.moving(added)
        return _CALL_SECONDS + moving + computing / busy(layout, machine.cores)

    def preparing(self, spec: ConvSpec, machine: Machine) -> float:
        """Writing the transformed weight; and before, where it is another one's, rearranging it."""
        layout = _layout(spec)
        written = layout.weights * layout.problem.item_size
        rearranged = _REARRANGING * spec.parameters if max(spec.stride) > 1 else 0.0
        return _WEIGHT_SECONDS + _WRITING * written / machine.bandwidth + rearranged

    def workspace(self, spec: ConvSpec) -> int:
        """The transformed weight, and every thread's block and squares of the weight."""
        layout, threads = _layout(spec), torch.get_num_threads()
        item_size = layout.problem.item_size
        own = scratch_bytes(item_size, *_shared(layout, threads).scratch)
        own += scratch_bytes(item_size, square_numbers(layout))
        return layout.weights * item_size + own

    def adds(self, spec: ConvSpec) -> bool:
        """Where it stores what it computed; not to transposed sums that take long to activate."""
        stays = spec.task == "forward" or max(spec.stride) == 1
        return stays and (spec.layout == "channels_last" or not activation.is_long(spec.activation))

    def build(self, spec: ConvSpec) -> Run:
        """`run(x, w, bias=None, residual=None)`."""
        layout = _layout(spec)
        make = allocator(spec.result_shape, spec.dtype, spec.layout)
        order = _memory_format(spec)
        wide = getattr(torch, layout.problem.wide_dtype)
        factors = torch.tensor([float(c) for c in layout.factors], dtype=wide)
        packed = packer(TransformedFilters(spec, layout))
        outlet = layout.problem.outlet
        routines: dict[int, Compiled] = {}

        def routine_for(threads: int) -> Compiled:
            # how the work is shared out changes no result
            if (found := routines.get(threads)) is None:
                found = routines[threads] = self._compiled(_shared(layout, threads))
            return found

        def run(
            x: Tensor, w: Tensor, bias: Tensor | None = None, residual: Tensor | None = None
        ) -> Tensor:
            y, threads = make(), torch.get_num_threads()
            x, weights = x.contiguous(memory_format=order), packed(w)
            addresses = [y.data_ptr(), x.data_ptr(), weights.data_ptr(), factors.data_ptr()]
            if bias is not None:
                bias = outlet.bias(bias) if outlet else bias.contiguous()
                addresses.append(bias.data_ptr())
            if residual is not None:
                addresses.append(residual.data_ptr())
            routine_for(threads)(threads, *addresses)
            return y

        routine_for(torch.get_num_threads())
        return run

    def _compiled(self, layout: Layout) -> Compiled:
        problem = layout.problem
        return with_scratch(compiled(
            f"{self.name} {problem} {layout.cutting}",
            winograd_routine.BUFFERS + problem.bias + problem.residual,
            lambda: winograd_routine.winograd_routine(layout),
            sources=[__file__, *(str(part.__file__) for part in _PARTS)],
        ))  # fmt: skip


def _cut(spec: ConvSpec) -> Layout | None:
    """How the work is cut; from what the machine is, and not from how fast it was seen to be.

    Another measurement must not lead to other tiles, whose results differ in the last bits.
    """
    core = Core(_near(this_machine()), warmth=_LUKEWARM)
    return cut(_problem(spec), WinogradCpu.error_factor, core, this_machine().cores)


def _shared(layout: Layout, threads: int) -> Layout:
    """The same in blocks that suit so many threads."""
    return shared(layout, Core(_near(this_machine()), warmth=_LUKEWARM), threads)


def _layout(spec: ConvSpec) -> Layout:
    layout = _cut(spec)
    if layout is None:
        raise ValueError(f"no tiles are known for {spec}")
    return layout


def _near(machine: Machine) -> int:
    """Bytes of the second cache."""
    return dict(machine.caches).get("L2", _NEAR)


def _mixed(spec: ConvSpec) -> tuple[int, ...]:
    """Dilations that do not go together with the stride along their axis."""
    pairs = list(zip(spec.stride, spec.dilation, strict=True))
    if spec.task == "forward":
        return tuple(d for d in spec.dilation if d > 1 and max(spec.stride) > 1)
    above = [d for s, d in pairs[:-1] if gcd(s, d) > 1]
    return (*above, *(d for s, d in pairs[-1:] if s > 1 and d > 1))


def _window(spec: ConvSpec) -> tuple[int, ...]:
    """Taps of the task's convolution along the axes that are cut into tiles."""
    return tuple(-(-k // s) for k, s in zip(spec.kernel_size, spec.stride, strict=True))[-2:]


def _problem(spec: ConvSpec) -> Problem:
    """The spec's task as a convolution; in fewer dimensions the first axes have size 1."""
    missing, inlet, outlet = 3 - spec.dims, None, None
    inputs, outputs = spec.in_channels // spec.groups, spec.out_channels // spec.groups
    if spec.task == "forward":
        found = [_plain(axis) for axis in spec.axes]
        if _gathers(spec):
            gathers = [_gathered(axis) for axis in spec.axes]
            found = [plain for plain, _ in gathers]
            first, second, third = (*[GatheredAxis()] * missing, *(axis for _, axis in gathers))
            lanes = host_target().lanes(8 if spec.dtype == "float64" else 4)
            while lanes > 4 and outputs <= lanes // 2:  # as they are cut
                lanes //= 2
            inlet = Gathering(
                (first, second, third), spec.groups, inputs, lanes, spec.layout == "channels_last"
            )
            inputs = inlet.inputs
    else:
        inputs, outputs = outputs, inputs
        both = [placed(_phases(axis)) for axis in spec.axes]
        found = [plain for plain, _ in both]
        if max(spec.stride) > 1:
            depth, high, wide = (*[PlacedAxis()] * missing, *(places for _, places in both))
            outlet = _placing(spec, (depth, high, wide))
            outputs = outlet.outputs
    deep, tall, across = (*[PlainAxis()] * missing, *found)
    return Problem(
        spec.batch, spec.groups, inputs, outputs, deep, tall, across, spec.dtype,
        last=spec.layout == "channels_last", bias=spec.bias, activation=spec.activation,
        outlet=outlet, inlet=inlet, residual=spec.residual,
    )  # fmt: skip


def _plain(axis: Axis) -> PlainAxis:
    """An axis of a convolution."""
    dilation = axis.dilation if axis.kernel_size > 1 else 1
    return PlainAxis(
        axis.input_size, axis.output_size, axis.kernel_size, axis.padding[0], dilation, axis.stride
    )


def _gathers(spec: ConvSpec) -> bool:
    """Whether a convolution with strides is done as one of stride 1 and more channels.

    Where the phases of an axis have different numbers of taps, that would fill them up with zeros;
    where they have the same, it has their products summed in registers.
    """
    pairs = list(zip(spec.kernel_size, spec.stride, strict=True))[-2:]
    return max(spec.stride) > 1 and all(k % s == 0 for k, s in pairs)


def _gathered(axis: Axis) -> tuple[PlainAxis, GatheredAxis]:
    """An axis of a convolution with a stride."""
    return gathered(
        axis.input_size, axis.output_size, axis.kernel_size, axis.stride, axis.padding[0]
    )


def _phases(axis: Axis) -> PhaseAxis:
    """An axis of a transposed convolution."""
    dilation = axis.dilation if axis.kernel_size > 1 else 1
    return PhaseAxis(
        axis.input_size, axis.kernel_size, axis.stride, axis.padding[0], dilation,
        axis.output_size,
    )  # fmt: skip


def _placing(spec: ConvSpec, axes: tuple[PlacedAxis, PlacedAxis, PlacedAxis]) -> Placing:
    """Where results of phases belong, and whether those of a row lie side by side in vectors."""
    lanes = host_target().lanes(8 if spec.dtype == "float64" else 4)
    last, channels, stride = spec.layout == "channels_last", spec.in_channels, spec.stride[-1]
    each, unit = channels // spec.groups, stride * (channels if last else 1)
    beside = stride > 1 and not (last and spec.groups > 1)
    beside = beside and _filled(unit, lanes) > _WORTHWHILE * _filled(each, lanes)
    return Placing(axes, spec.groups, each, lanes, last, beside)


def _filled(channels: int, lanes: int) -> float:
    """The part of all lanes that so many channels use."""
    return channels / (-(-channels // lanes) * lanes)


def _memory_format(spec: ConvSpec) -> torch.memory_format:
    if spec.layout != "channels_last":
        return torch.contiguous_format
    return torch.channels_last if spec.dims == 2 else torch.channels_last_3d


def _times(sizes: tuple[int, ...]) -> str:
    return "×".join(map(str, sizes))


ALGORITHM = WinogradCpu()
