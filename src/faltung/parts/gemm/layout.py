"""Where everything of a convolution as a matrix product lies, and which tiles there are.

The inputs of a block of outputs are read from the image itself, or from a panel: a copy of them in
the thread's own memory, close together, widened, and with zeros for the padding that is read. What
is needed of padding depends on the columns: where tiles at the borders of a row are apart, see
`gemm_columns.py`, no padding is read; else the panel has zeros beside the image.
"""

from dataclasses import dataclass
from functools import cached_property

from ..activation import is_long
from .columns import alike, apart
from .problem import GemmProblem
from .sharing import whole_lines
from .tiling import (
    COLLIDING,
    Block,
    Tile,
    best_block,
    best_tile,
    channel_parts,
    collides,
    is_far,
    turns,
)

_NEAR_PLANE = 4096  # bytes of a channel's plane up to which planes are read where they are
_MANY = 128  # channels that are too many to be read from one set of the near cache


@dataclass(frozen=True)
class Steps:
    """How many numbers of the image, or of its panel, neighbours are apart."""

    channel: int
    pixel: int
    row: int
    plane: int
    taps: tuple[int, int, int]
    """From a kernel plane, row and column to the next."""
    outputs: tuple[int, int]
    """From the inputs of an output to those of the one below and of the one beside."""


class GemmLayout:
    """A problem, how it is cut, and where its numbers are."""

    def __init__(self, problem: GemmProblem) -> None:
        p = self.problem = problem
        self.tile: Tile = best_tile(p)
        t = self.tile
        self.columns = (apart if t.columns_apart else alike)(p.columns, t.columns)
        self.pads_columns = p.columns.is_padded and not t.columns_apart
        self.turns_panel = turns(p) and not t.along_row
        self.has_panel = self.turns_panel or self._needs_panel()
        self.block: Block = best_block(p, self.tile, self.has_panel)
        # blocks of the tile's channels, in parts, and what is left over
        self.channels = -(-p.outputs // t.unit) * t.unit
        self.full, self.rest = divmod(self.channels, t.channels)
        self.share, self.parts = channel_parts(p, t, self.block.parts)
        self.row_blocks = -(-p.rows.outputs // self.block.rows)
        self.column_blocks = -(-p.columns.outputs // self.block.columns)
        self.items = p.planes * self.row_blocks * self.column_blocks * self.parts
        self.by_tap = p.rows.copied(self.block.rows) < p.rows.reach(self.block.rows)

    @property
    def pads_rows(self) -> bool:
        """Whether tiles read rows of padding: some outputs of a tile see what others do not."""
        return self.tile.rows > 1 and self.problem.rows.is_padded

    @property
    def packed_numbers(self) -> int:
        """Numbers of the packed weight."""
        return self.problem.groups * self.channels * self.problem.terms

    @property
    def waiting_numbers(self) -> int:
        """Numbers of one thread's sums of a tile that wait in memory."""
        p, t, long = self.problem, self.tile, is_long(self.problem.activation)
        if not self.is_turned and not long:
            return 0
        # and a square of sums that are turned and wait for a residual and a long activation
        more = t.lanes * t.lanes if self.is_turned and long and p.residual else 0
        return whole_lines(t.channels * t.rows * t.columns + more, p.item_size)

    @property
    def is_turned(self) -> bool:
        """Whether vectors of channels must become vectors of pixels."""
        return not self.problem.channels_last and not self.tile.along_row

    @property
    def panel_numbers(self) -> int:
        """Numbers of one thread's panel."""
        p, steps = self.problem, self.steps
        if not self.has_panel:
            return 0
        planes = steps.plane * p.depth.kernel_size
        numbers = planes if steps.channel == 1 else steps.channel * p.inputs
        return whole_lines(numbers, p.item_size)

    @property
    def order(self) -> str:
        """The loops of a sum, outermost first: d, h, w for kernel axes, c for channels."""
        p = self.problem
        # the innermost loop should be long; but lines that hold several taps should be read at once
        borders_only = all(tiles.places for tiles in self.columns)
        return "dhwc" if self.steps.channel == 1 or p.taps == 1 or borders_only else "cdhw"

    @property
    def fetches_weights(self) -> bool:
        """Whether weights come from beyond the second cache, so that it is worth asking early."""
        p = self.problem
        return self.full > 1 and 2 * p.outputs * p.terms * p.item_size > p.cache

    @property
    def fetches_pixels(self) -> bool:
        """The same for pixels, where they follow each other and no tile sees another's."""
        p = self.problem
        return p.taps == 1 and p.channels_last and p.groups == p.columns.stride == 1

    @property
    def fetches_rows(self) -> bool:
        """The same where pixels follow each other in every channel, and channels are far apart."""
        return not self.has_panel and self.tile.along_row and is_far(self.problem)

    @cached_property
    def steps(self) -> Steps:
        """Of the panel if there is one, else of the image."""
        return self._panel_steps() if self.has_panel else self._image_steps()

    def _image_steps(self) -> Steps:
        p, channels = self.problem, self.problem.inputs * self.problem.groups
        pixel = channels if p.channels_last else 1
        row = pixel * p.columns.inputs
        plane = row * p.rows.inputs
        channel = 1 if p.channels_last else plane * p.depth.inputs
        taps = (plane * p.depth.dilation, row * p.rows.dilation, pixel * p.columns.dilation)
        return Steps(
            channel, pixel, row, plane, taps, (p.rows.stride * row, p.columns.stride * pixel)
        )

    def _panel_steps(self) -> Steps:
        p, b, last = self.problem, self.block, self.problem.channels_last or self.turns_panel
        pixel = p.inputs if last else 1
        if pixel * p.columns.stride * p.item_size % COLLIDING == 0:
            pixel += p.line  # see `collides`
        row = pixel * self.panel_columns
        plane = row * p.rows.copied(b.rows)
        channel = 1
        if not last:  # an odd number of lines, or all channels are in the same sets
            channel = (-(-plane * p.depth.kernel_size // p.line) | 1) * p.line
        down = b.rows if self.by_tap else p.rows.dilation
        taps = (plane, down * row, p.columns.dilation * pixel)
        outputs = ((1 if self.by_tap else p.rows.stride) * row, p.columns.stride * pixel)
        return Steps(channel, pixel, row, plane, taps, outputs)

    @property
    def panel_columns(self) -> int:
        """Inputs in a row of the panel, with those that only fill up vectors."""
        columns, t = self.block.columns, self.tile
        if t.along_row:
            columns = -(-columns // t.lanes) * t.lanes
        return self.problem.columns.reach(columns)

    def _needs_panel(self) -> bool:
        """Whether the image cannot be read where it lies, or is better not."""
        p = self.problem
        if not p.inputs:
            return False
        if p.dtype != p.wide or self.pads_columns or self.pads_rows:
            return True
        if p.channels_last:
            return collides(p, self.tile.columns)
        plane = p.depth.inputs * p.rows.inputs * p.columns.inputs * p.item_size
        if p.taps == 1:
            return self.tile.along_row and plane % COLLIDING == 0 and p.inputs >= _MANY
        return self.tile.along_row or plane > _NEAR_PLANE
