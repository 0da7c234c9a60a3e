"""Samples gathered into columns, then a matrix product per group.

    columns[n, c, t, q] = m · Σ over 4 corners  g_y · g_x · padded[n, c, corner]
    y = w @ columns + b

Four gathers fetch the corners around every sample, one index for all channels of an offset group.
The image gets a border of two zeros first, and positions are clamped to [−2, n], whose corners lie
in −2 … n+1: a sample that is clamped sees the border only. So nothing reads out of range, there is
no test per sample, and a sample fades to zero across the border by itself. Every step can be
differentiated in input, offset, mask, weight and bias, any number of times, and autograd does it.

Positions and corner weights are float32 at least, so that half-precision offsets lose nothing to
large coordinates. Runs anywhere; the columns make it hungry for memory. Its gradient in the input
adds by index, which on CUDA gives the same bits on every run only under
`torch.use_deterministic_algorithms`.
"""

import functools
import itertools
import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ....machine import Machine
from ....planning import Algorithm, Run
from ...activations import activate
from ...geometry import Axis
from ..spec import DeformSpec

_CALL = 200e-6  # seconds of some forty small calls on any size
_PASSES = 12  # times that the columns are written or read: four gathers, four weightings, a product
_MATMUL = 1.5  # time of the product against `peak`
_BORDER = 2  # zeros around the image


class Gather(Algorithm):
    """Bilinear gather, then a matrix product."""

    tasks = frozenset({"forward"})

    def unsupported(self, spec: DeformSpec) -> list[str]:
        """Nothing: it does every spec."""
        return []

    def seconds(self, spec: DeformSpec, machine: Machine) -> float:
        """Passes over the columns at full bandwidth, and the product."""
        moved = spec.bytes + _PASSES * spec.columns_bytes
        return _CALL + moved / machine.bandwidth + _MATMUL * 2 * spec.macs / machine.peak

    def workspace(self, spec: DeformSpec) -> int:
        """The columns, their sum in the making, and index and weight per corner."""
        corners = 4 * spec.samples // spec.in_channels * spec.offset_groups * (8 + 4)
        return 3 * spec.columns_bytes + corners

    def build(self, spec: DeformSpec) -> Run:
        """The call on batched operands; bias and mask may be None."""
        depth = spec.in_channels // spec.groups * spec.taps
        outputs = math.prod(spec.output_size)

        def run(
            x: Tensor, offset: Tensor, w: Tensor, b: Tensor | None, mask: Tensor | None
        ) -> Tensor:
            sampled = _columns(spec, x, offset, mask)
            by_group = sampled.reshape(spec.batch, spec.groups, depth, outputs)
            filters = w.reshape(spec.groups, spec.out_channels // spec.groups, depth)
            y = (filters @ by_group).reshape(spec.y_shape)
            return activate(spec.activation, y if b is None else y + b[:, None, None])

        return run


def _columns(spec: DeformSpec, x: Tensor, offset: Tensor, mask: Tensor | None) -> Tensor:
    """The masked samples of all taps: [N, F, C/F, KH·KW·OH·OW] in the dtype of x."""
    by_tap = (spec.batch, spec.offset_groups, spec.taps)
    exact = torch.promote_types(x.dtype, torch.float32)
    shifts = offset.reshape(*by_tap, 2, *spec.output_size).to(exact)
    down, right = (
        _corners(shifts[:, :, :, i] + grid, axis.input_size)
        for i, (axis, grid) in enumerate(zip(spec.axes, _grids(spec, exact, x), strict=True))
    )
    if mask is not None:
        factor = mask.reshape(*by_tap, *spec.output_size).to(exact)
        down = [(row, weight * factor) for row, weight in down]

    bordered = F.pad(x, (_BORDER,) * 4)
    width = bordered.shape[-1]
    sharing = spec.in_channels // spec.offset_groups
    pixels = bordered.reshape(spec.batch, spec.offset_groups, sharing, bordered.shape[-2] * width)

    def corner(row: Tensor, row_weight: Tensor, column: Tensor, column_weight: Tensor) -> Tensor:
        index = (row * width + column).flatten(2)[:, :, None]
        weight = (row_weight * column_weight).flatten(2)[:, :, None]
        return pixels.gather(3, index.expand(-1, -1, sharing, -1)) * weight

    corners = (corner(*row, *column) for row, column in itertools.product(down, right))
    return functools.reduce(torch.add, corners).to(x.dtype)


def _grids(spec: DeformSpec, dtype: torch.dtype, like: Tensor) -> list[Tensor]:
    """Where the taps look before their offsets, per axis: broadcasts to [KH·KW, OH, OW]."""
    rows, columns = spec.axes
    down, right = (_positions(axis, dtype, like) for axis in (rows, columns))
    down = down[:, None, :, None].expand(-1, columns.kernel_size, -1, 1)
    right = right[None, :, None, :].expand(rows.kernel_size, -1, 1, -1)
    return [down.flatten(0, 1), right.flatten(0, 1)]


def _positions(axis: Axis, dtype: torch.dtype, like: Tensor) -> Tensor:
    """q·s − low + t·d as [taps, outputs]."""
    outputs = torch.arange(axis.output_size, dtype=dtype, device=like.device)
    taps = torch.arange(axis.kernel_size, dtype=dtype, device=like.device)
    return outputs * axis.stride - axis.padding[0] + taps[:, None] * axis.dilation


def _corners(position: Tensor, size: int) -> list[tuple[Tensor, Tensor]]:
    """Index in the bordered image and weight of the two pixels around each position."""
    position = position.clamp(-_BORDER, size)
    low = position.detach().floor()
    fraction = position - low
    index = low.nan_to_num(0).long() + _BORDER  # a NaN reaches the result through its weight
    return [(index, 1 - fraction), (index + 1, fraction)]


ALGORITHM = Gather()
