"""The part of an image that results of all phases read, copied to memory of the thread's own.

Channels come last in the panel, so that the terms of a sum follow each other; contiguous images are
transposed on the way, and 16-bit numbers widened. There are zeros where there is padding, so that a
tile at the border is like any other. A plane of the panel belongs to one turn of the depth axis.
"""

from dataclasses import dataclass
from functools import cached_property

from ...lang.ops import Buffer
from ...lang.routine import Operand, Routine, Value
from ..gemm.gather_panel import Copying, Run, Turning
from ..gemm.sharing import whole_lines
from .classes import Phase, PhaseAxis
from .tiling import extent

_LINE = 64  # bytes
_COLLIDING = 4096  # lines so far apart share a set of the near cache


@dataclass(frozen=True)
class PhasePanel:
    """The panel of one group for a block of `rows` × `columns` results of each phase."""

    axes: tuple[PhaseAxis, PhaseAxis, PhaseAxis]
    """Depth, height and width."""

    terms: int
    """Channels of a group of the image."""

    rows: int
    columns: int
    item_size: int
    """Bytes of a number in the panel."""

    clears: bool
    """Whether rows of padding are read."""

    @property
    def _line(self) -> int:
        return _LINE // self.item_size

    @cached_property
    def pixel(self) -> int:
        """From a place to the one beside it."""
        return self.terms + (self._line if self.terms * self.item_size % _COLLIDING == 0 else 0)

    @cached_property
    def width(self) -> int:
        """Places of a row."""
        return extent(self.axes[2], self.columns)

    @cached_property
    def height(self) -> int:
        """Rows of a plane."""
        return extent(self.axes[1], self.rows)

    @property
    def row(self) -> int:
        """From a row to the next."""
        return self.width * self.pixel

    @property
    def plane(self) -> int:
        """From the plane of one turn to that of the next."""
        return self.height * self.row

    @property
    def numbers(self) -> int:
        """Numbers of the panel."""
        return whole_lines(self.plane * self.axes[0].turns, self.item_size)


@dataclass(frozen=True)
class Filling:
    """A panel being filled for one group of one picture."""

    of: PhasePanel
    r: Routine
    image: Buffer
    panel: Buffer
    lanes: int
    last: bool
    """Whether channels come last in the image."""

    groups: int
    n: Value
    group: Value

    def fill(self, row: Value, column: Value, deep: Phase, k: Value) -> tuple[Value, Value]:
        """Copy what the results from there on read, those in depth being k of their phase.

        Gives the turns of the depth axis that are in the panel.
        """
        of, r, (depth, _, wide) = self.of, self.r, self.of.axes
        planes = depth.inside(r, deep, k, k)
        start = column + wide.reads[0]
        before = r.minimum(r.maximum(0 - start, 0), of.width)
        end = r.maximum(r.minimum(wide.sources - start, of.width), before)
        run = Run(before, end - before, of.width - end)
        with r.loop(*planes) as turn:
            plane = k + deep.base + turn.index * depth.step
            self._plane(plane, row, start + before, run, turn.index * of.plane)
        return planes

    def _plane(self, plane: Value, row: Value, column: Value, run: Run, to: Value) -> None:
        """The rows that exist of a plane of the image, from `column` on."""
        of, r, (_, high, wide) = self.of, self.r, self.of.axes
        start = row + high.reads[0]
        begin = r.minimum(r.maximum(0 - start, 0), of.height)
        end = r.maximum(r.minimum(high.sources - start, of.height), begin)
        if of.clears:
            self._zeros(to, begin * of.width)
            self._zeros(to + end * of.row, (of.height - end) * of.width)
        if self._is_whole:
            first = (plane * high.sources + start + begin) * wide.sources
            self._pixels(first, (end - begin) * of.width, to + begin * of.row)
            return
        with r.loop(begin, end) as loop:
            first = (plane * high.sources + start + loop.index) * wide.sources + column
            at = to + loop.index * of.row
            self._zeros(at, run.before)
            self._pixels(first, run.count, at + run.before * of.pixel)
            self._zeros(at + (run.before + run.count) * of.pixel, run.after)

    @property
    def _is_whole(self) -> bool:
        """Whether rows of the panel are rows of the image, as they are and side by side."""
        of, wide = self.of, self.of.axes[2]
        return wide.reads[0] == 0 and of.width == wide.sources and of.columns >= wide.most

    def _zeros(self, to: Value, pixels: Operand) -> None:
        copying = Copying(self.r, self.image, self.panel, self.lanes)
        copying.zeros(to, pixels * self.of.pixel)

    def _pixels(self, first: Value, count: Operand, to: Value) -> None:
        """So many pixels of the image, which follow each other in it and in the panel."""
        of, r = self.of, self.r
        if self.last:
            copying = Copying(r, self.image, self.panel, self.lanes)
            _, high, wide = of.axes
            channels = self.groups * of.terms
            source = self.n * (of.axes[0].sources * high.sources * wide.sources) + first
            source = source * channels + self.group * of.terms
            if of.pixel == channels:
                copying.run(source, to, Run(0, count * channels, 0))
                return
            with r.loop(0, count) as pixel:
                at = to + pixel.index * of.pixel
                copying.run(source + pixel.index * channels, at, Run(0, of.terms, 0))
            return
        depth, high, wide = of.axes
        plane = depth.sources * high.sources * wide.sources
        first = first + (self.n * self.groups + self.group) * (of.terms * plane)
        turning = Turning(r, self.image, self.panel, self.lanes, of.terms, of.pixel, plane)
        turning.pixels(first, count, to)
