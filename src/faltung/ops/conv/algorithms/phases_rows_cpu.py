"""Transposed convolution of contiguous images with few channels a group, phase by phase.

    gx[first + s·k, c] = b[c] + Σ_{j, o} w[o, c, tap_j] · gy[k + base + j·d/g, o]

Results that are a stride apart use the same taps and neighbouring numbers of gy, so vectors run
along a row of one phase. A tile of channels × rows × vectors in every phase of a row lives in
registers; each stretch of a row of gy is loaded once for all that uses it, and the phases are woven
together before they are stored. Taps that fall outside gy are skipped: whole rows by the bounds of
the loops, columns by masks. Nothing is padded, copied or written twice.

Used for depthwise and grouped transposed convolution, last layers (few result channels) and the
gradients of such layers, in 1-D to 3-D, strides up to 8 along a row. Not for many channels, where
`phases_cpu` needs fewer loads, and not for channels-last images.
"""

from collections.abc import Callable, Iterator
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from ....lang.compile import compiled
from ....lang.routine import Operand, Routine, Value
from ....lang.target import host_target
from ....machine import Machine
from ....parts import activation, cover, interleave
from ....parts.activation import activated
from ....parts.cover import Cover
from ....parts.interleave import interleaved
from ....parts.phases import classes as phases
from ....parts.phases import rows as phase_rows
from ....parts.phases.classes import Phase, PhaseAxis
from ....parts.phases.rows import RowPhases, RowTile, row_tile
from ....planning import Algorithm, Run
from ...calling import allocator, launcher
from ...packed import packer
from ..refusals import REGISTER_BYTES, refusals
from ..spec import ConvSpec

_MOST_STRIDE = 8  # along a row: phases in registers at the same time
_MOST_CODE = 4000  # operations to write down for a tile: 0.3 s to compile
_BORDER_CODE = 2500  # operations to write down for all tiles at the borders of a row
_TAPS_TOGETHER = 8  # a vector's stretches repeat its neighbour's `lanes` taps later
_ITEMS = 32  # pieces of work to share out, if there are so many
_NEAR = 32 << 10  # bytes that stay in the near cache

_CALL_SECONDS = 3e-6
_HELD = 2.0  # how much faster than memory the second cache is, at least
_PARTS = (activation, cover, interleave, phase_rows, phases)


class PhasesRowsCpu(Algorithm):
    """Few channels a group, vectors along the rows."""

    tasks = frozenset({"grad_input"})

    def unsupported(self, spec: ConvSpec) -> list[str]:
        """Anything but contiguous images of floating-point numbers."""
        reasons = refusals(spec, ["contiguous"])
        if spec.stride[-1] > _MOST_STRIDE:
            reasons.append(f"needs strides up to {_MOST_STRIDE} along a row, has {spec.stride[-1]}")
        if 0 in (spec.in_channels, *spec.input_size):
            reasons.append(f"has nothing to compute: the result is {spec.x_shape}")
        if not reasons and (code := row_tile(_problem(spec)).code) > _MOST_CODE:
            reasons.append(f"would unroll {code} operations, more than {_MOST_CODE}")
        return reasons

    def seconds(self, spec: ConvSpec, machine: Machine) -> float:
        """The cycles that the tiles take, or the bytes at memory speed if that is slower."""
        per_cycle = 4 * host_target().vector_bits / 32  # operations of two multiply-adds on vectors
        tile, near = row_tile(_problem(spec)), dict(machine.caches).get("L2", 0)
        computing = spec.batch * spec.groups * tile.cycles * per_cycle / machine.peak
        moving = spec.bytes / machine.bandwidth / (_HELD if spec.bytes <= near else 1)
        image, again = prod(spec.y_shape) * spec.item_size, 0
        if image > spec.batch * spec.groups * near / 4:
            again = -(-tile.of.channels // tile.channels) - 1  # each tile reads all channels
        return _CALL_SECONDS + max(computing, moving) + again * image / machine.bandwidth

    def build(self, spec: ConvSpec) -> Run:
        """`run(gy, w, bias=None)`."""
        routine = compiled(
            f"{self.name} {spec}", 3 + spec.bias, lambda: _Recording(spec).r,
            sources=[__file__, *(str(part.__file__) for part in _PARTS)],
        )  # fmt: skip
        make = allocator(spec.x_shape, spec.dtype, spec.layout)
        launch = launcher(routine, 2 * spec.executed_macs, spec.bytes)
        wide = getattr(torch, _weights(spec))
        widened = packer(lambda w: w.to(wide).contiguous())

        def run(gy: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
            gx = make()
            given = [gx, gy, w.contiguous() if w.dtype == wide else widened(w)]
            if bias is not None:
                given.append(bias.to(wide).contiguous())
            launch(*[t.data_ptr() for t in given])
            return gx

        return run


def _weights(spec: ConvSpec) -> str:
    """The dtype that weights and bias are handed over in: 16 bits are widened once, not per use."""
    return "float64" if spec.dtype == "float64" else "float32"


def _problem(spec: ConvSpec) -> RowPhases:
    found = (
        PhaseAxis(a.input_size, a.kernel_size, a.stride, a.padding[0], a.dilation, a.output_size)
        for a in spec.axes
    )
    depth, high, wide = (*[PhaseAxis(1, 1, 1, 0, 1, 1)] * (3 - spec.dims), *found)
    lanes = host_target().lanes(REGISTER_BYTES[spec.dtype])
    while lanes > 4 and wide.most <= lanes // 2:
        lanes //= 2
    return RowPhases(
        axes=(depth, high, wide), channels=spec.in_channels // spec.groups,
        terms=spec.out_channels // spec.groups, lanes=lanes, widened=spec.item_size == 2,
    )  # fmt: skip


class _Recording:
    """The routine for one spec; in fewer than three dimensions the leading axes have size 1."""

    def __init__(self, spec: ConvSpec) -> None:
        self.spec, self.problem = spec, _problem(spec)
        self.tile: RowTile = row_tile(self.problem)
        self.depth, self.high, self.wide = self.problem.axes
        self.lanes, self.step = self.problem.lanes, self.tile.vectors * self.problem.lanes
        self.kind = "f64" if spec.dtype == "float64" else "f32"
        self.channels = self.problem.channels
        planes = spec.batch * spec.groups * self.depth.results
        self.tiles = Cover(self.channels, self.tile.channels, -(-_ITEMS // max(planes, 1)))
        items = planes * self.tiles.blocks
        rows = -(-self.high.most // self.tile.rows)
        self.row_share = -(-rows // min(rows, -(-_ITEMS // max(items, 1))))
        self.row_blocks = -(-rows // self.row_share)
        # where results will soon be written, to be brought near: in the next plane, or rows below
        size, below = prod(spec.input_size), self.tile.rows * self.high.stride * self.wide.results
        self.ahead = size if size * spec.item_size <= _NEAR else below
        r = self.r = Routine("phases_rows", items * self.row_blocks)
        self.gx = r.writes("gx", spec.dtype, prod(spec.x_shape))
        self.gy = r.reads("gy", spec.dtype, prod(spec.y_shape))
        self.w = r.reads("w", _weights(spec), prod(spec.w_shape))
        self.b = r.reads("b", _weights(spec), spec.in_channels) if spec.bias else None
        with r.work() as item:
            self.item(item)

    def item(self, item: Value) -> None:
        """Some rows of some channels in one plane of results."""
        r, rows = self.r, self.tile.rows
        block, item = item % self.row_blocks, item // self.row_blocks
        tiles, item = item % self.tiles.blocks, item // self.tiles.blocks
        self.id, self.image = item % self.depth.results, item // self.depth.results
        self.group = self.image % self.spec.groups
        self.deep = self.depth.phase(self.id % self.depth.stride)
        begin = block * self.row_share
        with self.tiles.loop(r, tiles) as channel:
            for first in self.phases():
                count = r.const(0) + self.high.count(first)
                end = r.minimum(begin + self.row_share, (count + (rows - 1)) // rows)
                with r.loop(begin, end) as loop:
                    k = r.minimum(loop.index * rows, count - rows)
                    self.columns(_Rows(first, self.high.phase(first), k), channel)

    def phases(self) -> Iterator[Operand]:
        """The phases of rows: in a loop if they have equally many taps, else one by one."""
        high = self.high
        if high.phases == 1:
            yield self.r.const(0)
        elif high.kernel_size % high.period or high.period < high.stride:
            yield from range(high.phases)
        else:
            with self.r.loop(0, high.phases) as loop:
                yield loop.index

    def columns(self, rows: "_Rows", channel: Value) -> None:
        """All tiles of a row: those that stay inside in a loop, the others one by one.

        If that were too much code, the others are in loops too, and find out their masks.
        """
        begins = range(0, self.wide.most, self.step)
        inside = [begin for begin in begins if self.is_inside(begin)]
        before = [begin for begin in begins if not inside or begin < inside[0]]
        after = [begin for begin in begins if inside and begin > inside[-1]]
        known = (len(before) + len(after)) * self.tile.code <= _BORDER_CODE
        for some in (before, inside, after):
            if some and known and some is not inside:
                for begin in some:
                    vectors = min(self.tile.vectors, -(-(self.wide.most - begin) // self.lanes))
                    _Tile(self, rows, channel, self.r.const(begin), vectors, inside=False).record()
            elif some:
                with self.r.loop(some[0], some[-1] + 1, self.step) as loop:
                    _Tile(
                        self, rows, channel, loop.index, self.tile.vectors, inside=some is inside
                    ).record()

    def is_inside(self, begin: int) -> bool:
        """Whether all results of a tile exist in all phases and all that it loads is in gy."""
        wide, places = self.wide, self.problem.taps or {0: []}
        exist = begin + self.step <= wide.count(wide.stride - 1)
        low, high = begin + min(places), begin + max(places) + self.step
        return exist and low >= 0 and high <= wide.sources


class _Rows(NamedTuple):
    """Rows of one phase from result k of it on."""

    first: Operand
    phase: Phase
    k: Value


class _Tile:
    """Results of some channels at some rows and some vectors of columns, in all phases of a row."""

    def __init__(
        self,
        recording: _Recording,
        rows: _Rows,
        channel: Value,
        column: Value,
        vectors: int,
        *,
        inside: bool,
    ) -> None:
        self.of, self.r, self.rows = recording, recording.r, rows
        self.channel, self.column, self.vectors, self.inside = channel, column, vectors, inside
        tile = recording.tile
        self.places = [(c, i) for c in range(tile.channels) for i in range(tile.rows)]
        self.phases = recording.wide.phases

    def record(self) -> None:
        """Sum up, weave and store."""
        of, r = self.of, self.r
        sums = []
        for c, _ in self.places:
            at = of.group * of.channels + self.channel + c
            start = r.load(of.b, at) if of.b else r.const(0, of.kind)
            sums += [r.splat(start, of.lanes)] * (self.phases * self.vectors)
        self.store(self.over_terms(sums))

    def at(self, place: int, phase: int, vector: int) -> int:
        """Which of the sums belongs to a channel and row, a phase and a vector."""
        return (place * self.phases + phase) * self.vectors + vector

    def loop(
        self, bounds: tuple[Value, Value], sums: list[Value],
        turn: Callable[[Value, list[Value]], list[Value]],
    ) -> list[Value]:  # fmt: skip
        """A loop that carries the sums; one turn is none."""
        begin, end = (bound.op.attr if bound.op.name == "const" else None for bound in bounds)
        if begin is not None and end == begin + 1:
            return turn(bounds[0], sums)
        with self.r.loop(*bounds, carried=sums) as loop:
            loop.carry(*turn(loop.index, list(loop.carried)))
        return list(loop.results)

    def over_terms(self, sums: list[Value]) -> list[Value]:
        """The sums over the channels of gy, and in each of them over planes and rows."""
        of, depth = self.of, self.of.depth
        terms, taps, kernel = of.problem.terms, of.spec.taps, of.spec.kernel_size
        k = of.id // depth.stride
        planes = depth.inside(self.r, of.deep, k, k)
        if depth.results == depth.kernel_size == depth.sources == 1 and not depth.low:
            planes = self.r.const(0), self.r.const(1)

        def term(o: Value, sums: list[Value]) -> list[Value]:
            image = (of.image * terms + o) * depth.sources
            filters = ((of.group * terms + o) * of.channels + self.channel) * taps

            def plane(turn: Value, sums: list[Value]) -> list[Value]:
                source = image + (k + of.deep.base + turn * depth.step)
                tap = of.deep.residue + (depth.turns - 1 - turn) * depth.period
                weights = filters + tap * prod(kernel[-2:] if of.spec.dims > 1 else kernel)
                return self.over_rows(sums, source * of.high.sources, weights)

            return self.loop(planes, sums, plane)

        return self.loop((self.r.const(0), self.r.const(terms)), sums, term)

    def over_rows(self, sums: list[Value], plane: Value, weights: Value) -> list[Value]:
        """The sums over the rows of gy that the tile reads in one plane; row 0 is row `plane`."""
        of, high, phase, k = self.of, self.of.high, self.rows.phase, self.rows.k
        if of.tile.shares and of.tile.rows > 1:
            return self.over_shared_rows(sums, plane, weights)
        for i in range(of.tile.rows):

            def row(turn: Value, sums: list[Value], i: int = i) -> list[Value]:
                source = plane + (k + i + phase.base + turn * high.step)
                return self.over_columns(sums, source, {i: weights + self.tap(turn)})

            sums = self.loop(high.inside(self.r, phase, k + i, k + i), sums, row)
        return sums

    def tap(self, turn: Operand) -> Operand:
        """Where the weights of a turn's row begin."""
        high = self.of.high
        row = self.rows.phase.residue + (high.turns - 1 - turn) * high.period
        return row * self.of.wide.kernel_size

    def over_shared_rows(self, sums: list[Value], plane: Value, weights: Value) -> list[Value]:
        """Row `top + j` of gy is turn j − i of result row i."""
        high, r, rows = self.of.high, self.r, self.of.tile.rows
        begin = self.rows.phase.begin if isinstance(self.rows.phase.begin, int) else 0
        top = self.rows.k + self.rows.phase.base
        used_by_all = range(rows - 1 + begin, high.turns)

        def row(j: Operand, source: Value, users: list[int], sums: list[Value]) -> list[Value]:
            at = {i: weights + self.tap(j - i) for i in users}
            return self.over_columns(sums, plane + source, at)

        for j in range(begin, rows - 1 + high.turns):
            if j in used_by_all:
                if j > used_by_all[0]:
                    continue
                first = r.maximum(j, 0 - top)
                end = r.minimum(high.turns, high.sources - top)
                with r.loop(first, end, carried=sums) as loop:
                    every = list(range(rows))
                    loop.carry(*row(loop.index, top + loop.index, every, list(loop.carried)))
                sums = list(loop.results)
                continue
            users = [i for i in range(rows) if begin <= j - i < high.turns]
            # one turn if the row exists, none if it is padding
            with r.loop(
                r.maximum(top + j, 0), r.minimum(top + (j + 1), high.sources), carried=sums
            ) as loop:
                loop.carry(*row(j, loop.index, users, list(loop.carried)))
            sums = list(loop.results)
        return sums

    def over_columns(
        self, sums: list[Value], row: Value, weights: dict[int, Operand]
    ) -> list[Value]:
        """One row of gy's part in the sums of the result rows that use it."""
        of, r, taps = self.of, self.r, self.of.problem.taps
        sums, base = list(sums), row * of.wide.sources
        for number, (place, uses) in enumerate(taps.items()):
            if number and number % _TAPS_TOGETHER == 0:
                r.cut()
            stretches = [self.stretch(base, place + v * of.lanes) for v in range(self.vectors)]
            for n, (c, i) in enumerate(self.places):
                for phase, tap in uses if i in weights else ():
                    at = weights[i] + (c * of.spec.taps + tap)
                    weight = r.splat(r.load(of.w, at), of.lanes)
                    for v, numbers in enumerate(stretches):
                        if numbers is not None:
                            to = self.at(n, phase, v)
                            sums[to] = r.fma(numbers, weight, sums[to])
        return sums

    def stretch(self, base: Value, offset: int) -> Value | None:
        """A vector of a row of gy from `offset` past the column on; None if there is nothing."""
        of, r = self.of, self.r
        first = self.column + offset
        if self.inside:
            return r.load(of.gy, base + first, of.lanes)
        if first.op.name != "const":
            real = r.below(of.wide.sources - first, of.lanes) & ~r.below(0 - first, of.lanes)
            return r.load(of.gy, base + first, of.lanes, real)
        known = [0 <= first.op.attr + lane < of.wide.sources for lane in range(of.lanes)]
        if not any(known):
            return None
        return r.load(of.gy, base + first, of.lanes, None if all(known) else r.mask(known))

    def store(self, sums: list[Value]) -> None:
        """Write the results that exist."""
        of, r, wide, high = self.of, self.r, self.of.wide, self.of.high
        size = prod(of.spec.input_size)
        for n, (c, i) in enumerate(self.places):
            row = self.rows.first + (self.rows.k + i) * high.stride
            channel = of.image * of.channels + self.channel + c
            line = channel * size + (of.id * high.results + row) * wide.results
            for v in range(self.vectors):
                parts = [sums[self.at(n, phase, v)] for phase in range(self.phases)]
                for number, numbers in enumerate(interleaved(r, parts)):
                    offset = v * of.lanes * wide.stride + number * of.lanes
                    column = self.column * wide.stride + offset
                    mask = None
                    if not self.inside:
                        left = r.const(0) + (wide.results - column)
                        if left.op.name == "const" and left.op.attr <= 0:
                            continue
                        if left.op.name != "const" or left.op.attr < of.lanes:
                            mask = r.below(left, of.lanes)
                    done = activated(r, of.spec.activation, numbers)
                    r.prefetch(of.gx, line + column + of.ahead)
                    r.store(of.gx, line + column, done, mask)


ALGORITHM = PhasesRowsCpu()
