import pytest
import torch
import torch.nn.functional as F

from faltung import ConvSpec
from faltung.tools.demo.line import counted, formulas, run_line

X = torch.arange(2.0 * 3 * 9 * 7).reshape(2, 3, 9, 7)


def test_the_line_runs_what_it_says():
    w = torch.arange(4.0 * 3 * 3 * 2).reshape(4, 3, 3, 2)
    line = run_line("conv2d(x, w, stride=(2, 1), padding=(1, 2))", {"x": X, "w": w})
    assert torch.equal(line.result, F.conv2d(X, w, stride=(2, 1), padding=(1, 2)))
    (solved,) = line.solved
    assert solved.problem == "forward n2 c3 o4 i9x7 k3x2 s2x1 p1x2 float32 cpu"
    assert (solved.before, solved.after) == ((3, 9, 7), (4, 5, 10))
    assert solved.parameters == 4 * 3 * 3 * 2
    assert solved.macs == 2 * 4 * 5 * 10 * 3 * 6
    assert solved.executed_macs == ConvSpec.parse(solved.problem).executed_macs < solved.macs
    assert solved.im2col_bytes == 2 * 3 * 6 * 50 * 4


def test_transposed():
    w = torch.ones(3, 2, 3, 3)
    line = run_line("conv_transpose2d(x, w, stride=2, output_padding=(1, 0))", {"x": X, "w": w})
    assert torch.equal(line.result, F.conv_transpose2d(X, w, stride=2, output_padding=(1, 0)))
    assert (line.solved[0].before, line.solved[0].after) == ((3, 9, 7), (2, 20, 15))
    assert line.solved[0].formulas == (
        "height (9 − 1)·2 − 0 − 0 + 1·(3 − 1) + 1 + 1 = 20",
        "width (7 − 1)·2 − 0 − 0 + 1·(3 − 1) + 0 + 1 = 15",
    )


def test_separable_solves_two_problems():
    names = {"x": X, "d": torch.ones(3, 1, 3, 3), "p": torch.ones(5, 3, 1, 1)}
    line = run_line("depthwise_separable_conv2d(x, d, p, padding=1)", names)
    assert [s.problem for s in line.solved] == [
        "forward n2 c3 o3 i9x7 k3x3 p1 g3 float32 cpu",
        "forward n2 c3 o5 i9x7 k1x1 float32 cpu",
    ]


def test_causal():
    line = run_line("causal_conv1d(x, w, dilation=2)", {"x": X[0], "w": torch.ones(1, 9, 4)})
    assert line.solved[0].problem == "forward n3 c9 o1 i7 k4 p6+0 d2 float32 cpu"


def test_deformable():
    names = {"x": X, "o": torch.zeros(2, 18, 9, 7), "w": torch.ones(4, 3, 3, 3)}
    line = run_line("deform_conv2d(x, o, w, padding=1)", names)
    assert torch.equal(line.result, F.conv2d(X, names["w"], padding=1))
    assert line.solved[0].executed_macs is None
    assert line.solved[0].parameters == 4 * 27


@pytest.mark.parametrize("text", ["x + 1", "x.sum()", "w"])
def test_a_line_is_one_call(text):
    with pytest.raises(ValueError, match="a line is one call of a function"):
        run_line(text, {"x": X})


def test_formulas_of_1d_and_of_equal_axes():
    one = ConvSpec.parse("forward n1 c1 o1 i80 k3 s2 p1+0 float32 cpu")
    assert formulas(one) == ("⌊(80 + 1 + 0 − 1·(3 − 1) − 1) / 2⌋ + 1 = 40",)
    cube = ConvSpec.parse("forward n1 c1 o1 i5x5x5 k3x3x3 d2 float32 cpu")
    assert formulas(cube) == ("⌊(5 + 0 + 0 − 2·(3 − 1) − 1) / 1⌋ + 1 = 1",)


def test_counted():
    assert counted(999_999) == "999,999"
    assert counted(1_500_000) == "1.5 million"
    assert counted(11_250_000_000) == "11.25 billion"
