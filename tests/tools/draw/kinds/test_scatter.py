import pytest
import torch

from drawn import definition, frames, layers, pytorch, shown, tensor
from faltung.errors import ArgumentError
from faltung.ops.conv.spec import ConvSpec
from faltung.tools.draw import figure
from faltung.tools.draw.layer import layer_of

PROBLEMS = [*layers("grad_input", 9), "grad_input n1 c1 o1 i7x8 k3x2 s2x3 float32 cpu"]


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_stamps_are_the_index_map(problem):
    found = [
        {
            (cell.ref, x.ref, weight)
            for x in frame.lit("x")
            for cell in frame.lit("y")
            for weight in cell.weights
            if cell.ref
        }
        for frame in frames(figure("scatter", problem))
    ]
    assert set().union(*found) == definition(ConvSpec.parse(problem))
    assert sum(map(len, found)) == len(set().union(*found)), "a relation in two frames"


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_last_stamp_completes_the_layer(problem):
    spec = ConvSpec.parse(problem)
    layer = layer_of(spec)
    drawn = figure("scatter", problem)
    last = drawn.frame(drawn.frames - 1)
    expected = pytorch(spec, layer.x[0].double(), layer.w.double())
    for cell in last.cells("y"):
        if cell.ref is not None:
            number = float(cell.text.replace("−", "-")) if cell.text else 0.0
            assert number == expected[cell.ref[1]]


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_counts_are_the_layer_of_ones(problem):
    spec = ConvSpec.parse(problem)
    x, w = (torch.ones(shape).double() for shape in spec.operand_shapes)
    cells = figure("scatter", problem).frame(0).cells("count")
    assert torch.equal(tensor(cells, "count", spec.x_shape[1:]), pytorch(spec, x[0], w))


def test_a_kernel_that_the_stride_divides_makes_no_checkerboard():
    even = figure("scatter", "grad_input n1 c1 o1 i8x8 k2x2 s2 float32 cpu")
    assert "every output is stamped 1 times" not in even.subtitle
    assert "every output is stamped once" in even.subtitle
    uneven = figure("scatter", "grad_input n1 c1 o1 i7x7 k3x3 s2 float32 cpu")
    assert "every output is stamped 1 to 4 times" in uneven.subtitle


def test_a_convolution_is_refused():
    with pytest.raises(ArgumentError, match="scatter draws a transposed convolution"):
        figure("scatter", "forward n1 c1 o1 i5 k3 float32 cpu")


def test_nothing_is_lit_twice():
    for frame in frames(figure("scatter")):
        assert len(frame.lit("x")) == 1
        assert not shown(frame, "count")
