"""How a convolution along the rows of contiguous images is cut (`direct_cpu`): tiles, weights.

A tile is some output channels × vectors along a row of outputs. Its channels are neighbours, or
those whose rows begin at the same place of a cache line. Its weights are read where they lie if a
group has few, which then are near in any order; else they are packed in the order of the tiles.
"""

from math import prod

from ...lang.target import host_target
from ...parts.rows.classes import RowClasses, row_period
from ...parts.rows.tile import Row, RowTile, best_tile
from .refusals import REGISTER_BYTES
from .spec import ConvSpec

_LINE = 64  # bytes
_SECOND_CACHE = 2 << 20  # bytes of a core
_FEW_WEIGHTS = 1 << 12  # bytes of a group's that are near wherever they lie


def tiling(spec: ConvSpec) -> tuple[RowTile, float]:
    """How rows of outputs are cut, and the cycles of one core that all of them take."""
    period = period_of(spec)
    row = Row(
        columns=spec.output_size[-1], channels=spec.out_channels // spec.groups // period,
        taps=spec.kernel_size[-1], stride=spec.stride[-1], item_size=REGISTER_BYTES[spec.dtype],
        widened=spec.item_size == 2,
        far=period == 1 and prod(spec.y_shape) * spec.item_size > _SECOND_CACHE,
    )  # fmt: skip
    rows = prod(spec.output_size[:-1])
    turns = prod(axis.executed for axis in spec.axes[:-1]) * spec.in_channels / spec.groups / rows
    tile = best_tile(row, turns)
    return tile, spec.batch * spec.groups * period * rows * tile.cycles(turns)


def period_of(spec: ConvSpec) -> int:
    """How far apart the channels of a tile are, so that all write whole lines; mostly 1."""
    lanes = host_target().lanes(spec.item_size)
    one_row = prod(spec.output_size) == spec.output_size[-1] and not any(spec.padding[-1])
    if (
        not one_row
        or spec.item_size != REGISTER_BYTES[spec.dtype]
        or lanes * spec.item_size != _LINE
    ):
        return 1
    return row_period(spec.out_channels // spec.groups, spec.output_size[-1], lanes)


def wide_name(spec: ConvSpec) -> str:
    """The dtype that weights are read in: 16 bits are widened once, not at every use."""
    return "float64" if spec.dtype == "float64" else "float32"


def classes_of(spec: ConvSpec) -> RowClasses:
    """The channels of a tile: neighbours, or those whose rows begin at the same place of a line."""
    outputs = spec.out_channels // spec.groups
    return RowClasses(outputs, period_of(spec), tiling(spec)[0].channels)


def lies(spec: ConvSpec) -> bool:
    """Whether weights are read where they lie; those of 16 bits where they were widened to."""
    group = spec.out_channels // spec.groups * (spec.in_channels // spec.groups) * spec.taps
    return group * REGISTER_BYTES[spec.dtype] <= _FEW_WEIGHTS and period_of(spec) == 1
