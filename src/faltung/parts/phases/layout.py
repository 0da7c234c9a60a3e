"""Where everything lies for a transposed convolution that runs phase by phase."""

from functools import cached_property
from math import prod

from ..gemm.sharing import whole_lines
from .panel import PhasePanel
from .tiling import PhaseProblem, phase_tiling


class PhaseLayout:
    """A problem, how it is cut, and the sizes and places that follow."""

    def __init__(self, problem: PhaseProblem) -> None:
        self.problem = problem
        self.depth, self.high, self.wide = problem.axes
        t = self.tiling = phase_tiling(problem)
        self.panel = PhasePanel(
            axes=problem.axes, terms=problem.terms, rows=t.block_rows, columns=t.block_columns,
            item_size=problem.item_size,
            clears=t.rows > 1,  # a tile of one row leaves out the turns that see none
        )  # fmt: skip
        self.width = t.vectors * problem.lanes  # channels of a tile
        self.blocks = -(-problem.channels // self.width)
        self.share = -(-self.blocks // t.parts)
        self.parts = -(-self.blocks // self.share)
        self.row_blocks = -(-self.high.most // t.block_rows)
        self.column_blocks = -(-self.wide.most // t.block_columns)

    @property
    def items(self) -> int:
        """Pieces of work."""
        planes = self.problem.batch * self.problem.groups * self.depth.results
        return planes * self.row_blocks * self.column_blocks * self.parts

    @property
    def phase_numbers(self) -> int:
        """Numbers of the packed weight for one phase and block of channels."""
        return prod(axis.turns for axis in self.problem.axes) * self.problem.terms * self.width

    @property
    def block_numbers(self) -> int:
        """Numbers of the packed weight for one block of channels."""
        return prod(axis.phases for axis in self.problem.axes) * self.phase_numbers

    @property
    def packed_numbers(self) -> int:
        """Numbers of the packed weight: groups, blocks of channels, phases, turns, terms."""
        return self.problem.groups * self.blocks * self.block_numbers

    @property
    def is_large(self) -> bool:
        """Whether the weights are so many that they have to be fetched in time."""
        return self.packed_numbers * self.problem.item_size > self.problem.cache / 4

    @property
    def is_far(self) -> bool:
        """Whether pixels are worth fetching early: each is multiplied little, and comes from afar.

        That is from beyond the second cache, and from other stretches of memory in each channel.
        """
        p = self.problem
        once = all(axis.turns == 1 for axis in p.axes)
        return once and not p.last and p.terms * self.plane * p.item_size > p.cache / 4

    @property
    def pitch(self) -> int:
        """Results of one line, of all phases."""
        return self.tiling.strip * self.wide.stride

    @property
    def line_numbers(self) -> int:
        """Numbers of one thread's lines of results that wait to be transposed."""
        if not self.problem.turned:
            return 0
        # the last ones are transposed together with some that do not exist
        numbers = (self.tiling.rows * self.pitch + self.problem.lanes) * self.width
        return whole_lines(numbers, self.problem.item_size)

    @cached_property
    def is_ragged(self) -> bool:
        """Whether some tile has more columns than there are results."""
        columns = self.tiling.columns
        return self.wide.sums(columns)[0] * columns > self.wide.results

    @cached_property
    def results(self) -> int:
        """Numbers of the result."""
        p = self.problem
        row = p.side.length if p.side else self.wide.results
        channels = p.channels // p.side.padded if p.side else p.channels
        if p.side and p.last:
            channels = 1
        return p.batch * p.groups * channels * self.depth.results * self.high.results * row

    @property
    def sources(self) -> int:
        """Numbers of the image that is read."""
        return self.problem.batch * self.problem.groups * self.problem.terms * self.plane

    @property
    def plane(self) -> int:
        """Numbers of one channel of the image that is read."""
        return prod(axis.sources for axis in self.problem.axes)
