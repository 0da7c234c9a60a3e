"""The taps of one axis in groups that are summed up together.

Taps that are s/g apart, with g = gcd(s, d), read the same input for outputs that are d/g apart:
(q + d/g)·s + t·d = q·s + (t + s/g)·d. They form a class; with stride 1 there is one. A class is cut
into groups as even as can be, since each size of group is code of its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd


@dataclass(frozen=True)
class TapClass:
    """Taps first, first + step, …; the outputs that share an input through them are `apart`."""

    first: int
    step: int
    count: int
    apart: int

    def runs(self, most: int) -> Iterator["TapRun"]:
        """Groups of at most so many taps.

        >>> [(run.begin, run.size, run.groups) for run in TapClass(0, 1, 7, 1).runs(3)]
        [(0, 3, 1), (3, 2, 2)]
        """
        groups = -(-self.count // most)
        size, larger = divmod(self.count, groups)
        if larger:
            yield TapRun(self, 0, size + 1, larger)
        if groups > larger:
            yield TapRun(self, larger * (size + 1), size, groups - larger)


@dataclass(frozen=True)
class TapRun:
    """Some groups of `size` neighbours of a class each; `begin` is the first one's number in it."""

    of: TapClass
    begin: int
    size: int
    groups: int

    @property
    def end(self) -> int:
        """The number in the class behind the last one."""
        return self.begin + self.size * self.groups


def even_sizes(count: int, most: int) -> list[int]:
    """Sizes of the groups that so many things can be cut into evenly, at most so large.

    >>> even_sizes(7, 5)
    [4, 3, 2, 1]
    """
    sizes = {-(-count // groups) for groups in range(1, count + 1)}
    return sorted((size for size in sizes if size <= most), reverse=True)


def tap_classes(kernel_size: int, stride: int, dilation: int) -> list[TapClass]:
    """The classes of an axis.

    >>> [(c.first, c.step, c.count) for c in tap_classes(kernel_size=5, stride=2, dilation=1)]
    [(0, 2, 3), (1, 2, 2)]
    """
    common = gcd(stride, dilation)
    step = stride // common
    return [
        TapClass(first, step, -(-(kernel_size - first) // step), dilation // common)
        for first in range(min(step, kernel_size))
    ]
