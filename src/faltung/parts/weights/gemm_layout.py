"""How to cut the gradient of a weight, as a matrix product, into tiles.

A tile takes `vectors` vectors of input channels × `outputs` output channels through one tap: so
many sums in registers. At each pixel of gy it loads the vectors of the pixel of x that is seen
through the tap, from a panel with channels side by side, and multiplies them by one number of gy
after the other, spread over the lanes, wherever that lies.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from ...lang.ops import STORAGE
from ..gemm.problem import Span
from .taps import TapClass, TapRun

_PANEL = 384 << 10  # bytes of x's panel and of what is seen of gy at a time
_ITEMS = 8  # pieces of work to share out, if there are so many
_WORTH = 160  # products of a pixel of x that are worth another copy of it
_UNROLLED = 96  # multiply-adds in a turn
_TURN, _ROW, _TILE = 1.5, 10, 40  # cycles until a turn, a row and a tile are under way
_COPY, _TURNED, _SUM, _WOVEN = 8.0, 9.0, 3.0, 6.0  # cycles for a vector
_LATENCY = 4  # cycles of a multiply-add
_FAR = 8.0  # bytes of the gradient that are written in a cycle


@dataclass(frozen=True)
class GemmWeightProblem:
    """Sizes of the problem, on one machine; channels are those of a group."""

    batch: int
    groups: int
    inputs: int
    outputs: int
    depth: Span
    rows: Span
    columns: Span
    channels_last: bool
    dtype: str
    lanes: int
    registers: int

    @property
    def wide(self) -> str:
        """The dtype of numbers in memory that are as in registers."""
        return "float64" if STORAGE[self.dtype][0] == "f64" else "float32"

    @property
    def item_size(self) -> int:
        """Bytes of a number in a register."""
        return STORAGE[self.wide][1]

    @property
    def taps(self) -> int:
        """Kernel taps."""
        return self.depth.kernel_size * self.rows.kernel_size * self.columns.kernel_size

    @property
    def vectors(self) -> int:
        """Vectors of input channels; the last may be partly empty."""
        return -(-self.inputs // self.lanes)

    @property
    def numbers(self) -> int:
        """Numbers of the weight."""
        return self.groups * self.outputs * self.inputs * self.taps


@dataclass(frozen=True)
class GemmWeightTile:
    """Vectors of input channels, and output channels at most."""

    vectors: int
    outputs: int


@dataclass(frozen=True)
class GemmWeightLayout:
    """A problem cut with one tile: what the panels hold, and how long it takes."""

    problem: GemmWeightProblem
    tile: GemmWeightTile

    # -- work -------------------------------------------------------------------------------------

    @property
    def blocks(self) -> int:
        """Blocks of input channels of a group."""
        return -(-self.problem.vectors // self.tile.vectors)

    @property
    def splits(self) -> int:
        """Parts of a group's output channels, where blocks alone are too few for many threads."""
        p = self.problem
        wanted = -(-_ITEMS // (self.blocks * p.groups))
        most = max(1, min(wanted, p.outputs // self.tile.outputs, p.outputs * p.taps // _WORTH))
        return next(n for n in range(most, 0, -1) if p.outputs % n == 0)

    @property
    def outputs(self) -> int:
        """Output channels of an item."""
        return self.problem.outputs // self.splits

    def runs(self) -> Iterator[TapRun]:
        """The output channels of an item in tiles."""
        return TapClass(0, 1, self.outputs, 0).runs(self.tile.outputs)

    # -- panels -----------------------------------------------------------------------------------

    @property
    def width(self) -> int:
        """Numbers of a pixel in x's panel."""
        return self.tile.vectors * self.problem.lanes

    @cached_property
    def chunk(self) -> tuple[int, int]:
        """Rows and columns of outputs at a time; fewer columns only where one row is too long."""
        p = self.problem
        pixels = _PANEL // ((self.width + self.outputs) * p.item_size)
        row = p.columns.inputs
        if p.rows.outputs == p.rows.kernel_size == 1 and row > pixels:
            more = (p.columns.kernel_size - 1) * p.columns.dilation
            most = max((pixels - more) // p.columns.stride, more, 64)
            return 1, self._even(p.columns.outputs, most)
        more = (p.rows.kernel_size - 1) * p.rows.dilation
        most = max((pixels // max(row, 1) - more) // p.rows.stride, more // p.rows.stride, 4)
        return self._even(p.rows.outputs, most), p.columns.outputs

    @staticmethod
    def _even(count: int, most: int) -> int:
        """Things in each chunk of at most so many, so that the last is not much smaller."""
        return -(-count // -(-count // most))

    @property
    def chunks(self) -> tuple[int, int]:
        """Chunks of an output plane: of its rows, and of a row."""
        rows, columns = self.chunk
        p = self.problem
        return -(-p.rows.outputs // rows), -(-p.columns.outputs // columns)

    @property
    def pixels(self) -> int:
        """Pixels of x's panel: whole rows, or part of one; and some that nobody needs."""
        rows, columns = self.chunk
        p = self.problem
        wide = min(p.columns.inputs, p.columns.reach(columns))
        if columns == p.columns.outputs:
            wide = p.columns.inputs
        return min(p.rows.inputs, p.rows.reach(rows)) * wide + p.lanes

    @property
    def copies_gy(self) -> bool:
        """Whether gy is copied: where its numbers must be widened."""
        return self.problem.dtype != self.problem.wide

    @property
    def x_numbers(self) -> int:
        """Numbers of x's panel."""
        return self.pixels * self.width

    @property
    def gy_numbers(self) -> int:
        """Numbers of gy's panel, where it is copied."""
        rows, columns = self.chunk
        return self.outputs * rows * columns if self.copies_gy else 0

    @property
    def panel_numbers(self) -> int:
        """Numbers of both panels of a thread, whole lines of them."""
        return self._lines(self.x_numbers + self.gy_numbers)

    @property
    def sum_numbers(self) -> int:
        """Numbers of the sums of an item, a vector of channels for each tap."""
        return self._lines(self.outputs * self.problem.taps * self.width)

    def _lines(self, numbers: int) -> int:
        line = 64 // self.problem.item_size
        return -(-numbers // line) * line

    @property
    def visits(self) -> int:
        """Chunks of all output planes of all images."""
        rows, columns = self.chunks
        return self.problem.batch * self.problem.depth.outputs * rows * columns

    def together(self, outputs: int) -> int:
        """Pixels of gy in a turn."""
        return max(1, round(_UNROLLED / (outputs * self.tile.vectors)))

    # -- time -------------------------------------------------------------------------------------

    @cached_property
    def cycles(self) -> float:
        """Estimated cycles of one core for everything."""
        p, v = self.problem, self.tile.vectors
        planes = p.depth.kernel_size * p.depth.seen(1)
        summing = sum(run.groups * self._tile_cycles(run.size) for run in self.runs())
        fill = _COPY if p.channels_last else _TURNED
        filling = self.pixels * v * fill + self.gy_numbers / p.lanes * _COPY
        visit = planes * (p.rows.kernel_size * p.columns.kernel_size * summing + filling)
        sums = self.outputs * p.taps * v * (_SUM + (0 if p.channels_last else _WOVEN))
        items = p.groups * self.blocks * self.splits
        return items * (self.visits * visit + sums) + p.numbers * p.item_size / _FAR

    def _tile_cycles(self, outputs: int) -> float:
        p, v = self.problem, self.tile.vectors
        rows = self.chunk[0] * p.rows.seen(1)
        columns = self.chunk[1] * p.columns.seen(1)
        loads = v + outputs
        each = max(v * outputs / 2 + 0.14 * loads, loads / 2, _LATENCY)
        row = columns * (each + _TURN / self.together(outputs)) + _ROW
        return rows * row + 3 * v * outputs + _TILE


@lru_cache(maxsize=1024)
def best_gemm_layout(problem: GemmWeightProblem) -> GemmWeightLayout:
    """The layout that takes the fewest cycles."""
    layouts = []
    for vectors in range(1, min(4, problem.vectors) + 1):
        most = (problem.registers - 2 - vectors) // vectors
        for outputs in range(1, min(most, problem.outputs) + 1):
            layouts.append(GemmWeightLayout(problem, GemmWeightTile(vectors, outputs)))
    return min(layouts, key=lambda layout: layout.cycles)
