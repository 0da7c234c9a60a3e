"""Rows of depthwise outputs with channels as lanes: one vector of channels, pixel by pixel.

    y[q, c] = Σ_t w[t, c] · x[q·s − low + t·d, c]

A tile of neighbouring outputs of a row lives in registers. Each pixel of an input row that the tile
sees is loaded once and multiplied by the weight of every tap through which an output of the tile
reads it. Taps on zero padding are left out: along the row while recording, since all places are
known, in height and depth by the bounds of the loops. Where the pixels lie is up to the caller:
in a channels-last image, or in a block of channels made from a contiguous one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ...lang.ops import Buffer
from ...lang.routine import Routine, Value
from ...lang.target import host_target
from ...ops.geometry import Axis
from ..taps import taps_inside

_SUMS = {16: 10, 32: 16}  # outputs of a tile, by the number of vector registers
_LONG, _LONG_SUMS = 16, 14  # taps of a row with which more outputs than that leave the registers


def three(axes: Sequence[Axis]) -> tuple[Axis, Axis, Axis]:
    """Depth, height and width; those that a 1-D or 2-D image has not are of size 1."""
    depth, high, wide = (*[Axis(1, 1)] * (3 - len(axes)), *axes)
    return depth, high, wide


def tile_columns(axis: Axis) -> int:
    """Outputs of a tile of a row, so that the last tile is not much smaller than the others."""
    most = _SUMS[32 if host_target().vector_bits == 512 else 16]
    if axis.kernel_size >= _LONG:
        most = min(most, _LONG_SUMS)
    return -(-axis.output_size // -(-axis.output_size // most))


def recorded_products(axis: Axis) -> int:
    """Multiply-adds of a row that are recorded one by one, all kinds of tiles together."""
    columns = tile_columns(axis)
    first, end = _inside(axis, columns)
    kinds = -(-axis.output_size // columns) - max(0, (end - first) // columns - 1)
    return kinds * columns * axis.kernel_size


def _inside(axis: Axis, columns: int) -> tuple[int, int]:
    """First and end of the tiles whose windows stay in the row, as multiples of a tile."""
    first = -(-axis.padding[0] // (axis.stride * columns)) * columns
    end = first
    while end + columns <= axis.output_size:
        if axis.padded_position(end + columns - 1, axis.kernel_size - 1) >= axis.input_size:
            break
        end += columns
    return first, end


@dataclass(frozen=True)
class Pixels:
    """Where the inputs of one vector of channels lie.

    `row(plane, row)` is the index of the first channel of the row's first pixel; the pixels of a
    row are `step` numbers apart. `mask` leaves out channels that do not exist.
    """

    buffer: Buffer
    row: Callable[[Value, Value], Value]
    step: int
    mask: Value | None = None


@dataclass(frozen=True)
class Tile:
    """Neighbouring outputs of a row from `column` on; `inside` if they see no padding there."""

    column: Value
    outputs: int
    inside: bool


class PixelRows:
    """Records rows of outputs; the weights of the channels lie tap by tap in `weights`."""

    def __init__(self, r: Routine, axes: Sequence[Axis], lanes: int, weights: Buffer) -> None:
        self.r, self.lanes, self.weights = r, lanes, weights
        self.depth, self.high, self.wide = three(axes)
        self.columns = tile_columns(self.wide)

    def record(
        self,
        pixels: Pixels,
        first_weight: Value,
        plane: Value,
        row: Value,
        start: Value,
        store: Callable[[Value, list[Value]], None],
    ) -> None:
        """One row of outputs: sums begin at `start`; `store(column, sums)` gets every tile's."""
        for tile in self.tiles():
            store(tile.column, self.sums(tile, pixels, first_weight, plane, row, start))

    def tiles(self) -> Iterator[Tile]:
        """The tiles of a row: at its ends one by one, between them in a loop.

        What is recorded for a tile may have loops over rows in it.
        """
        inside, behind = _inside(self.wide, self.columns)
        if inside >= behind:
            yield from self._border(0, self.wide.output_size)
            return
        yield from self._border(0, inside)
        with self.r.loop(inside, behind, self.columns) as tiles:
            yield Tile(tiles.index, self.columns, inside=True)
        yield from self._border(behind, self.wide.output_size)

    def sums(
        self,
        tile: Tile,
        pixels: Pixels,
        first_weight: Value,
        plane: Value,
        row: Value,
        start: Value,
    ) -> list[Value]:
        """The sums of a tile of a row, which begin at `start`."""
        self.pixels, self.first_weight = pixels, first_weight
        self.plane, self.row = plane, row
        self.column, self.inside = tile.column, tile.inside
        return self._over_planes([start] * tile.outputs)

    def _border(self, begin: int, end: int) -> Iterator[Tile]:
        """Tiles whose place is known, so that it is known which of their pixels are padding."""
        for column in range(begin, end, self.columns):
            outputs = min(self.columns, end - column)
            yield Tile(self.r.const(column), outputs, inside=False)

    def _over_planes(self, sums: list[Value]) -> list[Value]:
        """The sums over the planes and rows of the input that the tile sees."""
        depth, high = self.depth, self.high
        with self.r.loop(*self._bounds(depth, self.plane), carried=sums) as planes:
            plane = self.plane * depth.stride - depth.padding[0] + planes.index * depth.dilation
            taps = planes.index * high.kernel_size
            with self.r.loop(*self._bounds(high, self.row), carried=planes.carried) as rows:
                row = self.row * high.stride - high.padding[0] + rows.index * high.dilation
                base = self.pixels.row(plane, row)
                weights = (taps + rows.index) * (self.wide.kernel_size * self.lanes)
                weights = weights + self.first_weight
                rows.carry(*self._over_pixels(list(rows.carried), base, weights))
            planes.carry(*rows.results)
        return list(planes.results)

    def _bounds(self, axis: Axis, output: Value) -> tuple[Value, Value]:
        return taps_inside(
            self.r, output, input_size=axis.input_size, kernel_size=axis.kernel_size,
            stride=axis.stride, low=axis.padding[0], dilation=axis.dilation,
        )  # fmt: skip

    def _over_pixels(self, sums: list[Value], row: Value, weights: Value) -> list[Value]:
        """One input row's part in the sums: each pixel once, for all taps that read it."""
        r, axis, step = self.r, self.wide, self.pixels.step
        readers: dict[int, list[tuple[int, int]]] = {}
        for output in range(len(sums)):
            for tap in range(axis.kernel_size):
                readers.setdefault(axis.padded_position(output, tap), []).append((output, tap))
        base = row + self.column * (axis.stride * step)
        for position in sorted(readers):
            if not self.inside:
                place = self.column.op.attr * axis.stride + position
                if not 0 <= place < axis.input_size:
                    continue
            at = base + position * step
            pixel = r.load(self.pixels.buffer, at, self.lanes, self.pixels.mask)
            for output, tap in readers[position]:
                weight = r.load(self.weights, weights + tap * self.lanes, self.lanes)
                sums[output] = r.fma(pixel, weight, sums[output])
        return sums
