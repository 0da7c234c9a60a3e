import pytest
import torch

from drawn import frames, pytorch, tensor
from faltung.errors import ArgumentError
from faltung.ops.conv.spec import ConvSpec
from faltung.tools.draw import figure
from faltung.tools.draw.layer import layer_of

PROBLEMS = [
    "forward n1 c1 o1 i5x5 k3x3 p1 float32 cpu",
    "forward n1 c1 o1 i5x4 k2x3 s2x1 p0+1x1 d2x1 float32 cpu",
    "forward n1 c1 o1 i9 k3 s2 p1 d2 circular float32 cpu",
]


def spectrum(frame, name, size):
    found = torch.zeros(size, dtype=torch.complex128)
    for cell in frame.cells(name):
        found[cell.ref[1]] = cell.phasor
    return found


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_hands_are_the_transforms_and_their_product(problem):
    spec = ConvSpec.parse(problem)
    size = tuple(a.input_size + sum(a.padding) for a in spec.axes)
    frame = figure("fft", problem).frame(0)
    fx, fw, fy = (spectrum(frame, name, size) for name in ("X", "W", "Y"))
    for name, found in (("x", fx), ("w", fw)):
        written = tensor(frame.cells(name), name, size)
        assert torch.equal(torch.fft.fftn(written), found)
    assert torch.equal(fx * fw.conj(), fy)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_what_is_kept_is_the_layer(problem):
    spec = ConvSpec.parse(problem)
    layer = layer_of(spec)
    cells = [c for c in figure("fft", problem).frame(0).cells("y") if c.role == "output"]
    expected = pytorch(spec, layer.x[0].double(), layer.w.double())
    assert torch.equal(tensor(cells, "y", spec.y_shape[1:]), expected)


def test_a_frame_lights_one_frequency_everywhere():
    drawn = frames(figure("fft", PROBLEMS[1]))
    lit = [[frame.lit(name)[0].ref[1] for name in "XWY"] for frame in drawn]
    assert all(len(set(places)) == 1 for places in lit)
    assert len({places[0] for places in lit}) == len(drawn) == 6 * 6


def test_a_3d_layer_is_refused():
    with pytest.raises(ArgumentError, match="fft draws 1-D and 2-D layers"):
        figure("fft", "forward n1 c1 o1 i4x4x4 k3x3x3 float32 cpu")
