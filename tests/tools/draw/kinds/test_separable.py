import pytest
import torch

from drawn import frames, matrix, pytorch, tensor
from faltung import by_hand
from faltung.errors import ArgumentError
from faltung.ops.conv.spec import ConvSpec
from faltung.tools.draw import figure
from faltung.tools.draw.figure import read

PROBLEMS = [
    "forward n1 c3 o4 i4x4 k3x3 float32 cpu",
    "forward n1 c2 o3 i5x4 k3x2 s2x1 p1+0x0+1 d1x2 float32 cpu",
    "forward n1 c2 o1 i7 k3 s2 p1 float32 cpu",
]


@pytest.mark.parametrize("problem", PROBLEMS)
def test_what_is_drawn_is_the_layer_by_hand(problem):
    spec = ConvSpec.parse(problem)
    frame = figure("separable", problem).frame(0)
    x = tensor(frame.cells("x"), "x", spec.x_shape[1:])
    depthwise = tensor(frame.cells("w"), "w", (spec.in_channels, 1, *spec.kernel_size))
    point = matrix(frame.cells("p")).reshape(spec.out_channels, -1, *(1,) * spec.dims)
    expected = by_hand.depthwise_separable(
        x, depthwise, point, None, None, spec.stride, spec.padding, spec.dilation
    )
    assert torch.equal(tensor(frame.cells("y"), "y", spec.y_shape[1:]), expected)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_each_channel_reads_its_own_window_only(problem):
    spec = ConvSpec.parse(problem)
    for frame in frames(figure("separable", problem)):
        for z in frame.lit("z"):
            channel, *q = z.ref[1]
            reads = {
                (cell.ref, weight)
                for cell in frame.lit("x")
                for weight in cell.weights
                if cell.ref and weight[1][0] == channel
            }
            taps = [
                (t, spec.source(q, t))
                for t in torch.cartesian_prod(*map(torch.arange, spec.kernel_size))
                .reshape(spec.taps, spec.dims)
                .tolist()
            ]
            expected = {
                (("x", (channel, *i)), ("w", (channel, 0, *t))) for t, i in taps if i is not None
            }
            assert reads == expected


def test_the_formula_mixes_channels_at_one_point():
    frame = figure("separable", PROBLEMS[0]).frame(0)
    first_row = [read(cell.text) for cell in frame.cells("p") if cell.row == 0]
    z = [read(cell.text) for cell in frame.lit("z")]
    first = next(cell for cell in frame.lit("y") if cell.ref[1][0] == 0)
    assert sum(a * b for a, b in zip(first_row, z, strict=True)) == read(first.text)


def test_weights_are_counted():
    assert "3·9 + 4·3 = 39 weights instead of 4·3·9 = 108" in figure("separable").subtitle


def test_groups_are_refused():
    with pytest.raises(ArgumentError, match="dense layer apart: leave out --groups 2"):
        figure("separable", "forward n1 c2 o2 i5 k3 g2 float32 cpu")


def test_pytorch_agrees_on_the_first_step():
    frame = figure("separable", PROBLEMS[1]).frame(0)
    spec = ConvSpec.parse(PROBLEMS[1])
    x = tensor(frame.cells("x"), "x", spec.x_shape[1:])
    w = tensor(frame.cells("w"), "w", (2, 1, *spec.kernel_size))
    alone = ConvSpec.parse("forward n1 c2 o2 i5x4 k3x2 s2x1 p1+0x0+1 d1x2 g2 float32 cpu")
    assert torch.equal(tensor(frame.cells("z"), "z", alone.y_shape[1:]), pytorch(alone, x, w))


def test_both_weights_are_taken_from_the_dense_one():
    dense = torch.arange(2.0 * 3 * 4).reshape(2, 3, 4)
    frame = figure("separable", "forward n1 c3 o2 i6 k4 float32 cpu", w=dense).frame(0)
    assert torch.equal(tensor(frame.cells("w"), "w", (3, 1, 4))[:, 0], dense[0].double())
    assert torch.equal(matrix(frame.cells("p")), dense[:, :, 0].double())
