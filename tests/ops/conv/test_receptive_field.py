"""Receptive fields, against numbers from the literature and against gradients of real networks."""

from fractions import Fraction

import pytest
import torch

from faltung import functional as FF
from faltung.errors import ArgumentError
from faltung.ops.conv.arguments import conv_spec, conv_transpose_spec
from faltung.ops.conv.receptive_field import receptive_field
from faltung.ops.conv.spec import ConvSpec

N = 96  # long enough that the middle is far from every border


def conv(
    k: int, s: int = 1, p: int = 0, d: int = 1, *, c: int = 1, o: int = 1, g: int = 1
) -> ConvSpec:
    return conv_spec((1, c, N), (o, c // g, k), None, s, p, d, g, dims=1)


def up(k: int, s: int = 1, p: int = 0, d: int = 1, e: int = 0) -> ConvSpec:
    return conv_transpose_spec((1, 1, N), (1, 1, k), None, s, p, e, 1, d, dims=1)


def test_of_known_networks() -> None:
    vgg = [conv(3, p=1), conv(3, p=1), conv(2, 2)] * 2 + ([conv(3, p=1)] * 3 + [conv(2, 2)]) * 3
    assert receptive_field(vgg).size == (212,)  # Araujo et al. 2019, table 1, VGG-16
    assert receptive_field(vgg).jump == (32,)
    dilated = [conv(3, d=d, p=d) for d in (1, 2, 4, 8)]
    assert receptive_field(dilated).size == (31,)
    assert receptive_field(dilated).start == (0,)


STACKS = [
    [conv(3)],
    [conv(7, 2, 3), conv(3, 2, 1), conv(3, 1, 2, 2)],
    [conv(3, 2, 1), up(4, 2, 1)],
    [up(3, 2), conv(3, 1, 1)],
    [up(2, 2), up(3, 3, 1), conv(5, 1, 2)],
    [conv(4, 4), up(4, 4)],
    [up(3, 2, 0, 2), conv(2, 1)],
    [conv(2, 3), conv(3, 2, 0, 2), up(5, 3, 2, 1, 1)],
]


@pytest.mark.parametrize("stack", STACKS, ids=lambda s: f"{len(s)} layers")
def test_agrees_with_what_the_gradient_reaches(stack: list[ConvSpec]) -> None:
    x = torch.zeros(1, 1, N, dtype=torch.float64, requires_grad=True)
    y = x
    for layer in stack:
        w = torch.rand(1, 1, *layer.kernel_size, dtype=torch.float64) + 0.5
        if layer.task == "forward":
            y = FF.conv1d(y, w, None, layer.stride, layer.padding, layer.dilation)
        else:
            # a transposed layer's own size, whatever its spec was made for
            y = FF.conv_transpose1d(y, w, None, layer.stride, layer.padding, 0, 1, layer.dilation)
    field = receptive_field(stack)
    sizes, centres = [], []
    middle = y.shape[-1] // 2
    for q in range(middle - 4, middle + 4):
        (g,) = torch.autograd.grad(y[0, 0, q], x, retain_graph=True)
        seen = g[0, 0].nonzero().flatten().tolist()
        sizes.append(max(seen) - min(seen) + 1 if seen else 0)
        if seen:
            centres.append((min(seen) + max(seen)) / 2 - float(field.start[0] + q * field.jump[0]))
    assert max(sizes) == field.size[0]
    # the recurrences place the centre within half a field of a phase
    assert all(abs(c) <= field.size[0] / 2 for c in centres)
    if all(layer.task == "forward" for layer in stack):
        assert set(centres) == {0.0}


def test_transposed_layers_divide_the_jump() -> None:
    field = receptive_field([conv(4, 4), up(8, 8)])
    assert field.jump == (Fraction(1, 2),)


def test_grouped_layers_keep_channels_apart() -> None:
    assert receptive_field([conv(3, c=8, o=8, g=8)]).channels == 1
    assert receptive_field([conv(3, c=8, o=8, g=4), conv(3, c=8, o=4, g=2)]).channels == 4
    assert receptive_field([conv(3, c=8, o=8, g=8), conv(1, c=8, o=2)]).channels == 8


def test_axes_are_apart() -> None:
    first = ConvSpec.parse("forward n1 c1 o2 i40x40 k3x5 s2x1 float32 cpu")
    second = ConvSpec.parse("forward n1 c2 o2 i19x36 k3x1 d1x1 float32 cpu")
    field = receptive_field([first, second])
    assert (field.size, field.jump, field.start) == ((7, 5), (2, 1), (3, 2))


def test_stacks_that_do_not_fit() -> None:
    with pytest.raises(ArgumentError, match="at least one layer"):
        receptive_field([])
    with pytest.raises(ArgumentError, match="layer 1 takes 1 channels but layer 0 gives 4"):
        receptive_field([conv(3, o=4), conv(3)])
    flat = ConvSpec.parse("forward n1 c1 o1 i4x4 k3x3 float32 cpu")
    with pytest.raises(ArgumentError, match="layer 1 is 2-D but layer 0 is 1-D"):
        receptive_field([conv(3), flat])
    with pytest.raises(ArgumentError, match="layer 0 is 'grad_weight'"):
        receptive_field([conv(3).with_task("grad_weight")])
