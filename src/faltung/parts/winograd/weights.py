"""A weight transformed for Winograd's filtering, in the order in which the routine reads it.

    U[group, chunk, product, tile of vectors, depth tap, part, c, lane] = (G w Gᵀ)[o, c]

where o is the channel of the lane. A filter in parts has 0 for the taps that the last part lacks.

Worked out in float64 and rounded once. Lanes are output channels, which lie far apart in most
weights: squares of output channels × neighbours in memory are turned in registers on their way to a
scratch buffer, in which the taps of one input channel are vectors. In training every step has
another weight, so this is to take no longer than writing U.

Vectors of channels that do not exist hold those of others.
"""

from dataclasses import dataclass
from fractions import Fraction

from ...lang.routine import Routine, Value
from ..transpose import transposed
from .problem import Layout
from .transforms import mapped

BUFFERS = 2
"""u and w."""


@dataclass(frozen=True)
class Filters:
    """How a weight lies in memory: numbers from a group, output, input or tap to the next.

    Either neighbouring taps, inputs or outputs lie side by side; the taps are numbered throughout,
    from the last one on where the filters are turned round.
    """

    numbers: int
    group: int
    output: int
    input: int
    tap: int
    backwards: bool = False


@dataclass(frozen=True)
class _Runs:
    """What is read of a row of squares: `count` runs of `length` neighbours, `apart` in memory.

    In the scratch buffer they begin every `pitch` vectors; the taps of an input channel lie `tap`
    vectors apart there, and those of the next one `input` vectors further on.
    """

    count: int
    length: int
    apart: int
    pitch: int
    input: int
    tap: int


def square_numbers(layout: Layout) -> int:
    """Numbers of scratch memory that a thread needs, however the weight lies."""
    lanes, taps = layout.cutting.lanes, _taps(layout)
    block = min(lanes, layout.problem.inputs)
    return lanes * max(block * _whole(taps, lanes), taps * lanes)


def _runs(layout: Layout, filters: Filters) -> _Runs:
    """How the numbers of as many input channels as there are lanes are read."""
    p, lanes = layout.problem, layout.cutting.lanes
    taps = _taps(layout)
    block = min(lanes, p.inputs)
    if filters.output == 1:
        return _Runs(1, 1, 0, 1, 0, 0)  # nothing has to be turned
    if filters.tap == 1 and filters.input == taps:
        length = block * taps
        return _Runs(1, length, 0, _whole(length, lanes), taps, 1)
    if filters.tap == 1:
        pitch = _whole(taps, lanes)
        return _Runs(block, taps, filters.input, pitch, pitch, 1)
    if filters.input != 1:
        raise ValueError(f"no axis of the weight lies side by side: {filters}")
    return _Runs(taps, block, filters.tap, lanes, 1, lanes)


def _taps(layout: Layout) -> int:
    axes = (layout.problem.depth, layout.problem.high, layout.problem.wide)
    return axes[0].taps * axes[1].taps * axes[2].taps


def _whole(count: int, lanes: int) -> int:
    return -(-count // lanes) * lanes


class FilterRoutine:
    """Records the routine: u, the weight, and scratch memory for turned squares."""

    def __init__(self, layout: Layout, filters: Filters) -> None:
        self.layout, self.filters = layout, filters
        self.p, self.lanes = layout.problem, layout.cutting.lanes
        self.runs, self.taps = _runs(layout, filters), _taps(layout)
        p, vectors = self.p, layout.cutting.vectors
        self.block = min(self.lanes, p.inputs)
        self.blocks = -(-p.inputs // self.block)
        self.parts = layout.wide.axis.parts
        self.tiles = layout.padded_vectors // vectors
        r = self.r = Routine("winograd_filters", p.groups * self.tiles * self.blocks)
        self.u = r.writes("u", p.wide_dtype, layout.weights)
        self.w = r.reads("w", p.dtype, filters.numbers)
        self.squares = r.scratch("squares", p.wide_dtype, square_numbers(layout))
        with r.work() as item, r.loop(0, vectors) as loop:
            self.vector(item, loop.index)

    def vector(self, item: Value, number: Value) -> None:
        """A vector of output channels of a tile, in a block of input channels."""
        r, p, cutting, filters = self.r, self.p, self.layout.cutting, self.filters
        first, item = item % self.blocks * self.block, item // self.blocks
        tile, group = item % self.tiles, item // self.tiles
        count = r.minimum(p.inputs - first, self.block)
        vector = r.minimum(tile * cutting.vectors + number, self.layout.output_vectors - 1)
        output = r.minimum(vector * self.lanes, max(p.outputs - self.lanes, 0))
        source = group * filters.group + output * filters.output + first * filters.input
        together = cutting.chunk // cutting.vectors
        chunk = group * self.layout.chunks + tile // together
        width = cutting.vectors * self.lanes
        self.step = together * self.layout.terms * width
        place = (chunk * self.layout.products * together + tile % together) * self.layout.terms
        to = (place + first) * width + number * self.lanes
        if filters.output != 1:
            self.turn(source, count)
        with r.loop(0, count) as inputs, r.loop(0, p.depth.taps) as depth:
            at = to + (depth.index * (self.parts * p.inputs) + inputs.index) * width
            self.transform(source, inputs.index, depth.index, at)

    # -- reading ----------------------------------------------------------------------------------

    def turn(self, source: Value, count: Value) -> None:
        """Put the numbers of some input channels into the squares."""
        r, lanes, runs = self.r, self.lanes, self.runs
        whole = self.p.inputs % self.block == 0
        number = r.const(runs.count)
        length: Value = r.const(runs.length)
        if not whole:
            if runs.count == self.block and runs.input == runs.pitch:
                number = count
            else:
                length = count * (runs.length // self.block)
        rows = [min(lane, self.p.outputs - 1) * self.filters.output for lane in range(lanes)]
        with r.loop(0, number) as loop, r.loop(0, length, lanes) as squares:
            at = source + loop.index * runs.apart + squares.index
            even = runs.length % lanes == 0 and length.op.name == "const"
            mask = None if even else r.below(length - squares.index, lanes)
            turned = transposed(r, [r.load(self.w, at + row, lanes, mask) for row in rows])
            to = (loop.index * runs.pitch + squares.index) * lanes
            for n, vector in enumerate(turned):
                r.store(self.squares, to + n * lanes, vector)

    def taps_of(self, source: Value, number: Value, depth: Value) -> list[list[Value]]:
        """The taps of one input channel in a plane of the filters, row by row."""
        r, p, lanes, filters = self.r, self.p, self.lanes, self.filters
        high, wide = p.high.taps, p.wide.taps
        plane = depth * (high * wide)
        if filters.output == 1:
            mask = r.below(p.outputs, lanes) if p.outputs < lanes else None
            first, step = source + number * filters.input, filters.tap
        else:
            first, step = number * (self.runs.input * lanes), self.runs.tap * lanes
        found = []
        for n in range(high * wide):
            tap = plane + n
            if filters.backwards:
                tap = (self.taps - 1) - tap
            at = first + tap * step
            found.append(
                r.load(self.w, at, lanes, mask)
                if filters.output == 1
                else r.load(self.squares, at, lanes)
            )
        return [found[row * wide : row * wide + wide] for row in range(high)]

    # -- transforming -----------------------------------------------------------------------------

    def transform(self, source: Value, number: Value, depth: Value, to: Value) -> None:
        """G w Gᵀ of a vector of filters, part by part."""
        values = self.taps_of(source, number, depth)
        if self.p.kind == "f32":
            values = [[self.r.widen(value) for value in row] for row in values]
        taps = self.layout.wide.axis.transform.taps
        apart = self.p.inputs * self.layout.cutting.vectors * self.lanes
        for part in range(self.parts):
            self.put([row[part * taps : part * taps + taps] for row in values], to + part * apart)

    def put(self, values: list[list[Value]], to: Value) -> None:
        """One part; the taps of the last that are not there are 0."""
        r, single = self.r, self.p.kind == "f32"
        axes = (self.layout.high.axis, self.layout.wide.axis)
        missing = axes[1].transform.taps - len(values[0])
        values = [[*row, *[r.const(0, "f64", self.lanes)] * missing] for row in values]
        g_high, g_wide = (axis.transform.g for axis in axes)
        rows = [mapped(r, g_wide, row, self.factor) for row in values]
        for column, some in enumerate(zip(*rows, strict=True)):
            for row, product in enumerate(mapped(r, g_high, some, self.factor)):
                at = to + (row * len(g_wide) + column) * self.step
                r.store(self.u, at, r.narrow(product) if single else product)

    def factor(self, c: Fraction) -> Value:
        """A number of the matrices, in every lane."""
        return self.r.const(float(c), "f64", self.lanes)
