"""How to cut work so that no thread has much more to do than another, nor is in another's way.

Thread t of n does the items from ⌊t · items / n⌋ to ⌊(t + 1) · items / n⌋ (`lang/launch.py`). Items
count blocks along several axes, and the last block of an axis is often smaller than the others: of
56 rows in blocks of 32, the thread that has the first block does a third more than the other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

_LINE = 64  # bytes


@dataclass(frozen=True)
class Pieces:
    """An axis in `count` pieces of equal size, but for the last."""

    count: int
    size: int
    last: int

    @property
    def total(self) -> int:
        """Of all pieces."""
        return (self.count - 1) * self.size + self.last


def cut(total: int, size: int) -> Pieces:
    """Pieces of that size, and what is left over as the last; one of size 0 for nothing.

    >>> cut(56, 16)
    Pieces(count=4, size=16, last=8)
    """
    count = max(1, -(-total // size))
    return Pieces(count, size, total - (count - 1) * size)


def largest_share(axes: Sequence[Pieces], threads: int) -> float:
    """The part of all work that the thread with the most of it has; the first axis is innermost.

    >>> largest_share([cut(56, 32)], threads=2)
    0.5714285714285714
    >>> largest_share([cut(56, 28), cut(3, 1)], threads=2)
    0.5
    """
    items, whole = prod(axis.count for axis in axes), prod(axis.total for axis in axes)
    if threads <= 1 or not whole:
        return 1.0
    ends = [_before(axes, items * thread // threads) for thread in range(threads + 1)]
    return max(end - begin for begin, end in pairwise(ends)) / whole


def _before(axes: Sequence[Pieces], item: int) -> int:
    """The work of all items before that one."""
    done, inside = 0, prod(axis.total for axis in axes)
    blocks, outside = prod(axis.count for axis in axes), 1
    for axis in reversed(axes):
        inside //= axis.total
        blocks //= axis.count
        number, item = divmod(item, blocks)
        if number == axis.count:
            return done + outside * axis.total * inside
        done += outside * number * axis.size * inside
        outside *= axis.size if number < axis.count - 1 else axis.last
    return done


def evenly(total: int, size: int) -> Iterator[int]:
    """Sizes of blocks, in whole tiles of `size`, with which the last block is not much smaller.

    They make one, two … eight equal blocks, then every second number of them, every fourth …

    >>> list(evenly(56, 8))
    [8, 16, 24, 32, 56]
    """
    tiles, found = -(-total // size), []
    pieces = step = 1
    while pieces < tiles:
        found.append(-(-tiles // pieces))
        step = max(1, pieces // 4)
        pieces += step
    for count in sorted({1, *found}):
        yield count * size


def doubled(limit: int) -> Iterator[int]:
    """1, 2, 4 … and the limit."""
    number = 1
    while number < limit:
        yield number
        number *= 2
    yield limit


def whole_lines(numbers: int, item_size: int) -> int:
    """So many numbers in whole cache lines.

    >>> whole_lines(100, 4), whole_lines(0, 4)
    (112, 0)
    """
    line = _LINE // item_size
    return -(-numbers // line) * line
