from math import prod

import pytest
import torch

from drawn import definition, frames, layers, matrix
from faltung import by_hand
from faltung.errors import ArgumentError
from faltung.ops.conv.spec import ConvSpec
from faltung.tools.draw import figure
from faltung.tools.draw.layer import layer_of, position

FORWARD = layers("forward", 7, count=6, channels=True, modes=("zeros", "zeros", "reflect"))
TRANSPOSED = layers("grad_input", 8, count=5, channels=True)


def place(number, channels, size):
    """Channel and position of a row or column of the matrix."""
    channel, at = divmod(number, prod(size))
    assert channel < channels
    return (channel, *position(at, size))


@pytest.mark.parametrize("problem", [*FORWARD, *TRANSPOSED])
def test_the_matrix_is_the_index_map(problem):
    spec = ConvSpec.parse(problem)
    transposed = spec.task == "grad_input"
    cells = figure("matrix", problem).frame(0).cells("Mᵀ")
    found = set()
    for cell in cells:
        at_q = ("x" if transposed else "y", place(cell.column, spec.out_channels, spec.output_size))
        at_i = ("y" if transposed else "x", place(cell.row, spec.in_channels, spec.input_size))
        y, x = (at_i, at_q) if transposed else (at_q, at_i)
        found |= {(y, x, weight) for weight in cell.weights}
    assert found == definition(spec)


@pytest.mark.parametrize("problem", FORWARD)
def test_m_makes_y_and_its_transpose_z(problem):
    frame = figure("matrix", problem).frame(0)
    m, mt, x, z = (matrix(frame.cells(name)) for name in ("M", "Mᵀ", "x", "z"))
    y = matrix(frame.cells("y"))
    assert torch.equal(mt, m.T)
    assert torch.equal(m @ x, y)
    assert torch.equal(mt @ y, z)


@pytest.mark.parametrize("problem", FORWARD[:3])
def test_m_is_the_one_by_hand(problem):
    spec = ConvSpec.parse(problem)
    layer = layer_of(spec)
    expected = by_hand.kernel_matrix(
        layer.w, spec.input_size, spec.stride, spec.padding, spec.dilation, spec.groups,
        padding_mode=spec.padding_mode,
    )  # fmt: skip
    assert torch.equal(matrix(figure("matrix", problem).frame(0).cells("M")), expected.double())


@pytest.mark.parametrize("problem", TRANSPOSED)
def test_the_transpose_makes_a_transposed_layer(problem):
    frame = figure("matrix", problem).frame(0)
    mt, x, y = (matrix(frame.cells(name)) for name in ("Mᵀ", "x", "y"))
    assert torch.equal(mt @ x, y)


def test_a_frame_lights_one_row_of_m_and_that_column_of_its_transpose():
    for number, frame in enumerate(frames(figure("matrix"))):
        assert {cell.row for cell in frame.lit("M")} == {number}
        assert {cell.column for cell in frame.lit("Mᵀ")} == {number}
        assert {cell.row for cell in frame.lit("y")} == {number}


def test_the_textbook_case_is_4_by_16():
    cells = figure("matrix", "forward n1 c1 o1 i4x4 k3x3 float32 cpu").frame(0).cells("M")
    assert tuple(matrix(cells).shape) == (4, 16)


def test_a_matrix_that_no_slide_holds_is_refused_before_it_is_made():
    with pytest.raises(ArgumentError, match="too large to draw: the kernel matrix would have"):
        figure("matrix", "forward n1 c1 o1 i200x200 k3x3 float32 cpu")
