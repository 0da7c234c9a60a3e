from fractions import Fraction

import pytest
import torch

from drawn import frames, matrix, pytorch, tensor
from faltung.errors import ArgumentError
from faltung.ops.conv.by_hand.winograd import cook_toom
from faltung.ops.conv.spec import ConvSpec
from faltung.tools.draw import figure
from faltung.tools.draw.figure import read

PROBLEMS = [
    "forward n1 c1 o1 i6x6 k3x3 float32 cpu",
    "forward n1 c1 o1 i5x7 k3x2 p1+0x0+2 float32 cpu",
    "forward n1 c1 o1 i4x5 k1x3 p0x1 float32 cpu",
    "forward n1 c1 o1 i8 k4 p1 float32 cpu",
    "forward n1 c1 o1 i5x5 k3x3 p1 circular float32 cpu",
    "forward n1 c1 o1 i7x6 k3x3 y3x2 float32 cpu",
]


def fractions(cells):
    rows = max(cell.row for cell in cells) + 1
    columns = max(cell.column for cell in cells) + 1
    by_place = {(cell.row, cell.column): read(cell.text) for cell in cells}
    return [[by_place[i, j] for j in range(columns)] for i in range(rows)]


def times(left, right):
    return [
        [sum((a * b for a, b in zip(row, column, strict=True)), Fraction(0))
         for column in zip(*right, strict=True)]
        for row in left
    ]  # fmt: skip


def transposed(rows):
    return [list(column) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize("problem", PROBLEMS)
def test_every_block_follows_from_the_one_before_exactly(problem):
    spec = ConvSpec.parse(problem)
    kernel = spec.kernel_size if spec.dims == 2 else (1, *spec.kernel_size)
    (at_h, g_h, bt_h), (at_w, g_w, bt_w) = (cook_toom(1 if k == 1 else 2, k) for k in kernel)
    for frame in frames(figure("winograd", problem)):
        d, v, u, product = (fractions(frame.cells(n)) for n in ("d", "V", "U", "product"))
        w = fractions(frame.cells("w"))
        assert v == times(times(bt_h, d), transposed(bt_w))
        assert u == times(times(g_h, w), transposed(g_w))
        assert product == [
            [a * b for a, b in zip(*rows, strict=True)] for rows in zip(v, u, strict=True)
        ]
        block = times(times(at_h, product), transposed(at_w))
        lit = [read(cell.text) for cell in frame.lit("y")]
        assert set(lit) <= {value for row in block for value in row}
        assert len(lit) <= len(block) * len(block[0])
        assert [read(c.text) for c in frame.lit("x")] == [value for row in d for value in row]


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_tiles_together_are_the_layer(problem):
    spec = ConvSpec.parse(problem)
    drawn = frames(figure("winograd", problem))
    x = tensor(drawn[0].cells("x"), "x", spec.x_shape[1:])
    w = tensor(drawn[0].cells("w"), "w", spec.w_shape)
    blocks = [cell for frame in drawn for cell in frame.lit("y")]
    assert len({cell.ref for cell in blocks}) == len(blocks), "an output in two tiles"
    assert torch.equal(tensor(blocks, "y", spec.y_shape[1:]), pytorch(spec, x, w))


def test_the_constants_are_drawn():
    frame = figure("winograd").frame(0)
    at, g, bt = (matrix(frame.cells(name)) for name in ("Aᵀ", "G", "Bᵀ"))
    assert (at.shape, g.shape, bt.shape) == ((2, 4), (4, 3), (4, 4))
    assert "16 products a tile instead of 36" in figure("winograd").subtitle


@pytest.mark.parametrize(
    "problem",
    [
        "forward n1 c1 o1 i6x6 k3x3 s2 float32 cpu",
        "forward n1 c1 o1 i6x6 k3x3 d2 float32 cpu",
        "forward n1 c1 o1 i6x6x6 k3x3x3 float32 cpu",
    ],
)
def test_what_it_is_not_for_is_refused(problem):
    with pytest.raises(ArgumentError, match="winograd draws 1-D and 2-D layers of stride 1 and"):
        figure("winograd", problem)
