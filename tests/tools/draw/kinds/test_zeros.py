import pytest
import torch
import torch.nn.functional as F

from drawn import definition, frames, layers, pytorch, shown, tensor
from faltung.errors import ArgumentError
from faltung.ops.conv.spec import ConvSpec
from faltung.tools.draw import figure
from faltung.tools.draw.figure import read
from faltung.tools.draw.layer import layer_of

PROBLEMS = [*layers("grad_input", 10), "grad_input n1 c1 o1 i6x6 k3x3 s2 p1 float32 cpu"]


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_figure_shows_the_index_map_and_nothing_else(problem):
    found = [shown(frame, "z") for frame in frames(figure("zeros", problem))]
    assert set().union(*found) == definition(ConvSpec.parse(problem))
    assert sum(map(len, found)) == len(set().union(*found)), "a relation in two frames"


@pytest.mark.parametrize("problem", PROBLEMS)
def test_an_ordinary_convolution_of_what_is_drawn_is_the_layer(problem):
    spec = ConvSpec.parse(problem)
    frame = figure("zeros", problem).frame(0)
    spread = tuple(n + a.span - 1 for n, a in zip(spec.input_size, spec.axes, strict=True))
    z, turned = (
        torch.tensor([float(read(cell.text)) for cell in frame.cells(name)]).double().reshape(size)
        for name, size in (("z", spread), ("w", spec.kernel_size))
    )
    conv = (F.conv1d, F.conv2d, F.conv3d)[spec.dims - 1]
    y = conv(z[None, None], turned[None, None], dilation=spec.dilation)[0]
    assert torch.equal(y, tensor(frame.cells("y"), "y", spec.x_shape[1:]))
    layer = layer_of(spec)
    assert torch.equal(y, pytorch(spec, layer.x[0].double(), layer.w.double()))


def test_a_padding_mode_is_refused():
    with pytest.raises(ArgumentError, match="zeros draws padding with zeros only, got circular"):
        figure("zeros", "grad_input n1 c1 o1 i6 k3 p1 circular float32 cpu")
