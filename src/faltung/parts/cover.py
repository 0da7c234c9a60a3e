"""Many things in tiles of one size: the last tile overlaps the one before where they do not fit.

What lies in two tiles is computed twice, with the same result; that costs less than code for a tile
of another size.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from ..lang.routine import Routine, Value


class Cover:
    """`count` things, at least one tile of `size`, in at most `wanted` blocks for threads to share.

    >>> cover = Cover(count=21, size=4, wanted=3)
    >>> cover.blocks, cover.share  # 0 4 | 8 12 | 16 and 17: tiles that overlap are in one block
    (3, 2)
    """

    def __init__(self, count: int, size: int, wanted: int) -> None:
        self.count, self.size, self.full = count, size, count // size
        self.share = -(-self.full // min(self.full, wanted))
        self.blocks = -(-self.full // self.share)

    @contextmanager
    def loop(self, r: Routine, block: Value) -> Iterator[Value]:
        """The tiles of a block, each by its first thing."""
        if self.count == self.size:
            yield r.const(0)
            return
        first = block * self.share
        last = r.minimum(first + self.share, self.full)
        if self.count % self.size:
            is_end = r.apply("eq", last, self.full)
            last = last + r.select(is_end, r.const(1), r.const(0))
        with r.loop(first, last) as loop:
            yield r.minimum(loop.index * self.size, self.count - self.size)
