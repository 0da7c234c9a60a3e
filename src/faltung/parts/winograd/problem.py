"""A convolution as Winograd's filtering sees it, and how it is cut for one machine.

Two axes are cut into tiles (one of them may have a single line and a filter of one tap), the third
one, depth, is summed directly: for each of its taps the products of all channels are added up
before they are transformed back.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import prod

from .outlet import Inlet, Outlet
from .strips import line_of
from .tiles import Block, PlainAxis, tiled

_LINE = 64  # bytes
_FEW_LINES = 12  # so far apart, the tiles that are summed together still lie in different sets


@dataclass(frozen=True)
class Problem:
    """What is to be computed; channels are those of one group."""

    batch: int
    groups: int
    inputs: int
    outputs: int
    depth: PlainAxis
    high: PlainAxis
    wide: PlainAxis
    dtype: str
    last: bool
    """Whether images lie channels last."""
    bias: bool = False
    activation: str | None = None
    outlet: Outlet | None = None
    """Where outputs belong, if not where they are computed."""
    inlet: Inlet | None = None
    """Where inputs are, if not where they are needed."""
    residual: bool = False
    """Whether something is added to outputs that stay where they are computed."""

    @property
    def item_size(self) -> int:
        """Bytes of a number in a register."""
        return 8 if self.dtype == "float64" else 4

    @property
    def kind(self) -> str:
        """The kind of a number in a register."""
        return "f64" if self.dtype == "float64" else "f32"

    @property
    def together(self) -> int:
        """Vectors of output channels that have to be written together."""
        return max(self.outlet.together, 1) if self.outlet else 1

    @property
    def wide_dtype(self) -> str:
        """What the numbers are widened to."""
        return "float64" if self.dtype == "float64" else "float32"


@dataclass(frozen=True)
class Cutting:
    """How the work on a problem is cut: what a block is, and what is done with it at a time."""

    lanes: int
    outputs: tuple[int, int]
    """Rows and columns of outputs of a tile."""
    high: int
    """Tiles of a block from top to bottom,"""
    wide: int
    """and from left to right."""
    planes: int
    """Output planes of an item, one after the other."""
    tiles: int
    """Tiles whose products are summed in registers at a time,"""
    vectors: int
    """times vectors of output channels."""
    chunk: int
    """Vectors of output channels whose products are kept until they are transformed back."""
    shares: int = 1
    """Items that share the output channels of a block; each transforms the block's inputs."""


@dataclass(frozen=True)
class Layout:
    """Sizes and places of everything that a cut problem needs in memory; counts of numbers."""

    problem: Problem
    cutting: Cutting

    @cached_property
    def high(self) -> Block:
        """Blocks of tiles from top to bottom."""
        return Block(tiled(self.problem.high, self.cutting.outputs[0]), self.cutting.high)

    @cached_property
    def wide(self) -> Block:
        """Blocks of tiles from left to right."""
        return Block(tiled(self.problem.wide, self.cutting.outputs[1]), self.cutting.wide)

    @cached_property
    def products(self) -> int:
        """Multiplications of a tile, an input channel and an output channel."""
        return self.high.axis.transform.size * self.wide.axis.transform.size

    @cached_property
    def factors(self) -> tuple[Fraction, ...]:
        """The factors in the transforms of tiles, there and back."""
        both = (self.high.axis.transform, self.wide.axis.transform)
        return tuple(dict.fromkeys(c for t in both for c in t.factors)) or (Fraction(1),)

    @cached_property
    def tiles(self) -> int:
        """Tiles of a block."""
        return self.cutting.high * self.cutting.wide

    @cached_property
    def tiles_read(self) -> int:
        """Tiles whose inputs a block transforms: its own, and those that parts of filters see.

        With such parts a block has one row of tiles.
        """
        return self.cutting.high * (self.cutting.wide + self.wide.axis.halo)

    @cached_property
    def terms(self) -> int:
        """Numbers of a transformed weight that are multiplied for one sum."""
        return self.problem.depth.taps * self.wide.axis.parts * self.problem.inputs

    @cached_property
    def input_vectors(self) -> int:
        """Vectors that hold the input channels of a group."""
        return -(-self.problem.inputs // self.cutting.lanes)

    @cached_property
    def output_vectors(self) -> int:
        """Vectors that hold the output channels of a group."""
        return -(-self.problem.outputs // self.cutting.lanes)

    @cached_property
    def padded_vectors(self) -> int:
        """The same with those added that do not exist, so that they are whole chunks."""
        return -(-self.output_vectors // self.cutting.chunk) * self.cutting.chunk

    @cached_property
    def chunks(self) -> int:
        """Chunks of output channels."""
        return self.padded_vectors // self.cutting.chunk

    @cached_property
    def input_strip(self) -> int:
        """Vectors of channels that are read at a time: all that lie side by side in memory."""
        if self.problem.inlet:
            return self.problem.inlet.together or self.input_vectors
        return self.input_vectors if self.problem.last else 1

    @cached_property
    def output_strip(self) -> int:
        """Vectors of channels that are written at a time."""
        if self.problem.outlet:
            return self.problem.outlet.together or self.cutting.chunk
        return self.cutting.chunk if self.problem.last else 1

    @cached_property
    def planes(self) -> int:
        """Transformed input planes that are kept at once: one for each tap of the depth."""
        return self.problem.depth.taps

    @cached_property
    def plane_blocks(self) -> int:
        """Items along the depth."""
        return -(-self.problem.depth.outputs // self.cutting.planes)

    @cached_property
    def items(self) -> int:
        """Pieces of work."""
        blocks = self.high.count * self.wide.count * self.plane_blocks
        return self.problem.batch * self.problem.groups * blocks * self.cutting.shares

    @cached_property
    def tile_step(self) -> int:
        """Transformed inputs: from a tile to the next."""
        line = _LINE // self.problem.item_size
        few = self.problem.inputs <= _FEW_LINES * line
        return (
            -(-self.problem.inputs // line) * line if few else self._odd_lines(self.problem.inputs)
        )

    @cached_property
    def input_step(self) -> int:
        """Transformed inputs: from one of the n² products to the next."""
        return self._odd_lines(self.tiles_read * self.tile_step)

    @cached_property
    def plane_step(self) -> int:
        """Transformed inputs: from a plane to the next."""
        return self.products * self.input_step

    @cached_property
    def transformed(self) -> int:
        """All transformed inputs."""
        return self.planes * self.plane_step

    @cached_property
    def sum_step(self) -> int:
        """Sums of products: from one of the n² products to the next."""
        return self._odd_lines(self.tiles * self.cutting.chunk * self.cutting.lanes)

    @cached_property
    def sums(self) -> int:
        """All sums of products of a chunk."""
        return self.products * self.sum_step

    @cached_property
    def input_pixels(self) -> tuple[int, int]:
        """Lines and columns that a block reads."""
        return prod(self.high.input_runs), prod(self.wide.input_runs)

    @cached_property
    def output_pixels(self) -> tuple[int, int]:
        """Lines and columns that a block makes."""
        return prod(self.high.output_runs), prod(self.wide.output_runs)

    @cached_property
    def strips(self) -> tuple[int, int]:
        """The strips of both."""
        lanes = self.cutting.lanes
        (lines_in, columns_in), (lines_out, columns_out) = self.input_pixels, self.output_pixels
        return (
            lines_in * line_of(columns_in, self.input_strip * lanes, lanes),
            lines_out * line_of(columns_out, self.output_strip * lanes, lanes),
        )

    @cached_property
    def scratch(self) -> tuple[int, int, int, int]:
        """What each thread has of its own, in the order of the routine's buffers."""
        return self.strips[0], self.transformed, self.sums, self.strips[1]

    @cached_property
    def weights(self) -> int:
        """The transformed weight."""
        p = self.problem
        outputs = p.groups * self.padded_vectors * self.cutting.lanes
        return outputs * self.products * self.terms

    def _odd_lines(self, numbers: int) -> int:
        """Rounded up to an odd number of cache lines, so that not all steps meet in one set."""
        line = _LINE // self.problem.item_size
        return (-(-numbers // line) | 1) * line
