"""Convolution as a matrix product whose right-hand side is never written down.

    y[q, o] = b[o] + Σ_{t, c} x[q·s − low + t·d, c] · w[t, c, o]

A tile of outputs × channels lives in registers over the whole sum. Its vectors run along the output
channels: each term loads their weights, packed so that every load is the next one, and multiplies
them by one number of x for each of the tile's outputs, spread over the lanes, wherever it lies.
So stride and dilation cost nothing, narrow maps waste no lanes, and there is no im2col matrix. In
contiguous images the sums are transposed before they are stored; or, where rows are long and the
stride is 1, vectors run along the row and the weights are what is spread.

Numbers are read from the image itself, or from a panel in the thread's own memory: where pixels or
channels lie too far apart, 16-bit numbers must be widened, or padding be read. Mostly it is not:
kernel planes and rows that a tile sees only padding through are left out by the bounds of loops,
columns by the record. A pointwise convolution is one tap, and all its pixels are one row.

Used for dense and grouped convolution in 1-D to 3-D, every stride, dilation and padding, contiguous
and channels last; other images are copied first. Not for groups of so few channels that most lanes
stay empty. See Chetlur and others, arXiv 1410.0759, section 3, for products without im2col matrix;
Goto and van de Geijn, ACM TOMS 34 (3), 2008, for packing and blocks.
"""

from collections.abc import Callable
from dataclasses import replace
from math import prod

import torch
from torch import Tensor

from ....lang.compile import compiled
from ....lang.target import host_target, unavailable
from ....machine import Machine, this_machine
from ....parts import activation, taps, transpose
from ....parts.gemm import columns as gemm_columns
from ....parts.gemm import gather_panel, sharing
from ....parts.gemm import layout as gemm_layout
from ....parts.gemm import problem as gemm_problem
from ....parts.gemm import results as gemm_results
from ....parts.gemm import routine as gemm_routine
from ....parts.gemm import tile as gemm_tile
from ....parts.gemm import tiling as gemm_tiling
from ....parts.gemm.layout import GemmLayout
from ....parts.gemm.problem import GemmProblem, Span
from ....planning import Algorithm, Run
from ...calling import allocator, launcher
from ...geometry import Axis
from ...packed import packer
from ...padding import pad
from ...rearranged import Rearranged, rearranged_seconds
from ...scratch import scratch_bytes, with_scratch
from ..refusals import REGISTER_BYTES
from ..spec import ConvSpec

_SECOND_CACHE = 1 << 20  # where the system does not say

_CALL_SECONDS = 4e-6
_SHORT = 24  # numbers of a kernel row: panels are made of runs no longer than that
_SHORT_RUNS = 1.3  # times as long as the cycles say, if they are short
_PARTS = (
    activation, gather_panel, gemm_columns, gemm_layout, gemm_problem, gemm_results, gemm_routine,
    gemm_tile, gemm_tiling, sharing, taps, transpose,
)  # fmt: skip
_SOURCES = [__file__, *(str(part.__file__) for part in _PARTS)]


class ImplicitGemmCpu(Algorithm):
    """Dense and grouped, as a matrix product."""

    tasks = frozenset({"forward"})

    def unsupported(self, spec: ConvSpec) -> list[str]:
        """Anything but images of floating-point numbers."""
        reasons = []
        if spec.dtype not in REGISTER_BYTES:
            reasons.append(f"needs one of {', '.join(REGISTER_BYTES)}, has {spec.dtype}")
        if spec.layout == "channels_last" and spec.dims == 1:
            reasons.append("needs 2 or 3 dimensions to be channels last, has 1")
        if (missing := unavailable()) is not None:
            reasons.append(missing)
        return reasons

    def seconds(self, spec: ConvSpec, machine: Machine) -> float:
        """The cycles that tiles and panels take, or the bytes at memory speed if that is slower."""
        per_cycle = 4 * host_target().vector_bits / 32  # operations of two multiply-adds on vectors
        layout = GemmLayout(_problem(_plain(spec)))
        cycles = layout.block.last * layout.problem.cores
        computing = cycles * per_cycle / machine.peak
        if spec.in_channels // spec.groups * spec.kernel_size[-1] <= _SHORT:
            computing *= _SHORT_RUNS
            if spec.groups > 1 and spec.layout == "channels_last":
                computing *= max(spec.stride)  # hardly a number of a cache line is used
        moving = spec.bytes + 2 * _copied(spec)
        # a residual is read where sums are stored, and they wait for it
        waiting = machine.moving(prod(spec.result_shape) * spec.item_size) if spec.residual else 0.0
        return _CALL_SECONDS + waiting + max(computing, moving / machine.bandwidth)

    def preparing(self, spec: ConvSpec, machine: Machine) -> float:
        """The weight in another order."""
        numbers = prod(spec.w_shape)
        copies = 1 if spec.out_channels // spec.groups % 16 == 0 else 3
        return copies * rearranged_seconds(numbers, REGISTER_BYTES[spec.dtype], machine.bandwidth)

    def workspace(self, spec: ConvSpec) -> int:
        """The packed weight, every thread's panel and waiting sums, and a padded image."""
        layout = GemmLayout(_problem(_plain(spec)))
        item_size = REGISTER_BYTES[spec.dtype]
        own = scratch_bytes(item_size, layout.panel_numbers, layout.waiting_numbers)
        return layout.packed_numbers * item_size + own + _copied(spec)

    def adds(self, spec: ConvSpec) -> bool:
        """Where the sums are stored."""
        return True

    def build(self, spec: ConvSpec) -> Run:
        """`run(x, w, bias=None, residual=None)`."""
        plain = _plain(spec)
        layout = GemmLayout(_problem(plain))
        routine = with_scratch(compiled(
            f"{self.name} {layout.problem}", 3 + spec.bias + spec.residual,
            lambda: gemm_routine.gemm_routine(self.name, layout), sources=_SOURCES,
        ))  # fmt: skip
        make = allocator(spec.y_shape, spec.dtype, plain.layout)
        launch = launcher(routine, 2 * plain.executed_macs, plain.bytes)
        pack = packer(_packing(layout))
        arrange = None if spec == plain else _arranging(spec)

        def run(
            x: Tensor, w: Tensor, bias: Tensor | None = None, residual: Tensor | None = None
        ) -> Tensor:
            x = x if arrange is None else arrange(x)
            y, packed = make(), pack(w)
            given = [y.data_ptr(), x.data_ptr(), packed.data_ptr()]
            if bias is not None:
                bias = bias.contiguous()
                given.append(bias.data_ptr())
            if residual is not None:
                given.append(residual.data_ptr())
            launch(*given)
            return y

        return run


def _arranging(spec: ConvSpec) -> Callable[[Tensor], Tensor]:
    """What makes the image of `_plain(spec)` from that of the spec."""
    axes, fills, order = spec.axes, _is_filled(spec), _order(spec)

    def arrange(x: Tensor) -> Tensor:
        return (pad(x, axes) if fills else x).contiguous(memory_format=order)

    return arrange


def _order(spec: ConvSpec) -> torch.memory_format:
    """How the result lies in memory."""
    if spec.layout != "channels_last":
        return torch.contiguous_format
    return torch.channels_last if spec.dims == 2 else torch.channels_last_3d


def _plain(spec: ConvSpec) -> ConvSpec:
    """The spec that remains when what no routine does is done to the image first.

    Values instead of zeros are put around it, and one whose numbers are apart is put together.
    """
    if _is_filled(spec):
        sizes, none = tuple(axis.padded_size for axis in spec.axes), ((0, 0),) * spec.dims
        spec = replace(spec, input_size=sizes, padding=none, padding_mode="zeros")
    return replace(spec, layout="contiguous") if spec.layout == "strided" else spec


def _is_filled(spec: ConvSpec) -> bool:
    """Whether the padding is anything but zeros."""
    return spec.padding_mode != "zeros" and any(map(any, spec.padding))


def _copied(spec: ConvSpec) -> int:
    """Bytes of the image that is made first, if one is."""
    plain = _plain(spec)
    return 0 if spec == plain else prod(plain.x_shape) * spec.item_size


def _problem(spec: ConvSpec) -> GemmProblem:
    """The spec in the terms of a matrix product, on this machine."""
    batch, depth, rows, columns = _spans(spec)
    target, machine = host_target(), this_machine()
    return GemmProblem(
        batch=batch,
        groups=spec.groups,
        inputs=spec.in_channels // spec.groups,
        outputs=spec.out_channels // spec.groups,
        depth=depth,
        rows=rows,
        columns=columns,
        channels_last=spec.layout == "channels_last",
        dtype=spec.dtype,
        bias=spec.bias,
        activation=spec.activation,
        lanes=target.lanes(REGISTER_BYTES[spec.dtype]),
        registers=32 if target.vector_bits == 512 else 16,
        cache=dict(machine.caches).get("L2", _SECOND_CACHE),
        cores=machine.cores,
        residual=spec.residual,
    )


def _spans(spec: ConvSpec) -> tuple[int, Span, Span, Span]:
    """Batch size and three spans; all pixels that a pointwise convolution maps alike are a row."""
    whole = spec.output_size == spec.input_size and not any(low for low, _ in spec.padding)
    if spec.taps == 1 and whole and set(spec.stride) == {1}:
        last = spec.layout == "channels_last"
        pixels = prod(spec.input_size) * (spec.batch if last else 1)
        return 1 if last else spec.batch, Span(), Span(), Span(pixels, pixels)
    depth, rows, columns = (*[Span()] * (3 - spec.dims), *map(_span, spec.axes))
    return spec.batch, depth, rows, columns


def _span(axis: Axis) -> Span:
    return Span(
        axis.output_size, axis.input_size, axis.kernel_size, axis.stride, axis.padding[0],
        axis.dilation,
    )  # fmt: skip


def _packing(layout: GemmLayout) -> Callable[[Tensor], Tensor]:
    """What puts a weight [O, C/G, K…] in order: by groups and blocks of channels, term by term."""
    p, width = layout.problem, layout.tile.channels
    inside = layout.full * width
    if inside > p.outputs:
        return _padding(layout)
    sizes = (p.inputs, p.depth.kernel_size, p.rows.kernel_size, p.columns.kernel_size)
    order = ["cdhw".index(name) for name in layout.order]
    blocks = Rearranged((p.groups, layout.full, width, *sizes), (0, 1, *(n + 3 for n in order), 2))
    others = Rearranged((p.groups, p.outputs - inside, *sizes), (0, *(n + 2 for n in order), 1))
    numbers, wide = p.groups * p.terms * inside, getattr(torch, p.wide)

    def pack(w: Tensor) -> Tensor:
        w = w.reshape(p.groups, p.outputs, *sizes)
        made = torch.empty(layout.packed_numbers, dtype=wide)
        if inside:
            blocks(w[:, :inside], made[:numbers])
        if layout.rest:
            last = others(w[:, inside:]).view(p.groups, p.terms, -1)
            last = torch.nn.functional.pad(last, (0, layout.channels - p.outputs))
            made[numbers:] = last.view(-1)
        return made

    return pack


def _padding(layout: GemmLayout) -> Callable[[Tensor], Tensor]:
    """The same where the last of the whole blocks has channels that do not exist."""
    p, width = layout.problem, layout.tile.channels
    sizes = (p.inputs, p.depth.kernel_size, p.rows.kernel_size, p.columns.kernel_size)
    order = ["cdhw".index(name) + 2 for name in layout.order]
    turn = Rearranged((p.groups, p.outputs, *sizes), (0, *order, 1))

    def pack(w: Tensor) -> Tensor:
        w = turn(w).view(p.groups, p.terms, p.outputs)
        w = torch.nn.functional.pad(w, (0, layout.channels - p.outputs))
        return w.view(p.groups, p.terms, layout.full, width).transpose(1, 2).reshape(-1)

    return pack


ALGORITHM = ImplicitGemmCpu()
