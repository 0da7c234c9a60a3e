from fractions import Fraction

import pytest
import torch

from faltung.errors import ArgumentError
from faltung.ops.conv.spec import ConvSpec
from faltung.tools.draw import figure
from faltung.tools.draw.figure import read, written
from faltung.tools.draw.layer import layer_of, layer_words, name_of


@pytest.mark.parametrize("value", [0, -12, 7, Fraction(-3, 4), 2.5, -0.25])
def test_what_is_written_can_be_read(value):
    assert read(written(value)) == Fraction(value)


def test_no_minus_zero():
    assert written(-0.0) == written(-0.001) == "0"


@pytest.mark.parametrize(
    ("problem", "words", "name"),
    [
        (
            "forward n1 c1 o1 i5x6 k3x3 s2x1 p1 d1x2 float32 cpu",
            "input 5×6 → 3×4, kernel 3×3, stride 2×1, dilation 1×2, padding 1",
            "dilated convolution",
        ),
        (
            "forward n1 c4 o2 i5 k3 p0+1 g2 reflect float32 cpu",
            "input 5 → 4, kernel 3, channels 4 → 2, groups 2, padding 0+1, reflect",
            "1-D grouped convolution",
        ),
        (
            "grad_input n1 c2 o1 i5x5x5 k3x3x3 s2 p1x0+2x0 float32 cpu",
            "input 3×3×2 → 5×5×5, kernel 3×3×3, channels 1 → 2, stride 2, padding 1 × 0+2 × 0",
            "3-D transposed convolution",
        ),
    ],
)
def test_a_layer_in_words(problem, words, name):
    layer = layer_of(ConvSpec.parse(problem))
    assert (layer_words(layer), name_of(layer)) == (words, name)


def test_made_up_numbers_stay_the_same_and_no_weight_is_zero():
    spec = ConvSpec.parse("forward n1 c3 o4 i9x9 k3x3 float32 cpu")
    first, second = layer_of(spec), layer_of(spec)
    assert torch.equal(first.x, second.x) and torch.equal(first.w, second.w)
    assert (first.w != 0).all()


def test_given_numbers_must_fit():
    spec = ConvSpec.parse("forward n1 c1 o1 i4 k2 float32 cpu")
    with pytest.raises(ArgumentError, match=r"x must have shape \(1, 1, 4\), got \(5,\)"):
        layer_of(spec, x=torch.ones(5))
    batch = torch.arange(8.0).reshape(2, 1, 4)
    assert layer_of(spec, x=batch).x.flatten().tolist() == [0, 1, 2, 3]


def test_a_gradient_of_the_weight_is_no_layer():
    with pytest.raises(ArgumentError, match="a figure shows a layer: forward, or grad_input"):
        figure("slide", "grad_weight n1 c1 o1 i4 k2 float32 cpu")


def test_a_layer_without_numbers_is_refused():
    with pytest.raises(ArgumentError, match="there is nothing to draw of a layer without numbers"):
        figure("channels", "forward n1 c0 o1 i4 k2 float32 cpu")


def test_an_unknown_kind_is_answered_with_the_list():
    with pytest.raises(ArgumentError, match="there is no figure 'windo'; there are channels, def"):
        figure("windo")


def test_one_layer_where_one_is_drawn():
    spec = ConvSpec.parse("forward n1 c1 o1 i4 k2 float32 cpu")
    with pytest.raises(ArgumentError, match="slide draws one layer, got 2"):
        figure("slide", [spec, spec])
