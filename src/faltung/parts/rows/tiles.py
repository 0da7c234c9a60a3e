"""A row of outputs in tiles of one size, and which of them see no padding.

The last tile overlaps the one before where they do not fit; what lies in both is computed twice.
"""

from dataclasses import dataclass
from functools import cached_property

from ...lang.routine import Routine, Value


@dataclass(frozen=True)
class RowTiles:
    """`outputs` in tiles of `size`; output q reads from input q · stride − low on, `span` of them.

    >>> tiles = RowTiles(outputs=10, size=4, stride=1, low=1, span=3, inputs=10)
    >>> tiles.count, [tiles.start(n) for n in range(3)], (tiles.first_inside, tiles.behind_inside)
    (3, [0, 4, 6], (1, 2))
    """

    outputs: int
    size: int
    stride: int
    low: int
    span: int
    inputs: int

    @property
    def count(self) -> int:
        """Tiles of a row."""
        return -(-self.outputs // self.size)

    def start(self, tile: int) -> int:
        """The first output of a tile."""
        return min(tile * self.size, self.outputs - self.size)

    def column(self, r: Routine, tile: Value) -> Value:
        """The same while a routine runs."""
        return r.minimum(tile * self.size, self.outputs - self.size)

    def first_read(self, output: int) -> int:
        """The first column that an output reads; may lie outside of the image."""
        return output * self.stride - self.low

    def read(self, outputs: int) -> int:
        """Columns from the first to the last that so many neighbouring outputs read."""
        return (outputs - 1) * self.stride + self.span

    @cached_property
    def _inside(self) -> list[int]:
        firsts = [self.first_read(self.start(tile)) for tile in range(self.count)]
        room = self.inputs - self.read(self.size)
        return [tile for tile, first in enumerate(firsts) if 0 <= first <= room]

    @property
    def first_inside(self) -> int:
        """The first tile that sees no padding; `count` if there is none."""
        return self._inside[0] if self._inside else self.count

    @property
    def behind_inside(self) -> int:
        """The first tile after it that does; `count` if there is none."""
        return self._inside[-1] + 1 if self._inside else self.count
