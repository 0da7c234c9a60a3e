"""How to cut the gradient of a weight by Winograd's filtering: tiles, blocks, shares of channels.

An item takes some vectors of input channels × some of output channels in a part of the images. It
goes through blocks of tiles: transforms both, multiplies them product by product, and keeps the
sums of all products until the end. The larger the shares of channels, the less is transformed
several times, and the more sums there are.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import log2, prod

from ..winograd.strips import line_of
from ..winograd.tiles import Block, PlainAxis, TiledAxis
from ..winograd.transforms import Transform, transform
from .taps import TapClass, TapRun

_LINE = 64  # bytes
_ITEMS = 8  # parts of the images, less where there are so many
_SHARE = 4  # vectors of input × output channels
_UNROLLED = 64  # multiply-adds in a turn
MOST_WOVEN = 25  # taps that are woven in registers

# cycles, as seen on a processor with AVX-512
_COPIED, _TURNED = 10.0, 8.0  # a vector of a strip; or turned, besides one for a round of picks
_FACTOR = 4.0  # to write a factor far from the one before, besides its time to the cache
_EFFICIENCY = 0.92  # of multiply-adds in the innermost loop
SUM, LAST = 2.5, 2.5  # to fetch a sum and put it back, or to fetch it at the end
_TILE = 20.0  # until the sums of a tile are under way
_WOVEN = 3.0  # to weave and write a vector of the gradient, for each that is picked
_NEAR, _FAR = 48.0, 8.0  # bytes a cycle from the second cache, and from beyond
_FITS = 1.2e6  # bytes that the second cache holds
_UNHIDDEN = 0.5  # of the time that sums and factors take to arrive
_BESIDES = 0.98  # cycles as they were seen, to those that are counted


@dataclass(frozen=True)
class WinogradWeightProblem:
    """Sizes of the problem, on one machine; channels are those of a group."""

    batch: int
    groups: int
    inputs: int
    outputs: int
    depth: PlainAxis
    high: PlainAxis
    wide: PlainAxis
    dtype: str
    last: bool
    """Whether images lie channels last, and the gradient with them."""
    lanes: int
    registers: int

    @property
    def wide_dtype(self) -> str:
        """What the numbers are widened to."""
        return "float64" if self.dtype == "float64" else "float32"

    @property
    def kind(self) -> str:
        """The kind of a number in a register."""
        return "f64" if self.dtype == "float64" else "f32"

    @property
    def item_size(self) -> int:
        """Bytes of a number in a register."""
        return 8 if self.dtype == "float64" else 4

    @property
    def taps(self) -> int:
        """Taps of all axes."""
        return self.depth.taps * self.high.taps * self.wide.taps

    @property
    def numbers(self) -> int:
        """Numbers of the weight."""
        return self.groups * self.outputs * self.inputs * self.taps

    @property
    def vectors(self) -> tuple[int, int]:
        """Vectors of a group's input and output channels."""
        return -(-self.inputs // self.lanes), -(-self.outputs // self.lanes)

    def lanes_of(self, vectors: int) -> int:
        """Lanes of so many vectors of output channels that stand for something."""
        return vectors * self.lanes if self.outputs >= self.lanes else self.outputs


@dataclass(frozen=True)
class WinogradWeightCutting:
    """How the work is cut."""

    outputs: tuple[int, int]
    """Rows and columns of outputs of a tile."""
    high: int
    """Tiles of a block from top to bottom,"""
    wide: int
    """and from left to right."""
    inputs: int
    """Vectors of input channels of an item,"""
    made: int
    """and of output channels."""
    vectors: int
    """Vectors of input channels that are summed in registers at a time, times"""
    most: int
    """so many output channels."""
    images: int = 1
    """Images of a block; it divides the batch."""


@dataclass(frozen=True)
class WinogradWeightLayout:
    """Sizes and places of everything that a cut problem needs in memory; counts of numbers."""

    problem: WinogradWeightProblem
    cutting: WinogradWeightCutting

    @cached_property
    def high(self) -> Block:
        """Blocks of tiles from top to bottom; the last one may reach beyond the outputs."""
        return _block(self.problem.high, self.cutting.outputs[0], self.cutting.high)

    @cached_property
    def wide(self) -> Block:
        """Blocks of tiles from left to right."""
        return _block(self.problem.wide, self.cutting.outputs[1], self.cutting.wide)

    @property
    def tiles(self) -> int:
        """Tiles of a block, of all its images."""
        return self.cutting.high * self.cutting.wide * self.cutting.images

    @property
    def products(self) -> int:
        """Multiplications of a tile, an input channel and an output channel."""
        return self.high.axis.transform.size * self.wide.axis.transform.size

    @cached_property
    def factors(self) -> tuple[Fraction, ...]:
        """The factors in all transforms."""
        both = (self.high.axis.transform, self.wide.axis.transform)
        found = dict.fromkeys(c for t in both for c in t.factors_of("bt", "a", "gt"))
        return tuple(found) or (Fraction(1),)

    # -- work -------------------------------------------------------------------------------------

    @property
    def blocks(self) -> tuple[int, int]:
        """Shares of input and of output channels; the last one may share with the one before."""
        inputs, outputs = self.problem.vectors
        return -(-inputs // self.cutting.inputs), -(-outputs // self.cutting.made)

    @property
    def visits(self) -> int:
        """Blocks of tiles of all output planes of all images."""
        p = self.problem
        images = p.batch // self.cutting.images
        return images * p.depth.outputs * self.high.count * self.wide.count

    @property
    def parts(self) -> int:
        """Parts of the images whose sums are added at the end; the same for any threads."""
        inputs, outputs = self.problem.vectors
        shares = self.problem.groups * -(-inputs // _SHARE) * -(-outputs // _SHARE)
        return max(1, min(self.visits, -(-_ITEMS // shares)))

    @property
    def is_single(self) -> bool:
        """Whether every sum of a part is made at once, of a single block."""
        return self.visits <= self.parts and self.problem.depth.taps == 1

    @property
    def items(self) -> int:
        """Pieces of work."""
        return self.parts * self.problem.groups * prod(self.blocks)

    @property
    def made(self) -> int:
        """Output channels of an item; the last vector may have some of the one before again."""
        return self.problem.lanes_of(self.cutting.made)

    def runs(self) -> Iterator[TapRun]:
        """The output channels of an item in tiles."""
        return TapClass(0, 1, self.made, 0).runs(self.cutting.most)

    def together(self, outputs: int) -> int:
        """Tiles of the image in a turn: a divisor of those of a block."""
        most = max(1, _UNROLLED // (outputs * self.cutting.vectors))
        return next(n for n in range(most, 0, -1) if self.tiles % n == 0)

    # -- memory -----------------------------------------------------------------------------------

    @cached_property
    def input_step(self) -> int:
        """Transformed inputs: from a product to the next."""
        return self._odd_lines(self.tiles * self.cutting.inputs * self.problem.lanes)

    @cached_property
    def made_step(self) -> int:
        """Transformed gradients: from a product to the next."""
        return self._odd_lines(self.tiles * self.cutting.made * self.problem.lanes)

    @cached_property
    def sum_step(self) -> int:
        """Sums: from a product to the next."""
        return self._odd_lines(self.made * self.cutting.inputs * self.problem.lanes)

    @property
    def strip_vectors(self) -> tuple[int, int]:
        """Vectors of either that are read at a time: all that lie side by side in memory."""
        return (self.cutting.inputs, self.cutting.made) if self.problem.last else (1, 1)

    @cached_property
    def scratch(self) -> tuple[int, int, int, int, int]:
        """What each thread has of its own, in the order of the routine's buffers."""
        lanes = self.problem.lanes
        runs = [(b.input_runs[1], b.output_runs[1]) for b in (self.high, self.wide)]
        strips = [
            rows * line_of(columns, vectors * lanes, lanes)
            for rows, columns, vectors in zip(*runs, self.strip_vectors, strict=True)
        ]
        factors = [self.products * step for step in (self.input_step, self.made_step)]
        sums = self.problem.depth.taps * self.products * self.sum_step
        return strips[0], strips[1], factors[0], factors[1], sums

    def _odd_lines(self, numbers: int) -> int:
        """Rounded up to an odd number of cache lines, so that not all steps meet in one set."""
        line = _LINE // self.problem.item_size
        return (-(-numbers // line) | 1) * line

    # -- time -------------------------------------------------------------------------------------

    @cached_property
    def cycles(self) -> float:
        """Estimated cycles of one core for everything."""
        p, c = self.problem, self.cutting
        high, wide = self.high.axis.transform, self.wide.axis.transform
        moving = _COPIED if p.last else _TURNED + log2(p.lanes)
        read = c.images * prod(b.input_runs[1] for b in (self.high, self.wide))
        made = c.images * prod(b.output_runs[1] for b in (self.high, self.wide))
        inputs = c.inputs * (read * moving + self.tiles * self._transforming("bt"))
        outputs = c.made * (made * moving + self.tiles * self._transforming("a"))
        planes = p.depth.executed / p.depth.outputs
        visit = outputs + planes * (inputs + self._multiplying())
        each = LAST * self.products + finishing(high, wide)
        ends = self.made * c.inputs * (p.depth.taps * each + p.taps * _WOVEN)
        kept = self.scratch[4] * p.item_size
        ends += kept * (1 if self.is_single else 2) / self._speed
        shares = p.groups * prod(self.blocks)
        computing = shares * (self.visits * visit + self.parts * ends)
        images = p.batch * p.groups * (p.inputs * _size(p, "inputs") + p.outputs * _size(p))
        return _BESIDES * computing + (self.parts * p.numbers + images) * p.item_size / _FAR

    def _transforming(self, matrix: str) -> float:
        """One vector of channels of one tile: rows first, then columns."""
        high, wide = self.high.axis.transform, self.wide.axis.transform
        rows, columns = (t.size if matrix == "bt" else t.outputs for t in (high, wide))
        arithmetic = rows * wide.operations[matrix] + wide.size * high.operations[matrix]
        factor = _FACTOR + self.problem.lanes * self.problem.item_size / self._speed
        return arithmetic / 2 + self.products * factor + rows * columns

    def _multiplying(self) -> float:
        """All products of a block."""
        p, c = self.problem, self.cutting
        passes = -(-c.inputs // c.vectors)
        each = sum(
            run.groups * (self.tiles * self._step(run.size) + c.vectors * run.size * SUM + _TILE)
            for run in self.runs()
        )
        computing = self.products * passes * each
        sums = (1 if self.is_single else 2) * self.scratch[4] / p.depth.taps
        factors = self.scratch[2] + self.scratch[3] * passes
        return computing + _UNHIDDEN * (sums + factors) * p.item_size / self._speed

    @cached_property
    def _speed(self) -> float:
        """Bytes a cycle that come from the caches, as far as those hold factors and sums."""
        used = sum(self.scratch[2:]) * self.problem.item_size
        far = min(1.0, max(0.0, used / _FITS - 1))
        return 1 / (far / _FAR + (1 - far) / _NEAR)

    def _step(self, outputs: int) -> float:
        """The products of a tile of the image with so many output channels."""
        vectors = self.cutting.vectors
        return max(vectors * outputs / 2, (vectors + outputs) * 0.55, 4.0) / _EFFICIENCY


def _size(problem: WinogradWeightProblem, of: str = "outputs") -> int:
    """Pixels of an image, or of one of the results."""
    return prod(getattr(axis, of) for axis in (problem.depth, problem.high, problem.wide))


def _block(plain: PlainAxis, outputs: int, tiles: int) -> Block:
    return Block(TiledAxis(plain, transform(outputs, plain.taps)), tiles)


def finishing(high: Transform, wide: Transform) -> float:
    """Gᵀ M G of one vector of channels."""
    return (high.size * wide.operations["gt"] + wide.taps * high.operations["gt"]) / 2
