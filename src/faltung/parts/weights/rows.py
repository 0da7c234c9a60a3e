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
from itertools import groupby
from math import prod

from ...lang.routine import Operand, Routine, Value
from ..gemm.gather_panel import Copying, Run
from ..lane_sums import lane_sums
from ..lanes import every
from ..opaque import opaque
from ..taps import taps_inside
from .gy_sums import with_sum
from .rows_ahead import Place, RowsAhead
from .rows_layout import RowsLayout
from .taps import TapRun


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
        weights = p.held * p.inputs * p.taps
        self.of_bias = weights * self.lanes
        with r.loop(0, weights + p.held) as loop:
            r.store(self.sums, loop.index * self.lanes, self.zero)
        self.zero_rows()
        share = -(-layout.visits // layout.parts)
        with r.loop(part * share, r.minimum((part + 1) * share, layout.visits)) as visits:
            after = visits.index + 1
            then = self.place(block + after // layout.visits, after % layout.visits)
            self.visit(self.place(block, visits.index), then)
        at = part * p.numbers + block * weights
        with r.loop(0, weights, self.lanes) as loop:
            first = loop.index * self.lanes
            vectors = [
                r.load(self.sums, first + n * self.lanes, self.lanes) for n in range(self.lanes)
            ]
            left = r.below(weights - loop.index, self.lanes)
            r.store(self.gw, at + loop.index, lane_sums(r, vectors), left)
        first = part * (p.groups * p.outputs) + block * p.held
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

    def place(self, block: Value, visit: Value) -> Place:
        """What a block visits: a chunk of rows of an output plane of an image."""
        p, layout = self.p, self.layout
        chunk, visit = visit % layout.chunks, visit // layout.chunks
        plane, image = visit % p.depth.outputs, visit // p.depth.outputs
        group = block // (p.outputs // p.held)
        return Place(image, block * p.held, group, plane, chunk * layout.chunk)

    def visit(self, now: Place, then: Place) -> None:
        """Add up what a chunk gives, and ask for the one that follows."""
        r, p, layout = self.r, self.p, self.layout
        self.now, self.od, self.row = now, now.plane, now.row
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
            self.ahead = RowsAhead(r, layout, self.x, self.gy, now, then, channels.index)
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
        channel = self.now.image * (p.groups * p.outputs) + self.now.channel
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
        r, lanes = self.r, self.lanes
        count = self.rows * (self.layout.gy_pitch // lanes)
        total = r.load(self.sums, to, lanes)
        total = with_sum(r, total, count, lambda n: r.load(self.panel, first + n * lanes, lanes))
        r.store(self.sums, to, total)

    def fill_x(self, channel: Value, plane: Value) -> None:
        """Copy the rows of x that the chunk sees."""
        r, p, layout = self.r, self.p, self.layout
        top = self.row * p.rows.stride - p.rows.low
        source = (self.now.image * p.groups + self.now.group) * p.inputs + channel
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
        """The phases of a row, picked from whole vectors; loops where all of them are alike.

        Which numbers are padding is known, so nobody asks: masks made at every vector took as long
        as everything else together.
        """
        r, lanes = self.r, self.lanes
        for there, some in groupby(range(0, self.layout.x_columns, lanes), self.layout.real):
            ats = list(some)
            known = {flag for lane in there for flag in lane}
            if len(known) > 1 or len(ats) == 1:
                for at in ats:
                    self.phases_of_vector(first, to, at, there)
            else:
                with r.loop(ats[0], ats[-1] + 1, lanes) as loop:
                    self.phases_of_vector(first, to, loop.index, there)

    def phases_of_vector(
        self, first: Value, to: Value, at: Operand, there: Sequence[Sequence[bool]]
    ) -> None:
        """A vector of every phase of a row; `there` says what is no padding."""
        r, layout, lanes = self.r, self.layout, self.lanes
        place = (at + layout.first_place) * len(there)
        parts = [
            r.load(self.x, first + (place + n * lanes), lanes, None if all(real) else r.mask(real))
            if any(real)
            else self.zero
            for n, real in enumerate(there)
        ]
        for n, phase in enumerate(layout.phases):
            r.store(self.panel, to + (at + n * layout.x_columns), every(r, parts, phase))

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
        r, layout = self.r, self.layout
        tile, groups = self.output_in_panel // layout.tile.outputs, 0
        for rows, columns in layout.passes():
            with (
                r.loop(rows.begin, rows.end, rows.size) as outer,
                r.loop(columns.begin, columns.end, columns.size) as inner,
            ):
                number = None
                if groups < layout.asking_groups:
                    number = (outer.index - rows.begin) // rows.size * columns.groups + groups
                    number = number + (inner.index - columns.begin) // columns.size
                    number = tile * layout.asking_groups + number
                self.group_of_taps(rows, outer.index, columns, inner.index, number)
            groups += rows.groups * columns.groups

    def group_of_taps(
        self, rows: TapRun, row: Value, columns: TapRun, column: Value, number: Value | None
    ) -> None:
        """Add up some row taps × column taps in some output channels; `row` and `column` in them
        are the first taps' numbers in their classes. `number` is how many groups have asked for
        what comes next before this one, None if it does not."""
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
            before = None
            if number is not None:
                before = (number * layout.chunk + loop.index) * layout.turns
            loop.carry(*self.row_of_pixels(loop.carried, *at, ways, steps, before))
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
        self, sums: Sequence[Value], gy: Value, x: Value, ways: list[int], steps: list[int],
        before: Value | None,
    ) -> Sequence[Value]:  # fmt: skip
        """The part of one row: `ways` are the offsets of the rows of gy, `steps` those of x;
        `before` is how many turns have asked for what comes next, None if these do not."""
        layout, step = self.layout, self.layout.together * self.lanes
        if layout.turns == 1:
            if before is not None:
                self.ahead.turn(before)
            return self.turn(sums, gy, x, ways, steps)
        with self.r.loop(0, layout.gy_pitch, step, carried=sums) as loop:
            if before is not None:
                self.ahead.turn(before + loop.index // step)
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
