"""How a depthwise convolution by minimal filtering is cut: blocks, phases, parts and bands.

A block of channels of an image is cut into the phases of its outermost axis, those into parts of
neighbouring tiles, so that no core is idle, and planes into bands of rows, so that the transformed
lines that are kept stay in the second cache. See `parts/channels/grouped_taps` and
`transformed_lines`.
"""

from functools import cached_property
from math import prod

import torch
from torch import Tensor

from ...machine import this_machine
from ...parts.channels.blocks import ChannelBlocks
from ...parts.channels.grouped_taps import PRODUCTS, TILE, GroupedTaps, transformed_taps
from ...parts.channels.transformed_lines import TransformedLines
from ...parts.rows.pixels import tile_columns
from ..geometry import Axis
from .spec import ConvSpec

_MOST_BANDS = 16
_MOST_PARTS = 64
_SIDE_BY_SIDE = 1.2  # where two threads have every other cache line of the same pixels
_NEAR = 3 << 19  # bytes of lines that stay in the second cache

_EFFICIENCY = 0.9
# multiply-adds in whose time
_TURNING = 8.0  # a number is turned, one way
_TRANSFORMING = 60.0  # the seven numbers of a u are transformed
_MAKING = 60.0  # four outputs are made of seven sums
_LOADING = 0.9  # a vector is loaded for a tile of sums
_LOADING_FAR = 3.0  # and where the lines are not near
_TILE = 120.0  # such a tile begins and ends


class FilteredLines:
    """How a spec is cut into blocks of channels and parts, and the memory each thread needs.

    A line is a row in 2-D and a plane in 3-D, which is made in bands of `rows` rows of results, as
    many as make the lines that are kept fit the second cache. They are of `seen` rows, or one.
    """

    def __init__(self, spec: ConvSpec) -> None:
        self.spec, self.item_size = spec, 8 if spec.dtype == "float64" else 4
        self.blocks = ChannelBlocks.of(spec.in_channels, self.item_size)
        self.lanes = self.blocks.lanes
        self.outer = GroupedTaps(spec.axes[0])
        self.wide = spec.axes[-1]
        seen = self.outer.behind - self.outer.first
        self.kept = max(1, min(self.outer.groups, seen))
        self.bands = self.rows = self.seen = 1
        if spec.dims == 3:
            self.high = spec.axes[1]
            most = min(self.high.output_size, _MOST_BANDS)
            self._cut(min(range(1, most + 1), key=self._all_bands))
        most = max(1, min(self.outer.tiles, _MOST_PARTS))
        self.parts = min(range(1, most + 1), key=self.makespan)
        self.share = -(-self.outer.tiles // self.parts)
        self.parts = -(-self.outer.tiles // max(1, self.share))

    def _cut(self, bands: int) -> None:
        """Into so many bands or, to have them alike, fewer; of three-dimensional images."""
        self.rows = -(-self.high.output_size // bands)
        self.bands = -(-self.high.output_size // self.rows)
        reach = (self.rows - 1) * self.high.stride + self.high.span
        self.seen = min(self.high.input_size, reach)

    def _all_bands(self, bands: int) -> float:
        self._cut(bands)
        return self.bands * self.work(self.outer.tiles)

    @property
    def inner(self) -> int:
        """Pixels of a line, or of a band's part of it."""
        return self.seen * self.wide.input_size

    @property
    def is_near(self) -> bool:
        """Whether what is kept of the lines fits the second cache."""
        turned = 2 * TILE if self.spec.layout == "contiguous" else 0
        lines = PRODUCTS * self.kept + turned
        return lines * self.inner * self.lanes * self.item_size <= _NEAR

    @cached_property
    def axes(self) -> tuple[Axis, ...]:
        """Those of the convolutions between the transforms."""
        outer = self.outer
        seen, low = outer.behind - outer.first, (outer.first, 0)
        along = Axis(seen, outer.groups, padding=low, output_size=outer.tiles)
        return (along, *self.spec.axes[1:])

    @property
    def factors(self) -> int:
        """Numbers of a channel's transformed filter."""
        return PRODUCTS * self.outer.groups * prod(self.spec.kernel_size[1:])

    @property
    def scratch(self) -> dict[str, int]:
        """Numbers of each thread's buffers, by name."""
        width = self.wide.output_size
        found = {"lines": PRODUCTS * self.kept * self.inner, "sums": PRODUCTS * width}
        if self.spec.layout == "contiguous":
            found["pixels"] = TransformedLines.ring(self.inner, self.lanes)
            found["results"] = TILE * TransformedLines.pitch(width, self.lanes)
        # whole cache lines
        return {n: -(-count * self.lanes // 16) * 16 for n, count in found.items()}

    def makespan(self, parts: int) -> float:
        """Time of the thread that has most to do, in multiply-adds of one vector."""
        share = -(-self.outer.tiles // parts)
        items = self.spec.batch * self.blocks.count * self.outer.phases * self.bands * parts
        cores, work = this_machine().cores, self.work(share)
        if self.spec.layout == "channels_last" and self.blocks.count > 1 and items < 2 * cores:
            work *= _SIDE_BY_SIDE
        return -(-items // cores) * work

    def work(self, tiles: int) -> float:
        """Multiply-adds for so many tiles of one phase and band of one block of channels, and what
        takes their time."""
        outer, wide = self.outer, self.wide
        meetings = self._rows_met * tiles / max(1, outer.tiles) / self.bands
        columns = tile_columns(wide)
        across = -(-wide.output_size // columns)
        seen = min(columns * wide.kernel_size, (columns - 1) * wide.stride + wide.span)
        loads = meetings * across * (seen + wide.kernel_size)
        loading = _LOADING if self.is_near else _LOADING_FAR
        found = meetings * self._columns_met / _EFFICIENCY + loading * loads
        found = PRODUCTS * (found + _TILE * tiles * self.rows * across)
        lines = min(tiles + outer.groups - 1, outer.behind - outer.first) * self.inner
        made = tiles * self.rows * wide.output_size
        found += _TRANSFORMING * lines + _MAKING * made
        if self.spec.layout == "contiguous":
            found += _TURNING * TILE * (lines + made)
        return found

    @cached_property
    def _rows_met(self) -> int:
        """Pairs of a row of results and one that it sees, of all tiles of a phase."""
        between = prod(axis.executed for axis in self.spec.axes[1:-1])
        return self.outer.meetings // self.outer.phases * between

    @cached_property
    def _columns_met(self) -> int:
        return self.wide.executed

    def pack(self, w: Tensor, dtype: torch.dtype) -> Tensor:
        """The transformed filters, block by block."""
        made = transformed_taps(w[:, 0], self.outer.lead, self.outer.groups)
        return self.blocks.pack(made, dtype)
