"""`winograd`: one tile through Winograd's minimal filtering, with its numbers.

    Y = Aᵀ [ (G w Gᵀ) ⊙ (Bᵀ d B) ] A

A tile d of the input and the weight are transformed, multiplied entry by entry, and the product is
transformed back into a block of outputs. All fractions are exact. One frame a tile.

Source: Lavin and Gray, arXiv 1509.09308, section 4.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

from ....errors import ArgumentError
from ....ops.conv.by_hand.winograd import Matrix, cook_toom
from ....ops.geometry import Sizes
from ..figure import Cell, Figure, Frame, Items, Key, Label, box_of, written
from ..layer import (
    Layer,
    LayerKind,
    convolution_only,
    layer_words,
    one_channel,
    position,
    times,
)
from ..layout import arrow, beside, captioned, under
from ..planes import planes, table
from ..window import weight_planes

_M = 2  # outputs of a tile along an axis


@dataclass(frozen=True)
class Algorithm:
    """F(m, K) of a layer: per axis the outputs of a tile and the matrices Aᵀ, G and Bᵀ."""

    layer: Layer
    m: Sizes
    matrices: tuple[tuple[Matrix, Matrix, Matrix], ...]

    @property
    def tiles(self) -> Sizes:
        """Tiles along each axis."""
        return tuple(
            -(-n // m) for n, m in zip(_plane(self.layer.output_size), self.m, strict=True)
        )

    def tile(self, number: int) -> tuple[Sizes, Matrix]:
        """The first output of a tile, and the inputs that it reads."""
        at = tuple(i * m for i, m in zip(position(number, self.tiles), self.m, strict=True))
        rows, columns = (len(bt) for _, _, bt in self.matrices)
        top, left = (a - low for a, (low, _) in zip(at, _padding(self.layer), strict=True))
        return at, [
            [value_at(self.layer, (top + i, left + j)) for j in range(columns)] for i in range(rows)
        ]

    def around(self, index: int, inner: Matrix) -> Matrix:
        """Aᵀ, G or Bᵀ (0, 1, 2) from the left and its transpose from the right."""
        left, right = (matrices[index] for matrices in self.matrices)
        return _times(_times(left, inner), _transposed(right))


def algorithm(layer: Layer) -> Algorithm:
    """F(2, K) along every axis that the layer has."""
    m = tuple(1 if k == 1 else _M for k in _plane(layer.spec.kernel_size))
    sizes = zip(m, _plane(layer.spec.kernel_size), strict=True)
    return Algorithm(layer, m, tuple(cook_toom(m_i, k) for m_i, k in sizes))


def build(layer: Layer) -> Figure:
    """The figure of a convolution of stride 1 with one channel, 1-D or 2-D."""
    convolution_only(layer, "winograd")
    one_channel(layer, "winograd")
    spec = layer.spec
    if spec.dims > 2 or {*spec.stride, *spec.dilation} != {1}:
        raise ArgumentError(
            f"winograd draws 1-D and 2-D layers of stride 1 and dilation 1, got {spec.dims}-D "
            f"with stride {spec.stride} and dilation {spec.dilation}"
        )
    method = algorithm(layer)
    products = math.prod(len(bt) for _, _, bt in method.matrices)
    direct = math.prod(method.m) * spec.taps
    name = f"F({times(method.m[-spec.dims :])}, {times(spec.kernel_size)})"
    return Figure(
        "winograd",
        f"Winograd convolution {name}",
        f"{layer_words(layer)}: {products} products a tile instead of {direct}",
        math.prod(method.tiles),
        partial(_frame, method),
        math.prod(method.tiles) // 2,
        (
            Key(Cell(text="3", role="weight", lit=True), "this tile"),
            Key(Cell(text="3", role="count"), "transformed: the only products are V ⊙ U"),
        ),
    )


def value_at(layer: Layer, place: Sizes) -> Fraction:
    """The padded input at a place; zero beyond it."""
    axes = layer.spec.axes
    place = place[-len(axes) :]
    found: list[int] = []
    for i, axis in zip(place, axes, strict=True):
        source = axis.fold_in(i) if i < axis.input_size + axis.padding[1] else None
        if source is None:
            return Fraction(0)
        found.append(source)
    return Fraction(layer.x[(0, 0, *found)].item())


def _frame(method: Algorithm, number: int) -> Frame:
    layer = method.layer
    at, d = method.tile(number)
    w = [
        [Fraction(v) for v in row]
        for row in layer.w.reshape(_plane(layer.spec.kernel_size)).tolist()
    ]
    v, u = method.around(2, d), method.around(1, w)
    product = [[a * b for a, b in zip(*rows, strict=True)] for rows in zip(v, u, strict=True)]
    y = method.around(0, product)
    two = layer.spec.dims == 2
    pairs = under(
        beside(
            captioned(_numbers(layer, "d", d, "weight", lit=True), "d, a tile"),
            arrow(2.6, "Bᵀ d B" if two else "Bᵀ d"),
            captioned(_numbers(layer, "V", v, "count"), "V"),
        ),
        beside(
            captioned(weight_planes(layer, 0, 0), "w"),
            arrow(2.6, "G w Gᵀ" if two else "G w"),
            captioned(_numbers(layer, "U", u, "count"), "U"),
        ),
        gap=0.5, align="right",
    )  # fmt: skip
    flow = beside(
        captioned(_input(layer, method, at), "x", "input"), arrow(1.2), pairs,
        arrow(1.6, "V ⊙ U"), captioned(_numbers(layer, "product", product, "count"), "M"),
        arrow(2.2, "Aᵀ M A" if two else "Aᵀ M"),
        captioned(_output(layer, method, at, y), "y", "output"), gap=0.5,
    )  # fmt: skip
    matrices = method.matrices[-1]
    constants = beside(
        *(captioned(_numbers(layer, name, matrices[index], "plain"), name)
          for index, name in ((2, "Bᵀ"), (1, "G"), (0, "Aᵀ"))),
        gap=1.6, align="top",
    )  # fmt: skip
    items = under(flow, constants, gap=0.9, align="middle")
    left, _, right, bottom = box_of(items)
    words = "The constant matrices, the same for all tiles and channels"
    words += " (those of a row)" if two and len(set(layer.spec.kernel_size)) > 1 else ""
    return Frame((*items, Label(words, (left + right) / 2, bottom + 0.5, 0.45, role="faint")))


def _input(layer: Layer, method: Algorithm, at: Sizes) -> Items:
    """x with as much padding as the last tile reaches into."""
    spec = layer.spec
    sizes = [len(bt) for _, _, bt in method.matrices]
    tiles, m = method.tiles, method.m
    reach = [
        ((count - 1) * step + size - low - n)
        for count, step, size, (low, _), n in zip(
            tiles, m, sizes, _padding(layer), _plane(spec.input_size), strict=True
        )
    ]
    padding = [
        (low, max(high, r, 0)) for (low, high), r in zip(_padding(layer), reach, strict=True)
    ]
    first = [a - low for a, (low, _) in zip(at, _padding(layer), strict=True)]

    def make(place: Sizes) -> Cell:
        lit = all(f <= i < f + n for i, f, n in zip(_plane(place, 0), first, sizes, strict=True))
        inside = all(0 <= i < n for i, n in zip(place, spec.input_size, strict=True))
        role = "weight" if lit else "input" if inside else "padding"
        ref = ("x", (0, *place)) if inside else None
        return Cell(0, 0, _text(layer, value_at(layer, _plane(place, 0))), role, lit, "", ref)

    return planes("x", spec.input_size, make, tuple(padding[-spec.dims :]))


def _output(layer: Layer, method: Algorithm, at: Sizes, block: Matrix) -> Items:
    """y with the numbers of this tile's block; the rest as the definition has it."""

    def make(place: Sizes) -> Cell:
        inside = [i - a for i, a in zip(_plane(place, 0), at, strict=True)]
        lit = all(0 <= i < m for i, m in zip(inside, method.m, strict=True))
        text = _text(layer, block[inside[0]][inside[1]]) if lit else layer.y_text((0, *place))
        return Cell(0, 0, text, "output", lit, "", ("y", (0, *place)))

    return planes("y", layer.output_size, make)


def _numbers(layer: Layer, name: str, matrix: Matrix, role: str, *, lit: bool = False) -> Items:
    def make(row: int, column: int) -> Cell:
        text = _text(layer, matrix[row][column])
        return Cell(0, 0, text, role, lit, "", (name, (row, column)))

    return table(name, len(matrix), len(matrix[0]), make)


def _text(layer: Layer, value: Fraction) -> str:
    return written(float(value) if layer.x.is_floating_point() else value)


def _plane(sizes: Sizes, missing: int = 1) -> Sizes:
    """Two entries: 1-D is a picture of one row."""
    return sizes if len(sizes) == 2 else (missing, *sizes)


def _padding(layer: Layer) -> tuple[tuple[int, int], ...]:
    padding = layer.spec.padding
    return padding if len(padding) == 2 else ((0, 0), *padding)


def _times(left: Sequence[Sequence[Fraction]], right: Sequence[Sequence[Fraction]]) -> Matrix:
    return [
        [sum((a * b for a, b in zip(row, column, strict=True)), Fraction(0))
         for column in zip(*right, strict=True)]
        for row in left
    ]  # fmt: skip


def _transposed(matrix: Matrix) -> Matrix:
    return [list(column) for column in zip(*matrix, strict=True)]


KIND = LayerKind(
    "winograd",
    "one tile through Winograd's minimal filtering, with exact numbers",
    "forward n1 c1 o1 i6x6 k3x3 float32 cpu",
    build,
)
