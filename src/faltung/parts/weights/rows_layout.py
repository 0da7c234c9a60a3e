"""How to cut the gradient of a weight into tiles with pixels of a row as lanes.

A tile takes `outputs` channels of gy × `rows` row taps × `columns` column taps: so many sums of
vectors in registers. At each place of an input row it loads a vector of gy for every output channel
and row tap (from the output row that sees this input row through the tap), and a vector of x for
every column tap; each product of the two belongs to one weight.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product

from ...lang.ops import STORAGE
from ..gemm.problem import Span
from .taps import TapClass, TapRun, even_sizes, tap_classes

_MOST_OUTPUTS = 8  # whose panels are held at once
_MOST_CODE = 150  # multiply-adds in a turn of the innermost loop
_NEAR, _FAR = 32 << 10, 512 << 10  # bytes of panels that the first and the second cache hold
_FIRST = 48 << 10  # bytes that the first cache has
_ITEMS = 32  # pieces of work to share out, if there are so many
_SHORT = 4  # the longest stride whose rows are taken apart in registers
_ROW_TURN, _TURN, _TILE = 4, 2, 24  # cycles until a row, a turn in it, and a tile are under way
_COPY, _REDUCE = 3.0, 5.0  # cycles to fill a vector of a panel, and to add up the lanes of a sum
_LATENCY = 4  # cycles of a multiply-add
_LINE = 64  # bytes


@dataclass(frozen=True)
class RowsProblem:
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
    def taps(self) -> int:
        """Kernel taps."""
        return self.depth.kernel_size * self.rows.kernel_size * self.columns.kernel_size

    @property
    def held(self) -> int:
        """Output channels that an item holds: as many as divide those of a group, up to 8."""
        return max(n for n in range(1, _MOST_OUTPUTS + 1) if self.outputs % n == 0)

    @property
    def numbers(self) -> int:
        """Numbers of the weight."""
        return self.groups * self.outputs * self.inputs * self.taps

    @cached_property
    def row_classes(self) -> list[TapClass]:
        """Classes of row taps."""
        return tap_classes(self.rows.kernel_size, self.rows.stride, self.rows.dilation)

    @cached_property
    def column_classes(self) -> list[TapClass]:
        """Classes of column taps."""
        return tap_classes(self.columns.kernel_size, self.columns.stride, self.columns.dilation)


@dataclass(frozen=True)
class RowsTile:
    """At most so many output channels, row taps and column taps."""

    outputs: int
    rows: int
    columns: int

    @property
    def registers(self) -> int:
        """Sums, the vectors of the side that has fewer, and one of the other."""
        ways = self.outputs * self.rows
        return ways * self.columns + min(ways, self.columns) + 1


@dataclass(frozen=True)
class RowsLayout:
    """A problem cut with one tile: what the panels hold, and how long it takes."""

    problem: RowsProblem
    tile: RowsTile

    # -- columns ----------------------------------------------------------------------------------

    @property
    def together(self) -> int:
        """Vectors of a row that a turn takes, so that few are left empty in the last turn."""
        vectors, sums = self.vectors, self.tile.outputs * self.tile.rows * self.tile.columns
        most = max(1, min(vectors, _MOST_CODE // sums))
        return min(range(1, most + 1), key=lambda n: (-(-vectors // n) * (sums * n + 4), -n))

    @property
    def vectors(self) -> int:
        """Vectors of a row of outputs."""
        return -(-self.problem.columns.outputs // self.problem.lanes)

    @property
    def turns(self) -> int:
        """Turns for a row."""
        return -(-self.vectors // self.together)

    @property
    def gy_pitch(self) -> int:
        """Numbers from a row of gy's panel to the next."""
        return self.turns * self.together * self.problem.lanes

    @cached_property
    def first_place(self) -> int:
        """The place, in strides, of the first input that output 0 reads; may lie before x."""
        return -self.problem.columns.low // self.problem.columns.stride

    @cached_property
    def phases(self) -> tuple[int, ...]:
        """Which inputs a stride long are read at all, by their number in it."""
        span = self.problem.columns
        return tuple(
            sorted({span.place(0, tap.first) % span.stride for tap in self.problem.column_classes})
        )

    @cached_property
    def x_columns(self) -> int:
        """Numbers of a phase of a row of x; whole vectors."""
        span, lanes = self.problem.columns, self.problem.lanes
        last = span.place(0, span.kernel_size - 1) // span.stride
        return -(-(self.gy_pitch + last - self.first_place) // lanes) * lanes

    @property
    def x_pitch(self) -> int:
        """Numbers from a row of x's panel to the next."""
        return len(self.phases) * self.x_columns

    def x_offset(self, taps: TapClass) -> int:
        """Where in a row of x's panel output 0 finds what it reads through a class's first tap."""
        span = self.problem.columns
        place, phase = divmod(span.place(0, taps.first), span.stride)
        return self.phases.index(phase) * self.x_columns + place - self.first_place

    @property
    def in_registers(self) -> bool:
        """Whether the phases of a row are picked from whole vectors, not number by number."""
        return self.problem.columns.stride <= _SHORT

    def real(self, at: int) -> tuple[tuple[bool, ...], ...]:
        """Of the vectors that a vector of each phase is picked from, which numbers x has."""
        span, lanes = self.problem.columns, self.problem.lanes
        first = (at + self.first_place) * span.stride
        places = range(first, first + span.stride * lanes)
        real = [0 <= place < span.inputs for place in places]
        return tuple(tuple(real[n : n + lanes]) for n in range(0, len(real), lanes))

    # -- rows -------------------------------------------------------------------------------------

    @property
    def zero_rows(self) -> int:
        """Rows of zeros before and behind those of gy, for taps that see rows of other chunks."""
        apart = max(taps.apart for taps in self.problem.row_classes)
        return (self.tile.rows - 1) * apart

    @cached_property
    def chunk(self) -> int:
        """Rows of outputs at a time: what a cache holds, a near one if no row is there in vain."""
        p, rows = self.problem, self.problem.rows.outputs
        room = (_NEAR if self.tile.rows == 1 else _FAR) // p.item_size
        more = (p.rows.kernel_size - 1) * p.rows.dilation
        row = p.held * self.gy_pitch + p.rows.stride * self.x_pitch
        most = (room - more * self.x_pitch) // row
        most = min(rows, max(most, 4, 2 * self.zero_rows))
        return -(-rows // -(-rows // most))

    @property
    def chunks(self) -> int:
        """Chunks of an output plane."""
        return -(-self.problem.rows.outputs // self.chunk)

    @property
    def x_rows(self) -> int:
        """Rows of x's panel."""
        span = self.problem.rows
        return (self.chunk - 1) * span.stride + (span.kernel_size - 1) * span.dilation + 1

    def row_bounds(self, taps: TapClass) -> tuple[int, int]:
        """The first output row that sees the input through a class's first tap, and the end."""
        span = self.problem.rows
        first = span.place(0, taps.first)
        return -(first // span.stride), (span.inputs - 1 - first) // span.stride + 1

    @property
    def x_copied(self) -> int:
        """Numbers of a channel of x that one chunk sees and the one before does not."""
        p = self.problem
        return min(self.chunk * p.rows.stride, p.rows.inputs) * p.columns.inputs

    # -- sizes ------------------------------------------------------------------------------------

    @property
    def gy_plane(self) -> int:
        """Numbers of gy's panel for an output channel."""
        return (self.chunk + 2 * self.zero_rows) * self.gy_pitch

    @property
    def panel_numbers(self) -> int:
        """Numbers of both panels of a thread, whole lines of them."""
        return self._lines(self.problem.held * self.gy_plane + self.x_rows * self.x_pitch)

    @property
    def sum_numbers(self) -> int:
        """Numbers of the sums of an item, a vector for each, and some that nobody needs."""
        sums = self.problem.held * (self.problem.inputs * self.problem.taps + 1)
        return self._lines((sums + self.problem.lanes) * self.problem.lanes)

    def _lines(self, numbers: int) -> int:
        line = 64 // self.problem.item_size
        return -(-numbers // line) * line

    @property
    def visits(self) -> int:
        """Chunks of all output planes of all images."""
        return self.problem.batch * self.problem.depth.outputs * self.chunks

    @property
    def blocks(self) -> int:
        """Blocks of output channels, of all groups."""
        return self.problem.groups * (self.problem.outputs // self.problem.held)

    @property
    def parts(self) -> int:
        """Parts of the sum that are shared out, where blocks alone are too few for many threads."""
        return max(1, min(self.visits // 2, _ITEMS // self.blocks))

    # -- time -------------------------------------------------------------------------------------

    def passes(self) -> Iterator[tuple[TapRun, TapRun]]:
        """Groups of row taps and of column taps that are summed up with the same code."""
        p, tile = self.problem, self.tile
        for rows, columns in product(p.row_classes, p.column_classes):
            yield from product(rows.runs(tile.rows), columns.runs(tile.columns))

    @cached_property
    def asking_groups(self) -> int:
        """How many groups of taps ask for what comes next: those of as few passes as have a turn
        for every line of it."""
        p, groups = self.problem, 0
        line = _LINE // STORAGE[p.dtype][1]
        lines = max(self.x_copied, p.held * self.chunk * p.columns.outputs // p.inputs) // line
        turns = p.held // self.tile.outputs * self.chunk * self.turns
        for rows, columns in self.passes():
            groups += rows.groups * columns.groups
            if groups * turns >= lines:
                break
        return groups

    @property
    def asking_turns(self) -> int:
        """Turns of the innermost loop, for one channel of x, that ask for what comes next."""
        tiles = self.problem.held // self.tile.outputs
        return tiles * self.asking_groups * self.chunk * self.turns

    @cached_property
    def cycles(self) -> float:
        """Estimated cycles of one core for everything."""
        p = self.problem
        planes = p.depth.kernel_size * p.depth.seen(1)
        summing = sum(self._pass_cycles(*runs) for runs in self.passes())
        summing *= p.held // self.tile.outputs
        rows = min(self.x_rows, p.rows.inputs)
        picks = 1 if self.in_registers else p.lanes
        x_fill = rows * (self.x_pitch / p.lanes * _COPY * picks + _ROW_TURN)
        gy_fill = p.held * self.chunk * (self.vectors * _COPY + _ROW_TURN)
        visit = gy_fill + planes * p.inputs * (x_fill + summing)
        reducing = self.parts * p.held * p.inputs * p.taps * _REDUCE
        return self.blocks * (self.visits * visit + reducing)

    def _pass_cycles(self, rows: TapRun, columns: TapRun) -> float:
        ways = self.tile.outputs * rows.size
        loads = ways * 1.2 + columns.size * 2
        near = rows.size > 1 or self.panel_numbers * self.problem.item_size <= _FIRST
        each = max(ways * columns.size / 2 + 0.15 * loads, loads * (0.5 if near else 1.0), _LATENCY)
        first, end = self.row_bounds(rows.of)
        seen = self.chunk + (rows.size - 1) * rows.of.apart
        seen = min(seen, end - first)
        row = self.turns * (self.together * each + _TURN) + _ROW_TURN
        return rows.groups * columns.groups * (seen * row + ways * columns.size * 2 + _TILE)


@lru_cache(maxsize=1024)
def best_rows_layout(problem: RowsProblem) -> RowsLayout:
    """The layout that takes the fewest cycles."""
    p = problem
    outputs = [n for n in range(1, p.held + 1) if p.held % n == 0]
    most_rows = max(taps.count for taps in p.row_classes)
    most_columns = max(taps.count for taps in p.column_classes)
    tiles = [
        RowsTile(o, rows, columns)
        for o in outputs
        for rows in even_sizes(most_rows, p.registers)
        for columns in even_sizes(most_columns, p.registers)
    ]
    fitting = [tile for tile in tiles if tile.registers <= p.registers - 2]
    return min((RowsLayout(p, tile) for tile in fitting), key=lambda layout: layout.cycles)
