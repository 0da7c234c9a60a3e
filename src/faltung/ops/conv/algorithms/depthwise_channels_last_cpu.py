"""Depthwise convolution of channels-last images: vectors run along the channels.

    y[q, c] = b[c] + Σ_t w[t, c] · x[q·s − low + t·d, c]

A tile of neighbouring outputs in a row times one vector of channels lives in registers. Each pixel
of an input row that the tile sees is loaded once and multiplied by the weight of every tap through
which an output of the tile reads it. Taps on zero padding are left out: along the row while
recording, since all places are known, in height and depth by the bounds of the loops.

Used for every kernel size, stride, dilation and padding in 2-D and 3-D, one output a channel. The
weight is packed once per call: vector of channels by vector of channels, tap by tap.
"""

from dataclasses import replace
from math import prod

import torch
from torch import Tensor

from ....lang.compile import compiled
from ....lang.routine import Routine, Value
from ....lang.target import host_target, unavailable
from ....machine import Machine
from ....parts.taps import taps_inside
from ....planning import Algorithm, Run
from ...activations import activate
from ...geometry import Axis
from ..spec import ConvSpec

_DTYPES = {
    "float32": 4,
    "float64": 8,
    "bfloat16": 4,
    "float16": 4,
}  # bytes of a number in a register
_SUMS = {16: 10, 32: 14}  # outputs of a tile, by the number of vector registers
_MOST_PRODUCTS = 4000  # of all tiles together; more would take longer than 0.3 s to compile
_ITEMS = 32  # pieces of work to share out, if there are so many

_CALL_SECONDS = 6e-6
_EFFICIENCY = 0.6


class DepthwiseChannelsLastCpu(Algorithm):
    """One filter a channel, direct, vectors along the channels."""

    tasks = frozenset({"forward"})

    def unsupported(self, spec: ConvSpec) -> list[str]:
        """Anything but depthwise, on channels-last images of floating-point numbers."""
        reasons = []
        if spec.groups != spec.in_channels or spec.out_channels != spec.in_channels:
            reasons.append(
                f"needs one group and one output per channel, has {spec.groups} groups, "
                f"{spec.in_channels} channels and {spec.out_channels} outputs"
            )
        if spec.dtype not in _DTYPES:
            reasons.append(f"needs one of {', '.join(_DTYPES)}, has {spec.dtype}")
        if spec.layout != "channels_last":
            reasons.append(f"needs a channels-last image, has {spec.layout}")
        if spec.padding_mode != "zeros" and any(map(any, spec.padding)):
            reasons.append(f"pads with zeros only, not {spec.padding_mode}")
        if (missing := unavailable()) is not None:
            reasons.append(missing)
        if not reasons and (products := _products(spec)) > _MOST_PRODUCTS:
            reasons.append(f"would unroll {products} products, more than {_MOST_PRODUCTS}")
        return reasons

    def seconds(self, spec: ConvSpec, machine: Machine) -> float:
        """Executed multiply-adds, or the bytes at memory speed if that is slower."""
        lanes = _lanes(spec)
        used = spec.in_channels / (-(-spec.in_channels // lanes) * lanes)
        used *= lanes * 32 / machine.vector_bits
        computing = 2 * spec.executed_macs / (machine.peak * _EFFICIENCY * min(used, 1.0))
        return _CALL_SECONDS + max(computing, spec.bytes / machine.bandwidth)

    def workspace(self, spec: ConvSpec) -> int:
        """The packed weight."""
        lanes = _lanes(spec)
        return -(-spec.in_channels // lanes) * lanes * spec.taps * spec.item_size

    def build(self, spec: ConvSpec) -> Run:
        """`run(x, w, bias=None)`."""
        routine = compiled(
            f"{self.name} {replace(spec, activation=None)}", 3 + spec.bias,
            lambda: _Recording(spec).r, sources=[__file__, taps_inside.__code__.co_filename],
        )  # fmt: skip
        dtype, activation, lanes = getattr(torch, spec.dtype), spec.activation, _lanes(spec)
        order = torch.channels_last if spec.dims == 2 else torch.channels_last_3d
        blocks = -(-spec.in_channels // lanes)
        missing = blocks * lanes - spec.in_channels

        def run(x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
            y = torch.empty(spec.y_shape, dtype=dtype, memory_format=order)
            packed = w.reshape(spec.in_channels, spec.taps)
            if missing:
                packed = torch.nn.functional.pad(packed, (0, 0, 0, missing))
            packed = packed.view(blocks, lanes, spec.taps).transpose(1, 2).contiguous()
            given = [y, x, packed] if bias is None else [y, x, packed, bias.contiguous()]
            routine(torch.get_num_threads(), *[t.data_ptr() for t in given])
            return activate(activation, y)

        return run


def _lanes(spec: ConvSpec) -> int:
    """Numbers in a vector: the machine's, or half of it while all channels fit in that."""
    lanes = host_target().lanes(_DTYPES[spec.dtype])
    while lanes > 4 and spec.in_channels <= lanes // 2:
        lanes //= 2
    return lanes


def _columns(spec: ConvSpec) -> int:
    """Outputs of a tile, so that the last tile of a row is not much smaller."""
    most = _SUMS[32 if host_target().vector_bits == 512 else 16]
    outputs = spec.output_size[-1]
    return -(-outputs // -(-outputs // most))


def _products(spec: ConvSpec) -> int:
    """Multiply-adds that are recorded one by one, all kinds of tiles together."""
    axis, columns = spec.axes[-1], _columns(spec)
    first, end = _inside(axis, columns)
    kinds = -(-axis.output_size // columns) - max(0, (end - first) // columns - 1)
    lanes = _lanes(spec)
    both = spec.in_channels > lanes and spec.in_channels % lanes > 0  # whole vectors and a last one
    return kinds * columns * axis.kernel_size * (2 if both else 1)


def _inside(axis: Axis, columns: int) -> tuple[int, int]:
    """First and end of the tiles whose windows stay in the row, as multiples of a tile."""
    first = -(-axis.padding[0] // (axis.stride * columns)) * columns
    end = first
    while end + columns <= axis.output_size:
        if axis.padded_position(end + columns - 1, axis.kernel_size - 1) >= axis.input_size:
            break
        end += columns
    return first, end


class _Recording:
    """The routine for one spec; in two dimensions the depth has size 1."""

    def __init__(self, spec: ConvSpec) -> None:
        self.spec = spec
        self.depth, self.high, self.wide = (*[Axis(1, 1)] * (3 - spec.dims), *spec.axes)
        self.lanes, self.columns = _lanes(spec), _columns(spec)
        self.kind = "f64" if spec.dtype == "float64" else "f32"
        self.channel_blocks = -(-spec.in_channels // self.lanes)
        planes = spec.batch * self.depth.output_size * self.channel_blocks
        self.row_blocks = max(1, min(self.high.output_size, -(-_ITEMS // max(planes, 1))))
        r = self.r = Routine("depthwise_channels_last", planes * self.row_blocks)
        packed = self.channel_blocks * self.lanes * spec.taps
        self.y = r.writes("y", spec.dtype, prod(spec.y_shape))
        self.x = r.reads("x", spec.dtype, prod(spec.x_shape))
        self.w = r.reads("w", spec.dtype, packed)
        self.b = r.reads("b", spec.dtype, spec.out_channels) if spec.bias else None
        with r.work() as item:
            self.item(item)

    def item(self, item: Value) -> None:
        """A block of rows of one vector of channels in one output plane."""
        r, rest = self.r, self.spec.in_channels % self.lanes
        rows, item = item % self.row_blocks, item // self.row_blocks
        block, item = item % self.channel_blocks, item // self.channel_blocks
        self.od, self.n = item % self.depth.output_size, item // self.depth.output_size
        self.channel = block * self.lanes
        self.weights = block * (self.spec.taps * self.lanes)
        if not rest:
            self.rows(rows, None)
            return
        if self.channel_blocks > 1:
            with r.when(block < self.channel_blocks - 1):
                self.rows(rows, None)
        with r.when(r.apply("eq", block, self.channel_blocks - 1)):
            self.rows(rows, r.mask([lane < rest for lane in range(self.lanes)]))

    def rows(self, block: Value, mask: Value | None) -> None:
        """All tiles of a block of output rows; `mask` leaves out channels that do not exist."""
        share = -(-self.high.output_size // self.row_blocks)
        first = block * share
        end = self.r.minimum(first + share, self.high.output_size)
        inside, behind = _inside(self.wide, self.columns)
        with self.r.loop(first, end) as loop:
            self.row, self.mask = loop.index, mask
            self.border(0, inside if inside < behind else self.wide.output_size)
            if inside < behind:
                with self.r.loop(inside, behind, self.columns) as tiles:
                    self.tile(tiles.index, self.columns, inside=True)
                self.border(behind, self.wide.output_size)

    def border(self, begin: int, end: int) -> None:
        """Tiles whose place is known, so that it is known which of their pixels are padding."""
        for column in range(begin, end, self.columns):
            self.tile(self.r.const(column), min(self.columns, end - column), inside=False)

    def tile(self, column: Value, outputs: int, *, inside: bool) -> None:
        """Neighbouring outputs of one row, from `column` on."""
        r, spec, axis = self.r, self.spec, self.wide
        start = r.const(0, self.kind, self.lanes)
        if self.b is not None:
            start = r.load(self.b, self.channel, self.lanes, self.mask)
        self.column, self.inside = column, inside
        sums = self.over_planes([start] * outputs)
        plane = (self.n * self.depth.output_size + self.od) * self.high.output_size
        at = ((plane + self.row) * axis.output_size + column) * spec.in_channels + self.channel
        for output, value in enumerate(sums):
            r.store(self.y, at + output * spec.in_channels, value, self.mask)

    def over_planes(self, sums: list[Value]) -> list[Value]:
        """The sums over the planes and rows of the input that the tile sees."""
        depth, high = self.depth, self.high
        with self.r.loop(*self.bounds(depth, self.od), carried=sums) as planes:
            plane = self.od * depth.stride - depth.padding[0] + planes.index * depth.dilation
            taps = planes.index * high.kernel_size
            with self.r.loop(*self.bounds(high, self.row), carried=planes.carried) as rows:
                row = self.row * high.stride - high.padding[0] + rows.index * high.dilation
                line = (self.n * depth.input_size + plane) * high.input_size + row
                weights = (taps + rows.index) * (self.wide.kernel_size * self.lanes) + self.weights
                rows.carry(*self.over_pixels(list(rows.carried), line, weights))
            planes.carry(*rows.results)
        return list(planes.results)

    def bounds(self, axis: Axis, output: Value) -> tuple[Value, Value]:
        return taps_inside(
            self.r, output, input_size=axis.input_size, kernel_size=axis.kernel_size,
            stride=axis.stride, low=axis.padding[0], dilation=axis.dilation,
        )  # fmt: skip

    def over_pixels(self, sums: list[Value], line: Value, weights: Value) -> list[Value]:
        """One input row's part in the sums: each pixel once, for all taps that read it."""
        r, axis, channels = self.r, self.wide, self.spec.in_channels
        readers: dict[int, list[tuple[int, int]]] = {}
        for output in range(len(sums)):
            for tap in range(axis.kernel_size):
                readers.setdefault(axis.padded_position(output, tap), []).append((output, tap))
        base = (line * axis.input_size + self.column * axis.stride) * channels + self.channel
        for position in sorted(readers):
            if not self.inside:
                place = self.column.op.attr * axis.stride + position
                if not 0 <= place < axis.input_size:
                    continue
            pixel = r.load(self.x, base + position * channels, self.lanes, self.mask)
            for output, tap in readers[position]:
                weight = r.load(self.w, weights + tap * self.lanes, self.lanes)
                sums[output] = r.fma(pixel, weight, sums[output])
        return sums


ALGORITHM = DepthwiseChannelsLastCpu()
