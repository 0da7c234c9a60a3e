import pytest
import torch

from drawn import definition, frames, layers, pytorch, shown, tensor
from faltung.ops.conv.spec import ConvSpec
from faltung.tools.draw import figure
from faltung.tools.draw.figure import Label, read

PROBLEMS = [
    *layers("forward", 3, count=6, channels=True, modes=("zeros", "circular")),
    *layers("grad_input", 4, count=4, channels=True),
    "forward n1 c4 o4 i4x3 k3x2 g2 p1 float32 cpu",
    "forward n1 c3 o6 i5 k3 g3 float32 cpu",
]


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_figure_shows_the_index_map_and_nothing_else(problem):
    found = [shown(frame) for frame in frames(figure("channels", problem))]
    assert set().union(*found) == definition(ConvSpec.parse(problem))
    assert sum(map(len, found)) == len(set().union(*found)), "a relation in two frames"


@pytest.mark.parametrize("problem", PROBLEMS)
def test_its_numbers_are_the_layer_by_pytorch(problem):
    spec = ConvSpec.parse(problem)
    frame = figure("channels", problem).frame(0)
    x = tensor(frame.cells("x"), "x", spec.operand_shapes[0][1:])
    w = tensor(frame.cells("w"), "w", spec.w_shape)
    y = tensor(frame.cells("y"), "y", spec.result_shape[1:])
    assert torch.equal(y, pytorch(spec, x, w))


def test_an_output_is_the_sum_over_the_channels_of_its_group():
    for frame in frames(figure("channels", PROBLEMS[0])):
        total = sum(read(cell.text) * read(cell.corner) for cell in frame.lit("x"))
        assert total == read(frame.lit("y")[0].text)


def test_a_long_sum_is_written_as_one_number_a_channel():
    frame = figure("channels", "forward n1 c2 o1 i3x3 k3x3 float32 cpu").frame(0)
    (sentence,) = (i.text for i in frame.items if isinstance(i, Label) and i.role == "formula")
    sums = [
        sum(read(c.text) * read(c.corner) for c in frame.lit("x") if c.ref[1][0] == channel)
        for channel in range(2)
    ]
    written = [f"({s})".replace("-", "−") if s < 0 else str(s) for s in sums]
    assert sentence == f"y[0, 0, 0] = {written[0]} + {written[1]} = {frame.lit('y')[0].text}, " + (
        "one sum a channel"
    )


def test_a_filter_has_one_colour_everywhere():
    drawn = figure("channels", "forward n1 c4 o4 i4x4 k3x3 g2 float32 cpu")
    for frame in frames(drawn):
        (output,) = frame.lit("y")
        assert {cell.role for cell in frame.lit("x")} == {output.role}
        weights = {cell.role for cell in frame.cells("w") if cell.ref[1][0] == output.ref[1][0]}
        assert weights == {output.role}


def test_the_subtitle_counts_kernel_maps_as_the_text_does():
    dense = figure("channels", "forward n1 c2 o4 i4x4 k3x3 float32 cpu")
    grouped = figure("channels", "forward n1 c2 o4 i4x4 k3x3 g2 float32 cpu")
    assert "8 kernel maps" in dense.subtitle
    assert "4 kernel maps" in grouped.subtitle
