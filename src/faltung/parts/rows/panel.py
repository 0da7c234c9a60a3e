"""Pieces of an image's rows with zeros beside them, for tiles that see padding.

A tile of outputs along a row reads some stretch of the input rows. Where that lies wholly inside
the image the tile reads it there; the few tiles at either end read a panel in the thread's own
memory, in which their stretches lie one after the other and zeros stand for the padding. A panel
may as well hold everything a block of outputs sees: then 16-bit numbers are widened once, and the
channels of a group lie side by side.

    panel [kernel plane, row, column, channel]   channels last
    panel [kernel plane, row, channel, column]   contiguous
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ...lang.ops import Buffer
from ...lang.routine import Operand, Routine, Value
from ..gemm.gather_panel import Copying, Run
from .tiles import RowTiles

_LINE = 64  # bytes


@dataclass(frozen=True)
class Stretch:
    """So many columns of the padded image from the `first` on, which may lie before it."""

    first: Operand
    columns: int


def stretches(tiles: RowTiles, together: int | None) -> list[Stretch]:
    """What tiles that see padding read: at the left end of a row, and at the right.

    Or, where so many `together` read a panel wherever they are, what these do.
    """
    if together is not None:
        return [Stretch(0, tiles.read(min(together * tiles.size, tiles.outputs)))]
    found = []
    if tiles.first_inside:
        outputs = tiles.first_inside * tiles.size
        found.append(Stretch(tiles.first_read(0), tiles.read(outputs)))
    if tiles.behind_inside < tiles.count:
        first = tiles.start(tiles.behind_inside)
        found.append(Stretch(tiles.first_read(first), tiles.read(tiles.outputs - first)))
    return found


@dataclass(frozen=True)
class Rows:
    """Where an image's numbers lie, and which channels of it are wanted."""

    last: bool
    """Whether its channels lie side by side."""
    channels: int
    wanted: int
    size: tuple[int, int, int]
    """Planes, rows and columns."""

    @property
    def steps(self) -> tuple[int, int, int, int]:
        """From a channel, a pixel, a row and a plane of the image to the next."""
        pixel = self.channels if self.last else 1
        row = pixel * self.size[2]
        plane = row * self.size[1]
        return 1 if self.last else plane * self.size[0], pixel, row, plane


@dataclass(frozen=True)
class RowPanel:
    """A panel of `planes` × `rows` pieces of rows, each of so many columns."""

    image: Rows
    planes: int
    rows: int
    columns: int
    item_size: int

    @cached_property
    def steps(self) -> tuple[int, int, int, int]:
        """From a channel, a pixel, a row and a plane of the panel to the next."""
        line = _LINE // self.item_size
        numbers = self.image.wanted * self.columns
        row = (-(-numbers // line) | 1) * line  # odd, or rows share a set of the near cache
        channel, pixel = (1, self.image.wanted) if self.image.last else (self.columns, 1)
        return channel, pixel, row, row * self.rows

    @property
    def numbers(self) -> int:
        """Numbers of it, in whole cache lines."""
        return self.steps[3] * self.planes

    def fill(
        self,
        r: Routine,
        x: Buffer,
        panel: Buffer,
        lanes: int,
        *,
        source: Value,
        planes: tuple[Value, Value, Value, int],
        top: Value,
        stretches: Sequence[Stretch],
    ) -> None:
        """Copy the stretches of all rows that there are.

        `source` is the image's first number in the first channel that is wanted; `planes` are the
        first kernel plane that is inside, the end of them, the place of the first one and the
        distance to the next; `top` is the image's row that is the panel's first.
        """
        copying = Copying(r, x, panel, lanes)
        begin = r.minimum(r.maximum(0 - top, 0), self.rows)
        end = r.minimum(self.image.size[1] - top, self.rows)
        first, behind, depth, apart = planes
        with r.loop(first, behind) as plane, r.loop(begin, end) as row:
            to = plane.index * self.steps[3] + row.index * self.steps[2]
            line = (depth + plane.index * apart) * self.image.size[1] + (top + row.index)
            at = 0
            for stretch in stretches:
                self._fill_row(copying, source, line, to + at * self.steps[1], stretch)
                at += stretch.columns

    def _fill_row(
        self, copying: Copying, source: Value, line: Value, to: Value, stretch: Stretch
    ) -> None:
        r, image, width = copying.r, self.image, self.image.size[2]
        first = r.const(0) + stretch.first
        before = r.minimum(r.maximum(0 - first, 0), stretch.columns)
        end = r.maximum(r.minimum(width - first, stretch.columns), before)
        run = Run(before, end - before, stretch.columns - end)
        source = source + (line * width + (first + before)) * image.steps[1]
        if not image.last:
            with r.loop(0, image.wanted) as channel:
                at = to + channel.index * self.steps[0]
                copying.run(source + channel.index * image.steps[0], at, run)
        elif image.wanted == image.channels:
            copying.run(source, to, run.times(image.channels))
        else:
            wanted = image.wanted
            copying.zeros(to, run.before * wanted)
            with r.loop(0, run.count) as pixel:
                at = to + (run.before + pixel.index) * wanted
                copying.run(source + pixel.index * image.channels, at, Run(0, wanted, 0))
            copying.zeros(to + (run.before + run.count) * wanted, run.after * wanted)
