import itertools

import pytest
import torch

from drawn import frames
from faltung import by_hand
from faltung.errors import ArgumentError
from faltung.ops.conv.spec import ConvSpec
from faltung.ops.deform.spec import DeformSpec
from faltung.tools.draw import figure
from faltung.tools.draw.figure import Dot, Label, Photo, read
from faltung.tools.draw.kinds.deform import Glass, photograph
from faltung.tools.draw.layer import layer_of

SMALL = "forward n1 c1 o1 i24x20 k3x2 s2x3 p2x1 d2 float32 cpu"


@pytest.fixture
def glass():
    layer = layer_of(ConvSpec.parse(SMALL))
    return Glass(layer, photograph(layer.input_size))


def dots(frame, *, hollow):
    found = [item for item in frame.items if isinstance(item, Dot) and item.hollow == hollow]
    return [dot for dot in found if hollow or dot.ref]


def test_the_points_are_those_of_the_definition(glass):
    spec = DeformSpec.parse(SMALL)
    taps = list(itertools.product(range(3), range(2)))
    for frame in frames(figure("deform", SMALL)):
        placed = dots(frame, hollow=False)
        assert [dot.weights[0][1][2:] for dot in placed] == taps
        for dot, before, tap in zip(placed, dots(frame, hollow=True), taps, strict=True):
            output = dot.ref[1][1:]
            plain = [
                axis.padded_position(q, t)
                for axis, q, t in zip(spec.axes, output, tap, strict=True)
            ]
            assert list(before.at) == plain
            dy, dx = glass.offset(output, tap)
            assert dot.at == (plain[0] + dy, plain[1] + dx)


def test_what_the_tap_reads_is_the_definition(glass):
    """The offsets of one output as a tensor, and a weight that lets through one tap."""
    spec = DeformSpec.parse(SMALL)
    taps = list(itertools.product(range(3), range(2)))
    for frame, output in zip(frames(figure("deform", SMALL)), glass.outputs, strict=True):
        words = [item.text for item in frame.items if isinstance(item, Label)]
        (tap_line,) = (text for text in words if text.startswith("tap"))
        (value_line,) = (text for text in words if text.startswith("x̂[p] ="))
        tap = next(t for t in taps if tap_line.startswith(f"tap ({t[0]}, {t[1]})"))
        offset = torch.zeros(spec.offset_shape)
        for number, one in enumerate(taps):
            offset[0, 2 * number : 2 * number + 2, output[0], output[1]] = torch.tensor(
                glass.offset(output, one)
            )
        weight = torch.zeros(spec.w_shape)
        weight[0, 0, *tap] = 1
        green = (glass.image[1] * 255).round()[None, None]
        y = by_hand.deform_conv2d(
            green.double(), offset.double(), weight.double(), None, spec.stride, spec.padding,
            spec.dilation,
        )  # fmt: skip
        value = float(read(value_line.partition("= ")[2]))
        assert abs(value - y[0, 0, *output].item()) <= 0.05  # written with one decimal


def test_the_shares_of_the_four_pixels_are_one():
    for frame in frames(figure("deform", SMALL)):
        assert sum(read(cell.corner) for cell in frame.cells("pixels")) == 1


def test_the_photograph_has_the_size_of_the_input():
    photo = next(i for i in figure("deform", SMALL).frame(0).items if isinstance(i, Photo))
    assert (photo.rows, photo.columns) == (24, 20)


def test_what_is_no_photograph_is_refused():
    with pytest.raises(ArgumentError, match="draws over a photograph of 8×8 to"):
        figure("deform", "forward n1 c1 o1 i30 k3 float32 cpu")
