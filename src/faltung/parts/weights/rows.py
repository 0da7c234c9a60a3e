"""The gradient of a weight with pixels of a row as lanes, for contiguous images.

    gw[o, c, t] = Σ_{n, q} gy[n, o, q] · x[n, c, q·s − low + t·d]

Both images are copied to panels chunk by chunk of output rows: there numbers are as wide as in
registers, the padding and all that a vector reads behind a row are zeros, and inputs a stride apart
lie side by side, so every load is a plain one. Each weight has a vector of its own in memory; its
lanes are added up at the end. Output planes, images and chunks come one after the other in the same
order whatever the number of threads.

The gradient of a bias, Σ_{n, q} gy[n, o, q], is added up from gy's panel on the way.
"""

from collections.abc import Sequence
from math import prod

from ...lang.routine import Routine, Value
from ..gemm.gather_panel import Copying, Run
from ..lane_sums import lane_sums
from ..lanes import every
from ..opaque import opaque
from ..taps import taps_inside
from .rows_layout import RowsLayout
from .taps import TapRun

_ADDED = 4  # vectors of gy that are added at the same time, as an addition takes four cycles


class RowsRoutine:
    """Records the routine: `gw`, `gb`, x, gy, and two scratch buffers, panels and sums."""

    def __init__(self, name: str, layout: RowsLayout) -> None:
        self.layout, self.p = layout, layout.problem
        p = self.p
        self.lanes, self.kind = p.lanes, "f64" if p.wide == "float64" else "f32"
        r = self.r = Routine(name, layout.blocks * layout.parts)
        self.gw = r.writes("gw", p.wide, layout.parts * p.numbers)
        self.gb = r.writes("gb", p.wide, layout.parts * p.groups * p.outputs)
        spans = (p.depth, p.rows, p.columns)
        self.x_size = prod(span.inputs for span in spans)
        self.y_size = prod(span.outputs for span in spans)
        self.x = r.reads("x", p.dtype, p.batch * p.groups * p.inputs * self.x_size)
        self.gy = r.reads("gy", p.dtype, p.batch * p.groups * p.outputs * self.y_size)
        self.panel = r.scratch("panel", p.wide, layout.panel_numbers)
        self.sums = r.scratch("sums", p.wide, layout.sum_numbers)
        self.x_panel = p.held * layout.gy_plane  # gy's comes first
        with r.work() as item:
            self.zero = r.const(0, self.kind, self.lanes)
            self.item(item)

    def item(self, item: Value) -> None:
        """The weights of a block of output channels, from a part of the sum."""
        r, p, layout = self.r, self.p, self.layout
        part, block = item % layout.parts, item // layout.parts
        blocks = p.outputs // p.held
        self.group, self.output = block // blocks, block % blocks * p.held
        weights = p.held * p.inputs * p.taps
        self.of_bias = weights * self.lanes
        with r.loop(0, weights + p.held) as loop:
            r.store(self.sums, loop.index * self.lanes, self.zero)
        self.zero_rows()
        share = -(-layout.visits // layout.parts)
        with r.loop(part * share, r.minimum((part + 1) * share, layout.visits)) as visits:
            self.visit(visits.index)
        at = part * p.numbers + block * weights
        with r.loop(0, weights, self.lanes) as loop:
            first = loop.index * self.lanes
            vectors = [
                r.load(self.sums, first + n * self.lanes, self.lanes) for n in range(self.lanes)
            ]
            left = r.below(weights - loop.index, self.lanes)
            r.store(self.gw, at + loop.index, lane_sums(r, vectors), left)
        first = (part * p.groups + self.group) * p.outputs + self.output
        with r.loop(0, p.held) as loop:
            total = r.load(self.sums, self.of_bias + loop.index * self.lanes, self.lanes)
            r.store(self.gb, first + loop.index, r.sum(total))

    def zero_rows(self) -> None:
        """The rows of gy's panel that stay zero."""
        layout, r = self.layout, self.r
        numbers = layout.zero_rows * layout.gy_pitch
        if numbers:
            with r.loop(0, self.p.held) as planes, r.loop(0, numbers, self.lanes) as loop:
                at = planes.index * layout.gy_plane + loop.index
                r.store(self.panel, at, self.zero)
                r.store(self.panel, at + (layout.gy_plane - numbers), self.zero)

    def visit(self, visit: Value) -> None:
        """A chunk of rows of an output plane of an image."""
        r, p, layout = self.r, self.p, self.layout
        chunk, visit = visit % layout.chunks, visit // layout.chunks
        self.od, self.image = visit % p.depth.outputs, visit // p.depth.outputs
        self.row = chunk * layout.chunk
        self.rows = r.minimum(layout.chunk, p.rows.outputs - self.row)
        self.fill_gy()
        depth = p.depth
        bounds = taps_inside(
            r, self.od, input_size=depth.inputs, kernel_size=depth.kernel_size,
            stride=depth.stride, low=depth.low, dilation=depth.dilation,
        )  # fmt: skip
        with r.loop(*bounds) as taps, r.loop(0, p.inputs) as channels:
            plane = self.od * depth.stride - depth.low + taps.index * depth.dilation
            self.fill_x(channels.index, plane)
            rest = channels.index * depth.kernel_size + taps.index
            with r.loop(0, p.held, layout.tile.outputs) as outputs:
                self.output_in_panel = outputs.index
                first = outputs.index * (p.inputs * p.taps)
                self.first_sum = first + rest * (p.rows.kernel_size * p.columns.kernel_size)
                self.passes()

    # -- panels -----------------------------------------------------------------------------------

    def fill_gy(self) -> None:
        """Copy the chunk's rows of gy, with zeros up to the end of the last turn."""
        r, p, layout = self.r, self.p, self.layout
        copying = Copying(r, self.gy, self.panel, self.lanes)
        columns, pitch = p.columns.outputs, layout.gy_pitch
        channel = (self.image * p.groups + self.group) * p.outputs + self.output
        with r.loop(0, p.held) as planes:
            source = (channel + planes.index) * self.y_size
            source = source + (self.od * p.rows.outputs + self.row) * columns
            to = planes.index * layout.gy_plane + layout.zero_rows * pitch
            with r.loop(0, self.rows) as rows:
                run = Run(0, columns, pitch - columns)
                copying.run(source + rows.index * columns, to + rows.index * pitch, run)
            if p.rows.outputs % layout.chunk:
                with r.loop(self.rows * pitch, layout.chunk * pitch, self.lanes) as loop:
                    r.store(self.panel, to + loop.index, self.zero)
            self.add_up(to, self.of_bias + planes.index * self.lanes)

    def add_up(self, first: Value, to: Value) -> None:
        """Add the numbers of gy in the panel to a sum."""
        r, count = self.r, self.rows * self.layout.gy_pitch
        step = _ADDED * self.lanes
        whole = count // step * step
        with r.loop(0, whole, step, carried=[self.zero] * _ADDED) as loop:
            at = first + loop.index
            vectors = [r.load(self.panel, at + n * self.lanes, self.lanes) for n in range(_ADDED)]
            loop.carry(*(a + b for a, b in zip(loop.carried, vectors, strict=True)))
        total = r.load(self.sums, to, self.lanes)
        for part in loop.results:
            total = total + part
        with r.loop(whole, count, self.lanes, carried=[total]) as loop:
            loop.carry(loop.carried[0] + r.load(self.panel, first + loop.index, self.lanes))
        r.store(self.sums, to, loop.results[0])

    def fill_x(self, channel: Value, plane: Value) -> None:
        """Copy the rows of x that the chunk sees."""
        r, p, layout = self.r, self.p, self.layout
        top = self.row * p.rows.stride - p.rows.low
        source = (self.image * p.groups + self.group) * p.inputs + channel
        source = (source * p.depth.inputs + plane) * p.rows.inputs
        end = r.minimum(top + layout.x_rows, p.rows.inputs)
        with r.loop(r.maximum(top, 0), end) as rows:
            first = (source + rows.index) * p.columns.inputs
            to = self.x_panel + (rows.index - top) * layout.x_pitch
            self.fill_row(first, to)

    def fill_row(self, first: Value, to: Value) -> None:
        """One row, phase by phase."""
        r, span, layout = self.r, self.p.columns, self.layout
        if span.stride == 1:
            before = -layout.first_place
            count = max(0, min(span.inputs, layout.x_columns - before))
            before = min(before, layout.x_columns)
            run = Run(before, count, layout.x_columns - before - count)
            Copying(r, self.x, self.panel, self.lanes).run(first, to, run)
        elif layout.in_registers:
            self.fill_phases(first, to)
        else:
            self.fill_numbers(first, to)

    def fill_phases(self, first: Value, to: Value) -> None:
        """The phases of a row, picked from whole vectors."""
        r, span, layout, lanes = self.r, self.p.columns, self.layout, self.lanes
        with r.loop(0, layout.x_columns, lanes) as loop:
            place = (loop.index + layout.first_place) * span.stride
            parts = []
            for n in range(span.stride):
                at = place + n * lanes
                real = r.below(span.inputs - at, lanes) & ~r.below(0 - at, lanes)
                parts.append(r.load(self.x, first + at, lanes, real))
            for n, phase in enumerate(layout.phases):
                picked = every(r, parts, phase)
                r.store(self.panel, to + n * layout.x_columns + loop.index, picked)

    def fill_numbers(self, first: Value, to: Value) -> None:
        """The phases of a row, number by number."""
        r, span, layout = self.r, self.p.columns, self.layout
        with r.loop(0, layout.x_pitch, self.lanes) as loop:
            r.store(self.panel, to + loop.index, self.zero)
        for n, phase in enumerate(layout.phases):
            before = -layout.first_place
            end = min(layout.x_columns, before + -(-(span.inputs - phase) // span.stride))
            with r.loop(before, end) as loop:
                at = first + (loop.index - before) * span.stride + phase
                r.store(self.panel, to + n * layout.x_columns + loop.index, r.load(self.x, at))

    # -- sums -------------------------------------------------------------------------------------

    def passes(self) -> None:
        """All groups of taps, over the chunk in the panels."""
        r = self.r
        for rows, columns in self.layout.passes():
            with (
                r.loop(rows.begin, rows.end, rows.size) as outer,
                r.loop(columns.begin, columns.end, columns.size) as inner,
            ):
                self.group_of_taps(rows, outer.index, columns, inner.index)

    def group_of_taps(self, rows: TapRun, row: Value, columns: TapRun, column: Value) -> None:
        """Add up some row taps × column taps in some output channels; `row` and `column` in them
        are the first taps' numbers in their classes."""
        r, p, layout = self.r, self.p, self.layout
        places = self.places(rows, row, columns, column)
        sums = [r.load(self.sums, place, self.lanes) for place in places]
        apart = rows.of.apart
        first, end = layout.row_bounds(rows.of)
        begin = r.maximum(row * apart, first - self.row)
        end_row = r.minimum(self.rows + (row + (rows.size - 1)) * apart, end - self.row)
        gy = self.output_in_panel * layout.gy_plane
        gy = opaque(r, gy + (layout.zero_rows - row * apart) * layout.gy_pitch)
        first_x = self.x_panel + rows.of.first * p.rows.dilation * layout.x_pitch
        x = opaque(r, column * columns.of.apart + (first_x + layout.x_offset(columns.of)))
        ways = [
            output * layout.gy_plane - tap * apart * layout.gy_pitch
            for output in range(layout.tile.outputs)
            for tap in range(rows.size)
        ]
        steps = [n * columns.of.apart for n in range(columns.size)]
        with r.loop(begin, end_row, carried=sums) as loop:
            at = (
                gy + loop.index * layout.gy_pitch,
                x + loop.index * (p.rows.stride * layout.x_pitch),
            )
            loop.carry(*self.row_of_pixels(loop.carried, *at, ways, steps))
        for place, total in zip(places, loop.results, strict=True):
            r.store(self.sums, place, total)

    def places(self, rows: TapRun, row: Value, columns: TapRun, column: Value) -> list[Value]:
        """Where the sums of a group of taps are."""
        p = self.p
        width = p.columns.kernel_size
        tap = (rows.of.first + row * rows.of.step) * width
        first = self.first_sum + tap + (columns.of.first + column * columns.of.step)
        return [
            (first + (o * p.inputs * p.taps + n * rows.of.step * width + k * columns.of.step))
            * self.lanes
            for o in range(self.layout.tile.outputs)
            for n in range(rows.size)
            for k in range(columns.size)
        ]

    def row_of_pixels(
        self, sums: Sequence[Value], gy: Value, x: Value, ways: list[int], steps: list[int]
    ) -> Sequence[Value]:
        """The part of one row: `ways` are the offsets of the rows of gy, `steps` those of x."""
        layout, step = self.layout, self.layout.together * self.lanes
        if layout.turns == 1:
            return self.turn(sums, gy, x, ways, steps)
        with self.r.loop(0, layout.gy_pitch, step, carried=sums) as loop:
            loop.carry(*self.turn(loop.carried, gy + loop.index, x + loop.index, ways, steps))
        return loop.results

    def turn(
        self, sums: Sequence[Value], gy: Value, x: Value, ways: list[int], steps: list[int]
    ) -> Sequence[Value]:
        """Some vectors of a row: of the two factors, that of fewer vectors stays in registers."""
        r, lanes, found = self.r, self.lanes, list(sums)
        for v in range(self.layout.together):
            r.cut()  # or loads of the next vector are begun early, and there are no registers left
            of_gy = [(self.panel, gy + (way + v * lanes)) for way in ways]
            of_x = [(self.panel, x + (step + v * lanes)) for step in steps]
            few, many = (of_gy, of_x) if len(ways) <= len(steps) else (of_x, of_gy)
            kept = [r.load(*place, lanes) for place in few]
            for m, place in enumerate(many):
                vector = r.load(*place, lanes)
                for k, other in enumerate(kept):
                    n = k * len(steps) + m if few is of_gy else m * len(steps) + k
                    found[n] = r.fma(other, vector, found[n])
        return found
