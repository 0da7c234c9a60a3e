"""How to cut the gradient of a weight into tiles with channels as lanes.

A vector holds neighbouring channels of x, of as many whole groups as fit. Beside it stand vectors
of gy, one for each output channel of a group: in the lanes of a group, that group's number. A tile
takes `outputs` of those × `rows` row taps × `columns` column taps, so many sums of vectors in
registers. A turn adds the products of some neighbouring pixels of gy: each is loaded once, and each
pixel of x that they see through any of the tile's taps.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product

from ...lang.ops import STORAGE
from ..gemm.problem import Span
from .taps import TapClass, TapRun, even_sizes

_NEAR = 40 << 10  # bytes of panels that the first cache holds
_ITEMS = 8  # pieces of work to share out, if there are so many
_BLOCKS = 8  # vectors of channels: half a kilobyte of a pixel
_MOST_OUTPUTS = 8  # of a tile
_PIXELS = (1, 2, 4, 7, 8)  # in a turn
_MOST_CODE = 260  # multiply-adds in a turn
_TURN, _ROW, _TILE = 3, 10, 30  # cycles until a turn, a row and a tile are under way
_COPY, _REDUCE = 8.0, 6.0  # cycles to copy a vector to a panel, and to write one of sums
_LATENCY = 4  # cycles of a multiply-add


@dataclass(frozen=True)
class ChannelsProblem:
    """Sizes of the problem, on one machine; channels are those of a group."""

    batch: int
    groups: int
    inputs: int
    outputs: int
    depth: Span
    rows: Span
    columns: Span
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
    def channels(self) -> int:
        """Channels of x."""
        return self.groups * self.inputs

    @property
    def together(self) -> int:
        """Groups in a vector."""
        return min(self.lanes // self.inputs, self.groups)

    @property
    def used(self) -> int:
        """Lanes of a vector that are channels."""
        return self.together * self.inputs

    @property
    def blocks(self) -> int:
        """Vectors of channels; in the last there may be fewer groups."""
        return -(-self.groups // self.together)

    @property
    def gy_vectors(self) -> int:
        """Vectors of output channels that belong to a vector of channels."""
        return -(-self.together * self.outputs // self.lanes)

    @property
    def taps(self) -> int:
        """Kernel taps."""
        return self.depth.kernel_size * self.rows.kernel_size * self.columns.kernel_size

    @property
    def numbers(self) -> int:
        """Numbers of the weight."""
        return self.channels * self.outputs * self.taps


@dataclass(frozen=True)
class ChannelsTile:
    """Output channels, row taps and column taps, at most; and neighbouring pixels at a time."""

    outputs: int
    rows: int
    columns: int
    pixels: int


@dataclass(frozen=True)
class ChannelsLayout:
    """A problem cut with one tile: what the panels hold, and how long it takes."""

    problem: ChannelsProblem
    tile: ChannelsTile

    @cached_property
    def x_columns(self) -> int:
        """Columns of x's panel, padding included."""
        span = self.problem.columns
        return span.reach(span.outputs)

    @property
    def x_rows(self) -> int:
        """Rows of x's panel, padding included."""
        return self.problem.rows.reach(self.chunk)

    @cached_property
    def chunk(self) -> int:
        """Rows of outputs at a time: what the cache holds, but not fewer than windows overlap."""
        p, rows = self.problem, self.problem.rows.outputs
        room = _NEAR // (p.item_size * p.lanes)
        more = (p.rows.kernel_size - 1) * p.rows.dilation
        row = p.rows.stride * self.x_columns + p.columns.outputs
        most = min(rows, max((room - more * self.x_columns) // row, 4, more // p.rows.stride))
        return -(-rows // -(-rows // most))

    @property
    def chunks(self) -> int:
        """Chunks of an output plane."""
        return -(-self.problem.rows.outputs // self.chunk)

    @property
    def panel_numbers(self) -> int:
        """Numbers of a thread's panel, whole lines of them."""
        return self._lines(self.x_rows * self.x_columns * self.problem.lanes)

    @property
    def block_numbers(self) -> int:
        """Numbers of the sums of a vector of channels, those of gy behind the weights' and some
        that nobody needs."""
        p = self.problem
        return self._lines(self.weight_numbers + p.gy_vectors * p.lanes)

    @property
    def weight_numbers(self) -> int:
        """Numbers of the sums for the weights of a vector of channels, read in squares."""
        p = self.problem
        return (p.outputs * p.taps + p.lanes) * p.lanes

    @property
    def sum_numbers(self) -> int:
        """Numbers of a part of all sums."""
        return self.problem.blocks * self.block_numbers

    def _lines(self, numbers: int) -> int:
        line = 64 // self.problem.item_size
        return -(-numbers // line) * line

    @property
    def visits(self) -> int:
        """Chunks of all output planes of all images."""
        return self.problem.batch * self.problem.depth.outputs * self.chunks

    @property
    def blocks(self) -> int:
        """Vectors of channels that an item takes, one after the other."""
        return min(self.problem.blocks, _BLOCKS)

    @property
    def shares(self) -> int:
        """Items that the vectors of channels make."""
        return -(-self.problem.blocks // self.blocks)

    @property
    def parts(self) -> int:
        """Parts of the sum that are shared out, where channels are too few for many threads."""
        return max(1, min(self.visits, -(-_ITEMS // self.shares)))

    def passes(self) -> Iterator[tuple[range, TapRun, TapRun]]:
        """Output channels, and groups of row taps and of column taps summed up by the same code."""
        p, tile = self.problem, self.tile
        outputs = [
            range(first, min(first + tile.outputs, p.outputs))
            for first in range(0, p.outputs, tile.outputs)
        ]
        rows = TapClass(0, 1, p.rows.kernel_size, 0).runs(tile.rows)
        columns = TapClass(0, 1, p.columns.kernel_size, 0).runs(tile.columns)
        return product(outputs, rows, columns)

    def readers(self, pixels: int, taps: int) -> dict[int, list[tuple[int, int]]]:
        """By its place in a row of x, which pixels of gy see an input through which taps."""
        span = self.problem.columns
        return _readers(span.stride, span.dilation, pixels, taps)

    @cached_property
    def cycles(self) -> float:
        """Estimated cycles of one core for everything."""
        p = self.problem
        planes = p.depth.kernel_size * p.depth.seen(1)
        summing = sum(self._pass_cycles(*runs) for runs in self.passes())
        filling = min(self.x_rows, p.rows.inputs) * (p.columns.inputs * _COPY + _ROW)
        visit = planes * (filling + summing)
        reducing = self.parts * p.outputs * p.taps * _REDUCE
        return p.blocks * (self.visits * visit + reducing)

    def _pass_cycles(self, outputs: range, rows: TapRun, columns: TapRun) -> float:
        p, ways = self.problem, len(outputs) * rows.size
        whole, rest = divmod(round(self._seen(columns, p.columns)), self.tile.pixels)
        row = whole * self._turn_cycles(self.tile.pixels, outputs, rows.size, columns.size)
        row += rest * self._turn_cycles(1, outputs, rows.size, columns.size) + _ROW
        seen = min(self._seen(rows, p.rows), self.chunk)
        return rows.groups * columns.groups * (seen * row + ways * columns.size * 2 + _TILE)

    def _turn_cycles(self, pixels: int, outputs: range, rows: int, columns: int) -> float:
        p = self.problem
        picks = pixels * len(outputs) if p.together > 1 and p.inputs * p.outputs > 1 else 0
        loads = pixels * (len(outputs) if p.together == 1 else -(-p.outputs // p.inputs))
        loads += rows * len(self.readers(pixels, columns))
        arithmetic = (pixels * len(outputs) * rows * columns + picks) / 2
        return max(arithmetic + 0.12 * loads, loads * 0.6, _LATENCY * pixels) + _TURN

    @staticmethod
    def _seen(taps: TapRun, span: Span) -> float:
        """Outputs that see the input through any of a group of taps, on the average of groups."""
        total = 0
        for begin in range(taps.begin, taps.end, taps.size):
            first = max(0, -(span.place(0, begin + taps.size - 1) // span.stride))
            end = (span.inputs - 1 - span.place(0, begin)) // span.stride + 1
            total += max(0, min(end, span.outputs) - first)
        return total / taps.groups


@lru_cache(maxsize=1024)
def _readers(
    stride: int, dilation: int, pixels: int, taps: int
) -> dict[int, list[tuple[int, int]]]:
    found: dict[int, list[tuple[int, int]]] = {}
    for pixel, tap in product(range(pixels), range(taps)):
        found.setdefault(pixel * stride + tap * dilation, []).append((pixel, tap))
    return dict(sorted(found.items()))


@lru_cache(maxsize=1024)
def best_channels_layout(problem: ChannelsProblem) -> ChannelsLayout:
    """The layout that takes the fewest cycles."""
    p, most = problem, problem.registers - 2
    layouts = [
        ChannelsLayout(p, ChannelsTile(outputs, rows, columns, pixels))
        for outputs in even_sizes(p.outputs, _MOST_OUTPUTS)
        for rows in even_sizes(p.rows.kernel_size, most)
        for columns in even_sizes(p.columns.kernel_size, most)
        for pixels in _PIXELS
        if outputs * (rows * columns + pixels) + 1 <= most
        and pixels <= max(p.columns.outputs, 1)
        and outputs * rows * columns * pixels <= _MOST_CODE
    ]
    return min(layouts, key=lambda layout: layout.cycles)
