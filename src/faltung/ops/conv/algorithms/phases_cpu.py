"""Transposed convolution, and the gradient of the input, phase by phase.

    gx[first + s·k, c] = b[c] + Σ_{j, o} w[o, c, tap_j] · gy[k + base + j·d/g, o]

Results that are a stride apart use the same taps, so they are an ordinary convolution of gy with a
part of the weight; there are ∏s of them, together with as many multiply-adds as the convolution
itself. Nothing is written twice or added up in memory, and there is no matrix of columns.

Vectors run along the result's channels, of which the weight is packed phase by phase. A tile of
neighbouring results of one phase × vectors of channels lives in registers over the whole sum; each
term takes one number of gy for each of them, spread over the lanes. The part of gy that a block of
results reads is copied to a panel first, channels last, with zeros where there is padding. Turns of
a phase that reach nothing but padding are left out by the bounds of the loops.

Channels-last results are stored from the tile. Contiguous ones wait in lines of the thread's own
until all phases of a strip of a row are there, side by side, and are transposed from there: so
stores are whole vectors whatever the stride. Where there are few channels and many phases (the
inverse of a short-time Fourier transform), the phases of a row lie side by side in the vectors.

Used for dense and grouped convolution in 1-D to 3-D, every stride, dilation, padding and result
size. Not for few channels a group, which leave most lanes empty.
"""

from collections.abc import Callable
from itertools import product
from math import prod

import torch
from torch import Tensor

from ....lang.compile import compiled
from ....lang.target import host_target
from ....machine import Machine, this_machine
from ....parts import activation, transpose
from ....parts.gemm import gather_panel, sharing
from ....parts.gemm import tile as gemm_tile
from ....parts.phases import classes as phases
from ....parts.phases import layout as phase_layout
from ....parts.phases import panel as phase_panel
from ....parts.phases import routine as phase_routine
from ....parts.phases import tiling as phase_tiling
from ....parts.phases.classes import PhaseAxis
from ....parts.phases.layout import PhaseLayout
from ....parts.phases.routine import PhaseRoutine
from ....parts.phases.tiling import PhaseProblem, SideBySide
from ....planning import Algorithm, Run
from ...calling import allocator, launcher
from ...packed import packer
from ...rearranged import Rearranged
from ...scratch import scratch_bytes, with_scratch
from ..refusals import REGISTER_BYTES, refusals
from ..spec import ConvSpec

_SECOND_CACHE = 1 << 20  # bytes, where the system does not say
_WORTHWHILE = 1.3  # how many more lanes phases must fill to lie side by side
# how much faster PyTorch is than it estimates for matrices of bfloat16, which some processors
# multiply in hardware; an honest estimate of ours would be preferred where it is the slower
_HARDWARE_BFLOAT16 = {"contiguous": 2.0, "channels_last": 4.0}

_WRITING = 1.0  # of copying: what writing results far apart takes besides computing them
# Bytes of a signal that are seldom near when a layer begins, and seconds for each of its lines: 0.9
# ms when it was near and 3.3 when not, for 64 channels of 12800 (docs/design/009).
_FAR, _FETCHING = 2 << 20, 10e-9
_CALL_SECONDS = 6e-6
_PARTS = (
    activation, gather_panel, gemm_tile, phase_layout, phase_panel, phase_routine, phase_tiling,
    phases, sharing, transpose,
)  # fmt: skip


class PhasesCpu(Algorithm):
    """Dense and grouped, as one matrix product for each phase."""

    tasks = frozenset({"grad_input"})

    def unsupported(self, spec: ConvSpec) -> list[str]:
        """Anything but images of floating-point numbers in one of the two orders."""
        reasons = refusals(spec, ["contiguous", "channels_last"])
        if 0 in (spec.in_channels, *spec.input_size):
            reasons.append(f"has nothing to compute: the result is {spec.x_shape}")
        return reasons

    def seconds(self, spec: ConvSpec, machine: Machine) -> float:
        """The cycles that tiles and panels take, or the bytes at memory speed if that is slower."""
        per_cycle = 4 * host_target().vector_bits / 32  # operations of two multiply-adds on vectors
        problem = _problem(spec)
        cycles = PhaseLayout(problem).tiling.last * problem.cores
        computing = cycles * per_cycle / machine.peak
        modesty = 1.0
        if spec.dtype == "bfloat16" and spec.groups == 1:
            modesty = _HARDWARE_BFLOAT16[spec.layout]
        found = max(computing, spec.bytes / machine.bandwidth)
        written = prod(spec.x_shape) * spec.item_size
        if spec.layout == "contiguous" and written > dict(machine.caches).get("L2", _SECOND_CACHE):
            found += _WRITING * written / machine.bandwidth  # in as many places as channels
        read = prod(spec.y_shape) * spec.item_size
        if spec.layout == "contiguous" and spec.dims == 1 and read > _FAR:
            found += _FETCHING * read / 64  # long rows, of which each turn reads a line
        return _CALL_SECONDS + modesty * found

    def preparing(self, spec: ConvSpec, machine: Machine) -> float:
        """Packing a weight in two copies of long rows, or in many of short ones."""
        first, each = (60e-6, 1.0e-9) if _is_even(PhaseLayout(_problem(spec))) else (0.2e-3, 15e-9)
        return first + each * spec.parameters

    def workspace(self, spec: ConvSpec) -> int:
        """The packed weight, and every thread's panel and lines."""
        layout = PhaseLayout(_problem(spec))
        item_size = layout.problem.item_size
        own = scratch_bytes(item_size, layout.panel.numbers, layout.line_numbers)
        return layout.packed_numbers * item_size + own

    def build(self, spec: ConvSpec) -> Run:
        """`run(gy, w, bias=None)`."""
        layout = PhaseLayout(_problem(spec))
        routine = with_scratch(compiled(
            f"{self.name} {spec} {layout.tiling}", 3 + spec.bias, lambda: PhaseRoutine(layout).r,
            sources=[__file__, *(str(part.__file__) for part in _PARTS)],
        ))  # fmt: skip
        make = allocator(spec.x_shape, spec.dtype, spec.layout)
        launch = launcher(routine, 2 * spec.executed_macs, spec.bytes)
        pack = packer(_packing(layout, _wide(spec)))

        def run(gy: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
            gx, packed = make(), pack(w)
            if bias is None:
                launch(gx.data_ptr(), gy.data_ptr(), packed.data_ptr())
            else:
                given = _for_all_phases(layout.problem, bias)
                launch(gx.data_ptr(), gy.data_ptr(), packed.data_ptr(), given.data_ptr())
            return gx

        return run


def _wide(spec: ConvSpec) -> torch.dtype:
    return torch.float64 if spec.dtype == "float64" else torch.float32


def _problem(spec: ConvSpec) -> PhaseProblem:
    """Leading axes that a spec has not have size 1."""
    one = PhaseAxis(1, 1, 1, 0, 1, 1)
    found = (
        PhaseAxis(a.input_size, a.kernel_size, a.stride, a.padding[0], a.dilation, a.output_size)
        for a in spec.axes
    )
    depth, high, wide = (*[one] * (3 - spec.dims), *found)
    most = host_target().lanes(REGISTER_BYTES[spec.dtype])
    channels, side = spec.in_channels // spec.groups, None
    flat = _side_by_side(spec, wide, most)
    if flat and _filled(flat[0].unit, most) > _WORTHWHILE * _filled(channels, most):
        side, wide = flat
        channels = side.padded if spec.layout == "channels_last" else side.padded * channels
    lanes = most
    while lanes > 4 and channels <= lanes // 2:
        lanes //= 2
    machine = this_machine()
    return PhaseProblem(
        axes=(depth, high, wide), batch=spec.batch, groups=spec.groups, channels=channels,
        terms=spec.out_channels // spec.groups, dtype=spec.dtype,
        last=spec.layout == "channels_last", bias=spec.bias, activation=spec.activation,
        side=side, lanes=lanes, item_size=REGISTER_BYTES[spec.dtype], cores=machine.cores,
        cache=dict(machine.caches).get("L2", _SECOND_CACHE),
    )  # fmt: skip


def _filled(channels: int, lanes: int) -> float:
    """The part of all lanes that so many channels use."""
    return channels / (-(-channels // lanes) * lanes)


def _side_by_side(
    spec: ConvSpec, wide: PhaseAxis, lanes: int
) -> tuple[SideBySide, PhaseAxis] | None:
    """The phases of a row as channels, where they all have equally many taps and neighbours."""
    last, stride = spec.layout == "channels_last", wide.stride
    if wide.kernel_size % stride or wide.dilation > 1 or wide.low < 0 or (last and spec.groups > 1):
        return None
    numbers = spec.in_channels if last else 1  # of a place in a row
    first, end = wide.low // stride, (wide.results - 1 + wide.low) // stride + 1
    unit = stride * numbers
    side = SideBySide(
        unit=unit, padded=-(-unit // lanes) * lanes, shift=(first * stride - wide.low) * numbers,
        length=wide.results * numbers,
    )  # fmt: skip
    return side, PhaseAxis(end - first, wide.kernel_size // stride, 1, first, 1, wide.sources)


def _for_all_phases(problem: PhaseProblem, bias: Tensor) -> Tensor:
    """The bias of each of the problem's channels."""
    side = problem.side
    if side is None:
        return bias.contiguous()
    if not problem.last:
        return bias.repeat_interleave(side.padded)
    repeated = bias.repeat(side.unit // len(bias))
    return torch.nn.functional.pad(repeated, (0, side.padded - side.unit))


def _packing(layout: PhaseLayout, wide: torch.dtype) -> Callable[[Tensor], Tensor]:
    """What packs a weight: in two copies of long rows, where all channels are in whole blocks."""
    problem = layout.problem
    if not _is_even(layout):
        return lambda w: _packed(layout, w.to(wide))
    # by group, block and tap first; then each phase and turn takes its tap, or zeros
    taps = prod(axis.kernel_size for axis in problem.axes)
    sizes = (problem.groups, problem.terms, layout.blocks, layout.width, taps)
    turn = Rearranged(sizes, (0, 2, 4, 1, 3))
    places = torch.tensor(_taps(problem))
    none = (places < 0).nonzero()[:, 0]
    places = places.clamp(min=0)
    shape = (problem.groups, layout.blocks, len(places), problem.terms, layout.width)
    make = allocator(shape, str(wide).removeprefix("torch."), "contiguous")

    def packed(w: Tensor) -> Tensor:
        found = torch.index_select(turn(w), 2, places, out=make())
        return found.index_fill_(2, none, 0) if len(none) else found

    return packed


def _is_even(layout: PhaseLayout) -> bool:
    """Whether all channels are in whole blocks, and phases are not among them."""
    return not layout.problem.side and layout.problem.channels % layout.width == 0


def _taps(problem: PhaseProblem) -> list[int]:
    """The tap of each phase and turn, by its number in the window; -1 where there is none."""
    along = []
    for axis in problem.axes:
        found = []
        for first in range(axis.phases):
            residue = axis.phase(first).residue
            turns = [turn * axis.period + residue for turn in reversed(range(axis.turns))]
            found.append([tap if tap < axis.kernel_size else -1 for tap in turns])
        along.append(found)
    high, wide = (axis.kernel_size for axis in problem.axes[1:])
    return [
        -1 if min(d, h, w) < 0 else (d * high + h) * wide + w
        for phases in product(*along)
        for d, h, w in product(*phases)
    ]


def _packed(layout: PhaseLayout, w: Tensor) -> Tensor:
    """The weight by groups, blocks of channels, phases and turns, as numbers in registers."""
    problem = layout.problem
    if problem.side:
        w = _phases_as_channels(problem, problem.side, w)
    kernel = [axis.kernel_size for axis in problem.axes]
    w = w.reshape(problem.groups, problem.terms, problem.channels, *kernel)
    padded = [axis.period * axis.turns - axis.kernel_size for axis in reversed(problem.axes)]
    missing = layout.blocks * layout.width - problem.channels
    w = torch.nn.functional.pad(w, [n for size in (*padded, missing) for n in (0, size)])
    apart = [n for axis in problem.axes for n in (axis.turns, axis.period)]
    w = w.reshape(problem.groups, problem.terms, layout.blocks, layout.width, *apart)
    w = w.flip(4, 6, 8)
    for place, axis in zip((5, 7, 9), problem.axes, strict=True):  # phases as they are computed
        residues = [axis.phase(first).residue for first in range(axis.phases)]
        w = w.index_select(place, torch.tensor(residues))
    return w.permute(0, 2, 5, 7, 9, 4, 6, 8, 1, 3).contiguous()


def _phases_as_channels(problem: PhaseProblem, side: SideBySide, w: Tensor) -> Tensor:
    """[O, C/G, …, K] turned into [O, channels, …, K/s]."""
    turns = problem.axes[2].turns
    w = w.reshape(*w.shape[:-1], turns, -1)  # tap s·j + phase
    if problem.last:
        w = w.movedim(-1, 1).flatten(1, 2)  # phase, channel
        return torch.nn.functional.pad(w, (0, 0) * (w.dim() - 2) + (0, side.padded - side.unit))
    w = torch.nn.functional.pad(w, (0, side.padded - side.unit))
    return w.movedim(-1, 2).flatten(1, 2)  # channel, phase


ALGORITHM = PhasesCpu()
