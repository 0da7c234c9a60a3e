import pytest
import torch

from drawn import definition, frames, layers, pytorch, shown, tensor
from faltung.errors import ArgumentError
from faltung.ops.conv.spec import ConvSpec
from faltung.tools.draw import figure
from faltung.tools.draw.figure import Label, read

FORWARD = layers("forward", 1, modes=("zeros", "zeros", "reflect", "replicate", "circular"))
FORWARD += ["forward n1 c1 o1 i8x7 k3x3 y3x2 d2 float32 cpu"]  # fewer outputs than would fit
TRANSPOSED = layers("grad_input", 2)


@pytest.mark.parametrize("problem", [*FORWARD, *TRANSPOSED])
def test_the_figure_shows_the_index_map_and_nothing_else(problem):
    drawn = figure("slide", problem)
    found = [shown(frame) for frame in frames(drawn)]
    assert set().union(*found) == definition(ConvSpec.parse(problem))
    assert sum(map(len, found)) == len(set().union(*found)), "a relation in two frames"


@pytest.mark.parametrize("problem", [*FORWARD, *TRANSPOSED])
def test_its_numbers_are_the_layer_by_pytorch(problem):
    spec = ConvSpec.parse(problem)
    frame = figure("slide", problem).frame(0)
    x_shape, y_shape = spec.operand_shapes[0][1:], spec.result_shape[1:]
    x = tensor(frame.cells("x"), "x", x_shape)
    w = tensor(frame.cells("w"), "w", spec.w_shape)
    assert torch.equal(tensor(frame.cells("y"), "y", y_shape), pytorch(spec, x, w))


@pytest.mark.parametrize("problem", [*FORWARD[:4], *TRANSPOSED[:4]])
def test_every_output_is_the_sum_of_what_is_lit(problem):
    for frame in frames(figure("slide", problem)):
        products = [read(cell.text) * read(cell.corner) for cell in frame.lit("x")]
        (output,) = frame.lit("y")
        assert sum(products) == read(output.text)


def test_the_sum_is_written_out():
    frame = figure("slide", "forward n1 c1 o1 i4 k2 float32 cpu").frame(1)
    (sentence,) = (i.text for i in frame.items if isinstance(i, Label) and i.role == "formula")
    a, b = frame.lit("x")
    assert sentence.startswith(f"y[1] = {a.text}·")
    assert sentence.endswith(f"= {frame.lit('y')[0].text}")
    assert b.text in sentence


def test_the_sum_of_real_numbers_is_the_true_one_not_that_of_what_is_rounded():
    x, w = torch.full((3,), 1.005, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    frame = figure("slide", "forward n1 c1 o1 i3 k3 float32 cpu", x=x, w=w).frame(0)
    (sentence,) = (i.text for i in frame.items if isinstance(i, Label) and i.role == "formula")
    assert sentence.endswith(f"= {frame.lit('y')[0].text}") and frame.lit("y")[0].text == "3.01"


def test_1d_lays_the_weight_under_what_it_multiplies():
    drawn = figure("slide", "forward n1 c1 o1 i9 k3 s2 p1 d2 float32 cpu")
    for frame in frames(drawn):
        (x,) = (grid for grid in frame.grids if grid.name == "x")
        (w,) = (grid for grid in frame.grids if grid.name == "w")
        above = [x.corner(cell)[0] for cell in x.cells if cell.lit]
        assert above == [w.corner(cell)[0] for cell in w.cells]


def test_inputs_that_no_window_reads_are_marked():
    frame = figure("slide", "forward n1 c1 o1 i6 k2 s3 float32 cpu").frame(0)
    assert [c.ref[1][1] for c in frame.cells("x") if c.role == "unread"] == [2, 5]


def test_given_numbers_are_drawn():
    x, w = torch.tensor([[1.5, 2.0, -3.25]]), torch.tensor([[[2.0, 1.0]]])
    frame = figure("slide", "forward n1 c1 o1 i3 k2 float32 cpu", x=x, w=w).frame(0)
    assert [cell.text for cell in frame.cells("x")] == ["1.5", "2", "−3.25"]
    assert [cell.text for cell in frame.cells("y")] == ["5", "0.75"]


def test_several_channels_are_for_another_kind():
    with pytest.raises(ArgumentError, match="one channel in and one out, got 2 and 3: draw chan"):
        figure("slide", "forward n1 c2 o3 i5x5 k3x3 float32 cpu")
