"""An axis of a convolution cut into tiles, and tiles gathered into blocks, dilation included.

The outputs q ≡ φ (mod d) of a convolution with dilation d read only inputs of one residue, so they
are an undilated convolution of their own: phase φ. m outputs of one phase are a tile. The tiles of
all phases that lie within m·d neighbouring outputs are a *group*; together they cover them all.

    group γ   outputs γ·m·d … γ·m·d + m·d − 1
    tile (γ, φ)   outputs γ·m·d + φ + j·d, j < m;  inputs that − low + i·d, i < n = m + r − 1

Along an axis with a stride of s, the next tile's inputs begin m·s further on. A filter longer than
any whose transform is exact enough may be cut into *parts* of m taps: part j of a tile reads what
part 0 of the j-th tile after it reads, so that a tile is transformed once for all parts.

A block is what a piece of work takes of an axis: whole groups, or some phases of one group. Either
way what it reads and writes are *runs* of neighbouring lines: one run for whole groups, otherwise
one for each i and one for each j. Blocks are all of one size: the last one begins earlier, where it
would end outside, and skips what another block has done.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ...lang.routine import Routine, Value
from .transforms import Transform, noise_in_parts, sizes_in_parts, tile_sizes, transform


@dataclass(frozen=True)
class PlainAxis:
    """One axis: output q reads the inputs q·stride − low + t·dilation that exist, for t < taps."""

    inputs: int = 1
    outputs: int = 1
    taps: int = 1
    low: int = 0
    dilation: int = 1
    stride: int = 1
    """More than 1 only with a dilation of 1."""

    @property
    def reads_all(self) -> bool:
        """Whether every tap of every output reads an input."""
        return self.low <= 0 and self.seen - self.low <= self.inputs

    @property
    def seen(self) -> int:
        """Inputs from the first output's first tap to the last one's last, padding counted."""
        return (self.outputs - 1) * self.stride + (self.taps - 1) * self.dilation + 1

    @property
    def executed(self) -> int:
        """How many (output, tap) pairs read an input."""
        starts = [t * self.dilation - self.low for t in range(self.taps)]
        ends = [-(-max(0, self.inputs - start) // self.stride) for start in starts]
        begins = [-(-max(0, -start) // self.stride) for start in starts]
        return sum(
            max(0, min(self.outputs, end) - begin)
            for begin, end in zip(begins, ends, strict=True)
        )  # fmt: skip


@dataclass(frozen=True)
class TiledAxis:
    """An axis in tiles of `transform.outputs` outputs."""

    plain: PlainAxis
    transform: Transform
    parts: int = 1
    """Filters that follow each other, and together are the axis's; as many taps each as outputs."""

    @property
    def noise(self) -> float:
        """Rounding error in float32 as a multiple of a direct sum's; axes multiply."""
        t = self.transform
        return t.noise if self.parts == 1 else noise_in_parts(t.outputs)

    @property
    def halo(self) -> int:
        """Tiles after a block's that its last ones see."""
        return (self.parts - 1) * self.dilation

    @property
    def dilation(self) -> int:
        """Inputs from a tap to the next."""
        return self.plain.dilation

    @property
    def span(self) -> int:
        """Neighbouring outputs of a group."""
        return self.transform.outputs * self.dilation

    @property
    def groups(self) -> int:
        """Groups of tiles that cover all outputs."""
        return -(-self.plain.outputs // self.span)


@dataclass(frozen=True)
class Block:
    """`tiles` tiles along an axis: a multiple of the dilation, or fewer than that."""

    axis: TiledAxis
    tiles: int

    def __post_init__(self) -> None:
        most = self.axis.groups * self.axis.dilation
        if self.axis.parts > 1 and not self.is_whole:
            raise ValueError(f"a block of filters in {self.axis.parts} parts is of whole groups")
        if not (self.is_whole or self.tiles < self.axis.dilation) or not 0 < self.tiles <= most:
            raise ValueError(
                f"a block of {self.tiles} tiles is no number of whole groups of "
                f"{self.axis.dilation}, nor a part of one, of {most} tiles in all"
            )

    @property
    def is_whole(self) -> bool:
        """Whether it is of whole groups."""
        return self.tiles % self.axis.dilation == 0

    @property
    def groups(self) -> int:
        """Groups of a block, if it is of whole ones."""
        return self.tiles // self.axis.dilation

    @property
    def count(self) -> int:
        """Blocks that the axis is cut into."""
        if self.is_whole:
            return -(-self.axis.groups // self.groups)
        return self.axis.groups * self._parts

    @property
    def input_runs(self) -> tuple[int, int]:
        """How many runs of neighbouring inputs it reads, and how long each is."""
        axis, t = self.axis, self.axis.transform
        if self.is_whole:
            stride, taps = axis.plain.stride, axis.parts * t.taps
            return 1, self.groups * axis.span * stride + (taps - stride) * axis.dilation
        return t.size, self.tiles

    @property
    def output_runs(self) -> tuple[int, int]:
        """How many runs of neighbouring outputs it makes, and how long each is."""
        if self.is_whole:
            return 1, self.groups * self.axis.span
        return self.axis.transform.outputs, self.tiles

    @property
    def step(self) -> int:
        """Lines from a tile's input to its next one, and from its output to its next one."""
        return self.axis.dilation if self.is_whole else self.tiles

    @property
    def _parts(self) -> int:
        """Parts that the phases of a group are cut into."""
        return -(-self.axis.dilation // self.tiles)

    def place(self, r: Routine, number: Value) -> tuple[Value, Value]:
        """The first output of a block, and how much of each output run is another block's."""
        span = self.axis.span
        if self.is_whole:
            first = r.minimum(number * self.groups, self.axis.groups - self.groups)
            return first * span, (number * self.groups - first) * span
        group, part = number // self._parts, number % self._parts
        phase = r.minimum(part * self.tiles, self.axis.dilation - self.tiles)
        return group * span + phase, part * self.tiles - phase

    @contextmanager
    def each(self, r: Routine) -> Iterator[tuple[Value, Value]]:
        """A loop over the tiles: each one's number, and its first line in the runs of outputs."""
        with self._each(r, 0, self.axis.span) as found:
            yield found

    @contextmanager
    def each_read(self, r: Routine) -> Iterator[tuple[Value, Value]]:
        """The same over those that are read, and where they begin in the runs of inputs."""
        with self._each(r, self.axis.parts - 1, self.axis.span * self.axis.plain.stride) as found:
            yield found

    @contextmanager
    def _each(self, r: Routine, more: int, apart: int) -> Iterator[tuple[Value, Value]]:
        """A loop over the block's groups, and `more` of them."""
        if self.tiles + more == 1:
            yield r.const(0), r.const(0)
        elif not self.is_whole:
            with r.loop(0, self.tiles) as loop:
                yield loop.index, loop.index
        elif self.axis.dilation == 1:
            with r.loop(0, self.tiles + more) as loop:
                yield loop.index, loop.index * apart
        else:
            with r.loop(0, self.groups + more) as outer, r.loop(0, self.axis.dilation) as inner:
                tile = outer.index * self.axis.dilation + inner.index
                yield tile, outer.index * apart + inner.index


def sizes_of(plain: PlainAxis) -> tuple[int, ...]:
    """Every m for which tiles of m outputs are known for an axis.

    >>> sizes_of(PlainAxis(64, 64, taps=11))
    (1, 3, 4)
    """
    whole = tile_sizes(plain.taps, plain.stride)
    if plain.stride > 1:
        return whole
    return (*whole, *(m for m in sizes_in_parts(plain.taps) if m not in whole))


def tiled(plain: PlainAxis, outputs: int) -> TiledAxis:
    """The axis in tiles of so many outputs, one of `sizes_of`. Raises `ValueError` for others.

    >>> tiled(PlainAxis(64, 64, taps=11), 4).parts
    3
    """
    if outputs not in sizes_of(plain):
        raise ValueError(f"no tiles of {outputs} outputs are known for {plain}")
    if outputs in tile_sizes(plain.taps, plain.stride):
        return TiledAxis(plain, transform(outputs, plain.taps, plain.stride))
    return TiledAxis(plain, transform(outputs, outputs), -(-plain.taps // outputs))


def block_sizes(axis: TiledAxis, most: int) -> list[int]:
    """Sizes of blocks of at most so many tiles that cut an axis evenly, or nearly so.

    >>> from .transforms import transform
    >>> block_sizes(TiledAxis(PlainAxis(56, 56, 3, 1), transform(4, 3)), most=16)
    [1, 2, 3, 4, 5, 7, 14]
    """
    whole = axis.dilation <= most
    things, unit = (axis.groups, axis.dilation) if whole else (axis.dilation, 1)
    # as many blocks as with that size, but no larger than they must be for it
    sizes = {-(-things // -(-things // size)) for size in range(1, most // unit + 1)}
    return sorted(unit * size for size in sizes)
