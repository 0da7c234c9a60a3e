import pytest
import torch

from drawn import definition, frames, layers, matrix, pytorch, tensor
from faltung.errors import ArgumentError
from faltung.ops.conv.spec import ConvSpec
from faltung.tools.draw import figure
from faltung.tools.draw.layer import position

PROBLEMS = [
    *layers("forward", 5, count=6, channels=True, modes=("zeros", "reflect")),
    *layers("forward", 6, count=4),
]


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_region_matrix_is_the_index_map(problem):
    spec = ConvSpec.parse(problem)
    cells = figure("im2col", problem).frame(0).cells("regions")
    found = {
        (("y", (weight[1][0], *position(cell.row, spec.output_size))), cell.ref, weight)
        for cell in cells
        if cell.ref
        for weight in cell.weights
    }
    assert found == definition(spec)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_product_of_what_is_drawn_is_the_layer(problem):
    spec = ConvSpec.parse(problem)
    frame = figure("im2col", problem).frame(0)
    regions, weight, y = (matrix(frame.cells(name)) for name in ("regions", "w", "y"))
    assert torch.equal(regions @ weight, y)
    x = tensor(frame.cells("x"), "x", spec.x_shape[1:])
    w = tensor(frame.cells("w"), "w", spec.w_shape)
    assert torch.equal(y.T.reshape(spec.y_shape[1:]), pytorch(spec, x, w))


@pytest.mark.parametrize("problem", PROBLEMS[:3])
def test_a_frame_lights_a_window_and_its_row(problem):
    for number, frame in enumerate(frames(figure("im2col", problem))):
        window = {cell.ref for cell in frame.lit("x")}
        row = frame.lit("regions")
        assert {cell.row for cell in row} == {number}
        assert {cell.ref for cell in row} == window


def test_a_transposed_layer_is_refused():
    with pytest.raises(ArgumentError, match="im2col draws a convolution, not a transposed one"):
        figure("im2col", "grad_input n1 c1 o1 i5 k3 float32 cpu")
