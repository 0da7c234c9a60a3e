"""Depthwise convolution of contiguous images: one filter a channel, straight from its definition.

    y[o, q] = b[o] + Σ_t w[o, t] · x[o // m, q·s − low + t·d]          m output channels a channel

A tile of `rows` × `vectors` outputs lives in registers. For each input row that the tile sees, each
column tap loads its stretch of the row once, for all output rows that use it, and multiplies it by
their weights. Taps that fall into zero padding are skipped: whole rows by the bounds of the loop,
columns by masks that are known while the routine is recorded, since the sizes are. Nothing is
padded or copied.

Used for every kernel size, dilation and padding in 1-D to 3-D, stride 1 or 2 along a row. Not for
channels-last images.
"""

from collections.abc import Sequence
from math import prod

from torch import Tensor

from ....lang.compile import compiled
from ....lang.routine import Routine, Value
from ....lang.target import host_target
from ....machine import Machine
from ....parts.activation import activated
from ....parts.taps import taps_inside
from ....planning import Algorithm, Run
from ...calling import allocator, launcher, weighted
from ...geometry import Axis
from ..refusals import REGISTER_BYTES, refusals
from ..spec import ConvSpec

_VECTORS = 4  # along a row
# output rows of a tile by its vectors: as many sums as leave registers for stretches and weights.
# AVX-512 has 32 registers, and its loads, mostly across two cache lines, need sharing among rows
_ROWS = {16: {1: 6, 2: 4, 3: 3, 4: 2}, 32: {1: 8, 2: 6, 3: 5, 4: 4}}
# more of them where a row's taps need the loads, and are not so many that they take long to compile
_MORE_ROWS, _MORE_TAPS = {2: 7, 4: 6}, range(5, 10)
_MOST_UNROLLED_TAPS = 64  # a wider kernel would take longer to compile than it is worth
_TAPS_TOGETHER = 8  # a vector's taps repeat its neighbour's loads `lanes` taps later
_ITEMS = 32  # pieces of work to share out, if there are so many
_LINE = 16  # numbers in a cache line; if they have 8 bytes in two, which come in pairs
# an image and its result from which on memory is asked beforehand, and by how many numbers where
# tiles are parts of one row; with more taps than that a core has enough to do meanwhile
_FAR_BYTES, _AHEAD, _FEW_TAPS = 1 << 20, 1024, 32

_CALL_SECONDS = 2e-6
_EFFICIENCY = 0.6
_WIDENING = 0.55  # 16-bit numbers are widened anew for every tap
_MORE_SHARED = 1.06  # where more output rows share what is loaded
_UNSHARED = 0.35  # where each output row loads its input rows for itself
_PICKING = 0.2  # where it picks every second number, or fewer, of what it loads
_NARROW = 0.65  # where a row is less than a vector, and all of it sees padding
_WAITING = 0.3  # of the lesser of the times for arithmetic and memory: the rest goes on meanwhile


class DepthwiseCpu(Algorithm):
    """One filter a channel, direct."""

    tasks = frozenset({"forward"})

    def unsupported(self, spec: ConvSpec) -> list[str]:
        """Anything but depthwise, on contiguous images of floating-point numbers."""
        reasons = refusals(spec, ["contiguous"])
        if spec.groups != spec.in_channels:
            reasons.append(
                f"needs one group per channel, has {spec.groups} groups of "
                f"{spec.in_channels // spec.groups} channels"
            )
        if spec.stride[-1] > 2:
            reasons.append(f"needs stride 1 or 2 along a row, has {spec.stride[-1]}")
        if spec.kernel_size[-1] > _MOST_UNROLLED_TAPS:
            most = _MOST_UNROLLED_TAPS
            reasons.append(f"unrolls up to {most} taps of a row, has {spec.kernel_size[-1]}")
        return reasons

    def seconds(self, spec: ConvSpec, machine: Machine) -> float:
        """Executed multiply-adds, and the bytes, for the most part at the same time."""
        lanes = _lanes(spec)
        columns = spec.output_size[-1]
        used = columns / (-(-columns // lanes) * lanes) * lanes * 32 / machine.vector_bits
        *outer, wide = spec.axes
        rows = prod(axis.executed for axis in outer) * wide.output_size * wide.kernel_size
        macs = spec.batch * spec.out_channels * rows  # along a row, those for padding too
        alone = spec.dims == 1 or (
            outer[-1].kernel_size > 1 and max(outer[-1].stride, outer[-1].dilation) > 1
        )
        efficiency = _UNSHARED if alone else _EFFICIENCY
        if wide.kernel_size in _MORE_TAPS:
            efficiency *= _MORE_SHARED
        if wide.stride > 1:
            efficiency = _PICKING
        if columns < lanes:
            efficiency *= _NARROW
        if spec.item_size == 2:
            efficiency *= _WIDENING
        computing = 2 * macs / (machine.peak * efficiency * min(used, 1.0))
        less, more = sorted((computing, machine.moving(spec.bytes)))
        return _CALL_SECONDS + more + _WAITING * less

    def build(self, spec: ConvSpec) -> Run:
        """`run(x, w, bias=None)`."""
        routine = compiled(
            f"{self.name} {spec}", 3 + spec.bias, lambda: _Recording(spec).r,
            sources=[__file__, *(part.__code__.co_filename for part in (taps_inside, activated))],
        )  # fmt: skip
        make = allocator(spec.y_shape, spec.dtype, "contiguous")
        launch = launcher(routine, 2 * spec.executed_macs, spec.bytes)
        return weighted(make, Tensor.contiguous, launch)


def _lanes(spec: ConvSpec) -> int:
    """Numbers in a vector: the machine's, or half of it while a row of outputs fits in that."""
    lanes = host_target().lanes(REGISTER_BYTES[spec.dtype])
    while lanes > 4 and spec.output_size[-1] <= lanes // 2:
        lanes //= 2
    return lanes


def _is_far(spec: ConvSpec) -> bool:
    """Whether a tile asks for what a later one needs: memory is what it waits for."""
    few = spec.dims < 3 and spec.stride[-1] == 1 and spec.taps <= _FEW_TAPS
    return few and spec.bytes > _FAR_BYTES


def _rows(spec: ConvSpec, lanes: int) -> int:
    """Output rows of a tile, so that the last tile of a plane is not much smaller."""
    if spec.dims == 1:
        return 1
    registers = 32 if host_target().vector_bits == 512 else 16
    vectors = min(_VECTORS, -(-spec.output_size[-1] // lanes))
    high = spec.output_size[-2]
    most = _ROWS[registers][vectors]
    if registers == 32 and spec.kernel_size[-1] in _MORE_TAPS:
        most = _MORE_ROWS.get(vectors, most)
    most = min(most, high)
    return -(-high // -(-high // most))


class _Recording:
    """The routine for one spec; in fewer than three dimensions the leading axes have size 1."""

    def __init__(self, spec: ConvSpec) -> None:
        axes = (*[Axis(1, 1)] * (3 - spec.dims), *spec.axes)
        self.spec, (self.depth, self.high, self.wide) = spec, axes
        self.lanes = _lanes(spec)
        self.kind = "f64" if spec.dtype == "float64" else "f32"
        self.rows = _rows(spec, self.lanes)
        self.tiles = self.high.output_size // self.rows
        planes = spec.batch * spec.out_channels * self.depth.output_size
        self.blocks = max(1, min(self.tiles, -(-_ITEMS // max(planes, 1))))
        r = self.r = Routine("depthwise", planes * self.blocks)
        numbers = [prod(spec.y_shape), prod(spec.x_shape), prod(spec.w_shape)]
        self.y = r.writes("y", spec.dtype, numbers[0])
        self.x, self.w = (r.reads(n, spec.dtype, k) for n, k in zip("xw", numbers[1:], strict=True))
        self.b = r.reads("b", spec.dtype, spec.out_channels) if spec.bias else None
        with r.work() as item:
            self.item(item)

    def item(self, item: Value) -> None:
        """One block of rows of one output plane."""
        r, spec = self.r, self.spec
        block, plane = item % self.blocks, item // self.blocks
        self.od, image = plane % self.depth.output_size, plane // self.depth.output_size
        channel = image % spec.out_channels
        multiplier = spec.out_channels // spec.in_channels
        n = image // spec.out_channels
        self.x_plane = (n * spec.in_channels + channel // multiplier) * prod(spec.input_size)
        self.w_plane = channel * spec.taps
        self.y_plane = plane * (self.high.output_size * self.wide.output_size)
        self.start = r.load(self.b, channel) if self.b else r.const(0, self.kind)
        share = -(-self.tiles // self.blocks)
        first = block * share
        with r.loop(first, r.minimum(first + share, self.tiles)) as loop:
            self.columns(loop.index * self.rows, self.rows)
        rest = self.high.output_size % self.rows
        if rest:
            with r.when(r.apply("eq", block, self.blocks - 1)):
                self.columns(r.const(self.tiles * self.rows), rest)

    def columns(self, row: Value, rows: int) -> None:
        """All tiles of some output rows: at the borders one by one, between them in a loop."""
        step, outputs = _VECTORS * self.lanes, self.wide.output_size
        first = -(-self.wide.padding[0] // (self.wide.stride * self.lanes)) * self.lanes
        end = first
        while end + step <= outputs and self.is_inside(end, step):
            end += step
        if end == first:
            self.border_tiles(row, rows, 0, outputs)
            return
        self.border_tiles(row, rows, 0, first)
        with self.r.loop(first, end, step) as loop:
            self.tile(_Tile(self, row, rows, loop.index, _VECTORS, outputs, inside=True))
        self.border_tiles(row, rows, end, outputs)

    def border_tiles(self, row: Value, rows: int, begin: int, end: int) -> None:
        """Tiles whose place is known, so that it is known which of their loads are padding."""
        step = _VECTORS * self.lanes
        for column in range(begin, end, step):
            vectors = min(_VECTORS, -(-(end - column) // self.lanes))
            at, left = self.r.const(column), self.wide.output_size - column
            self.tile(_Tile(self, row, rows, at, vectors, left, inside=False))

    def is_inside(self, column: int, step: int) -> bool:
        """Whether every load of a full tile from this column on stays in the image's row."""
        axis = self.wide
        first = axis.padded_position(column, 0)
        last = axis.padded_position(column, axis.kernel_size - 1) + step * axis.stride - 1
        return first >= 0 and last < axis.input_size

    def tile(self, tile: "_Tile") -> None:
        """Compute a tile and write it."""
        if _is_far(self.spec):
            tile.ask_ahead()
        start = self.r.splat(self.start, self.lanes)
        tile.store(tile.over_depth([start] * (tile.rows * tile.vectors)))


class _Tile:
    """The outputs at rows `row` … and columns `column` …, and the sums over their taps."""

    def __init__(
        self, recording: _Recording, row: Value, rows: int, column: Value, vectors: int, left: int,
        *, inside: bool,
    ) -> None:  # fmt: skip
        self.of, self.r = recording, recording.r
        self.row, self.rows, self.column, self.vectors = row, rows, column, vectors
        self.left, self.inside = left, inside

    def ask_ahead(self) -> None:
        """Have lines that a later tile reads and writes brought near, as many as this one does.

        A core waits for memory at each line of a new result, and at each new page of the image.
        """
        of, alone, numbers = self.of, self.rows == 1, range(0, self.vectors * self.of.lanes, _LINE)
        high, read, written = of.high, of.wide.input_size, of.wide.output_size
        below = self.row * high.stride - high.padding[0] + (high.kernel_size - 1) * high.dilation
        x = of.x_plane + below * read + (_AHEAD if alone else high.stride * read)
        y = of.y_plane + self.row * written + (_AHEAD if alone else self.rows * written)
        rows = 1 if alone else self.rows * high.stride
        for at in (row * read + n for row in range(rows) for n in numbers):
            self.r.prefetch(of.x, x + self.column + at)
        for at in (row * written + n for row in range(self.rows) for n in numbers):
            self.r.prefetch(of.y, y + self.column + at)

    def over_depth(self, sums: list[Value]) -> list[Value]:
        """The sums over all planes of the input that this output plane sees."""
        axis = self.of.depth
        if axis.kernel_size == 1 and axis.input_size == axis.output_size == 1:
            return self.over_rows(sums, self.r.const(0), self.r.const(0))
        first, end = self.bounds(axis, self.of.od)
        with self.r.loop(first, end, carried=sums) as loop:
            plane = self.of.od * axis.stride - axis.padding[0] + loop.index * axis.dilation
            loop.carry(*self.over_rows(list(loop.carried), plane, loop.index))
        return list(loop.results)

    def bounds(self, axis: Axis, output: Value) -> tuple[Value, Value]:
        """The first tap inside the input, and the first behind it, for an output on this axis."""
        return taps_inside(
            self.r, output, input_size=axis.input_size, kernel_size=axis.kernel_size,
            stride=axis.stride, low=axis.padding[0], dilation=axis.dilation,
        )  # fmt: skip

    def over_rows(self, sums: list[Value], plane: Value, depth_tap: Value) -> list[Value]:
        """The sums over all input rows that the tile sees in one plane."""
        axis = self.of.high
        self.plane, self.depth_tap = plane, depth_tap
        if self.rows == 1:
            first, end = self.bounds(axis, self.row)
            with self.r.loop(first, end, carried=sums) as loop:
                at = self.row * axis.stride - axis.padding[0] + loop.index * axis.dilation
                loop.carry(*self.over_columns(list(loop.carried), at, [loop.index]))
            return list(loop.results)
        if axis.dilation > 1 or axis.stride > 1:
            for output in range(self.rows):
                mine = slice(output * self.vectors, (output + 1) * self.vectors)
                single = _Tile(
                    self.of, self.row + output, 1, self.column, self.vectors, self.left,
                    inside=self.inside,
                )  # fmt: skip
                sums[mine] = single.over_rows(sums[mine], plane, depth_tap)
            return sums
        return self.over_shared_rows(sums)

    def over_shared_rows(self, sums: list[Value]) -> list[Value]:
        """Stride and dilation 1: input row `top + j` is tap j − r of output row r."""
        axis, r = self.of.high, self.r
        taps, top = axis.kernel_size, self.row - axis.padding[0]
        loaded_by_all = range(self.rows - 1, taps)
        for j in range(taps + self.rows - 1):
            users = [o for o in range(self.rows) if 0 <= j - o < taps]
            if j in loaded_by_all:
                if j > loaded_by_all[0]:
                    continue
                first = r.maximum(j, axis.padding[0] - self.row)
                end = r.minimum(taps, axis.input_size - top)
                with r.loop(first, end, carried=sums) as loop:
                    row_taps = [loop.index - o for o in range(self.rows)]
                    carried = list(loop.carried)
                    loop.carry(*self.over_columns(carried, top + loop.index, row_taps))
                sums = list(loop.results)
                continue
            # one turn if the input row exists, none if it is padding
            with r.loop(
                r.maximum(top + j, 0), r.minimum(top + (j + 1), axis.input_size), carried=sums
            ) as loop:
                taps_used = [r.const(j - o) if o in users else None for o in range(self.rows)]
                loop.carry(*self.over_columns(list(loop.carried), loop.index, taps_used))
            sums = list(loop.results)
        return sums

    def over_columns(
        self, sums: list[Value], input_row: Value, row_taps: Sequence[Value | None]
    ) -> list[Value]:
        """One input row's part in the sums: every column tap, for each output row that uses it."""
        height, width = self.of.high, self.of.wide
        base = self.of.x_plane + (self.plane * height.input_size + input_row) * width.input_size
        plane = self.of.w_plane + self.depth_tap * (height.kernel_size * width.kernel_size)
        weights = [None if t is None else plane + t * width.kernel_size for t in row_taps]
        whole = width.kernel_size // _TAPS_TOGETHER * _TAPS_TOGETHER
        if not self.inside or whole <= _TAPS_TOGETHER:
            return self.over_taps(sums, base, weights, range(width.kernel_size))
        with self.r.loop(0, whole, _TAPS_TOGETHER, carried=sums) as loop:
            later = [None if w is None else w + loop.index for w in weights]
            shifted = base + loop.index * width.dilation
            loop.carry(*self.over_taps(list(loop.carried), shifted, later, range(_TAPS_TOGETHER)))
        return self.over_taps(list(loop.results), base, weights, range(whole, width.kernel_size))

    def over_taps(
        self, sums: list[Value], base: Value, weights: Sequence[Value | None], taps: range
    ) -> list[Value]:
        """Some column taps of the row at `base`, with each output row's weights of that row."""
        of, r = self.of, self.r
        sums = list(sums)
        for tap in taps:
            if tap % _TAPS_TOGETHER == 0 and tap > taps[0]:
                r.cut()
            stretch = [self.stretch(base, tap, v) for v in range(self.vectors)]
            for output, at_weights in enumerate(weights):
                if at_weights is None:
                    continue
                weight = r.splat(r.load(of.w, at_weights + tap), of.lanes)
                for v, numbers in enumerate(stretch):
                    if numbers is not None:
                        at = output * self.vectors + v
                        sums[at] = r.fma(numbers, weight, sums[at])
        return sums

    def stretch(self, base: Value, tap: int, vector: int) -> Value | None:
        """The inputs that a vector of outputs reads through a column tap; None if only padding."""
        axis, lanes = self.of.wide, self.of.lanes
        offset = vector * lanes * axis.stride + axis.padded_position(0, tap)
        at = base + self.column * axis.stride + offset
        if axis.stride == 1:
            return self.load(at, offset)
        parts = [self.load(at + lanes * n, offset + lanes * n) for n in (0, 1)]
        if all(part is None for part in parts):
            return None
        zero = self.r.const(0, self.of.kind, lanes)
        first, second = (zero if part is None else part for part in parts)
        return self.r.pick(first, second, range(0, 2 * lanes, 2))

    def load(self, at: Value, offset: int) -> Value | None:
        """One vector of a row from `offset` past the tile's column on, without what is padding."""
        lanes = self.of.lanes
        if self.inside:
            return self.r.load(self.of.x, at, lanes)
        first = self.column.op.attr * self.of.wide.stride + offset  # a tile at a border is constant
        real = [0 <= first + lane < self.of.wide.input_size for lane in range(lanes)]
        if not any(real):
            return None
        return self.r.load(self.of.x, at, lanes, None if all(real) else self.r.mask(real))

    def store(self, sums: list[Value]) -> None:
        """Write the outputs that exist."""
        of, r = self.of, self.r
        for output in range(self.rows):
            line = of.y_plane + (self.row + output) * of.wide.output_size + self.column
            for v in range(self.vectors):
                exist = self.left - v * of.lanes
                mask = None if self.inside or exist >= of.lanes else r.below(exist, of.lanes)
                value = activated(r, of.spec.activation, sums[output * self.vectors + v])
                r.store(of.y, line + v * of.lanes, value, mask)


ALGORITHM = DepthwiseCpu()
