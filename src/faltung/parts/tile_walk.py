"""The tiles of a row one after the other, and whether each reads the image or a panel."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from ..lang.routine import Routine, Value
from .rows.panel import Stretch
from .rows.tiles import RowTiles


@dataclass(frozen=True)
class Here:
    """A tile: its first output, and the first column that it reads of the image or the panel."""

    column: Value
    read: Value
    in_panel: bool


@dataclass(frozen=True)
class TileWalk:
    """Tiles from `begin` to before `end`, known while a routine runs.

    If `copied`, a panel holds all that they read; otherwise it holds `stretches` for the tiles of a
    row that see padding. `whole` says that the tiles are those of a whole row.
    """

    r: Routine
    tiles: RowTiles
    stretches: Sequence[Stretch]
    copied: bool
    begin: Value
    end: Value
    whole: bool

    def filled(self) -> list[Stretch]:
        """The stretches of the panel for these tiles."""
        if not self.copied:
            return list(self.stretches)
        return [Stretch(self._first_read(self._column(self.begin)), self.stretches[0].columns)]

    def loops(self) -> Iterator[AbstractContextManager[Here]]:
        """A loop over the tiles that read the image, one over those that read the panel."""
        if self.copied:
            yield self._copied()
            return
        yield self._inside()
        if self.stretches:
            yield self._at_the_ends()

    @contextmanager
    def _copied(self) -> Iterator[Here]:
        first = self._column(self.begin)
        with self.r.loop(self.begin, self.end) as loop:
            column = self._column(loop.index)
            yield Here(column, (column - first) * self.tiles.stride, True)

    @contextmanager
    def _inside(self) -> Iterator[Here]:
        r, tiles = self.r, self.tiles
        begin = r.maximum(self.begin, tiles.first_inside)
        with r.loop(begin, r.minimum(self.end, tiles.behind_inside)) as loop:
            column = self._column(loop.index)
            yield Here(column, self._first_read(column), False)

    @contextmanager
    def _at_the_ends(self) -> Iterator[Here]:
        r, tiles = self.r, self.tiles
        left, behind = tiles.first_inside, tiles.behind_inside
        # the right stretch comes after the left one
        places = [stretch.first for stretch in self.stretches]
        if len(places) == 2:
            places[1] -= self.stretches[0].columns
        with r.loop(0, left + tiles.count - behind) as loop:
            is_left = loop.index < left
            tile = loop.index + r.select(is_left, r.const(0), r.const(behind - left))
            column = self._column(tile)
            first = r.select(is_left, r.const(places[0]), r.const(places[-1]))
            here = Here(column, self._first_read(column) - first, True)
            if self.whole:
                yield here
            else:
                with r.when(~(tile < self.begin) & (tile < self.end)):
                    yield here

    def _column(self, tile: Value) -> Value:
        return self.tiles.column(self.r, tile)

    def _first_read(self, column: Value) -> Value:
        return column * self.tiles.stride - self.tiles.low
