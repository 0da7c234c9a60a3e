import copy

import pytest
import torch

from faltung.errors import ArgumentError
from faltung.ops.deform.api import deform_conv2d
from faltung.ops.deform.modules import DeformConv2d


def test_parameters_are_those_of_an_ordinary_convolution() -> None:
    torch.manual_seed(3)
    ordinary = torch.nn.Conv2d(4, 6, (3, 2), groups=2)
    torch.manual_seed(3)
    ours = DeformConv2d(4, 6, (3, 2), groups=2)
    state = ordinary.state_dict()
    assert list(ours.state_dict()) == list(state) == ["weight", "bias"]
    for name, value in ours.state_dict().items():
        assert torch.equal(value, state[name])  # the same draws in the same order
    ours.load_state_dict(state)


def test_forward_hands_on_every_argument() -> None:
    layer = DeformConv2d(4, 6, (3, 2), (2, 1), ((1, 0), 1), (1, 2), 2)
    x = (torch.arange(120) % 7 - 3.0).reshape(1, 4, 5, 6)
    offset = (torch.arange(288) % 5 / 4).reshape(1, 24, 2, 6)
    mask = (torch.arange(144) % 3 + 1.0).reshape(1, 12, 2, 6)
    arguments = (layer.weight, layer.bias, (2, 1), ((1, 0), (1, 1)), (1, 2))
    assert torch.equal(layer(x, offset), deform_conv2d(x, offset, *arguments))
    assert torch.equal(layer(x, offset, mask), deform_conv2d(x, offset, *arguments, mask))
    assert torch.equal(copy.deepcopy(layer)(x, offset, mask), layer(x, offset, mask))


def test_without_offsets_it_is_the_ordinary_module() -> None:
    ordinary = torch.nn.Conv2d(2, 3, 3, stride=2, padding=1, bias=False)
    layer = DeformConv2d(2, 3, 3, stride=2, padding=1, bias=False)
    with torch.no_grad():
        ordinary.weight.copy_((torch.arange(54) % 7 - 3.0).reshape(3, 2, 3, 3))
    layer.load_state_dict(ordinary.state_dict())
    x = (torch.arange(70) % 9 - 4.0).reshape(1, 2, 5, 7)
    assert torch.equal(layer(x, torch.zeros(1, 18, 3, 4)), ordinary(x))


def test_learns_where_to_look() -> None:
    layer = DeformConv2d(1, 1, 1)
    x = torch.arange(12.0).reshape(1, 1, 3, 4)
    offset = torch.full((1, 2, 3, 4), 0.25, requires_grad=True)
    layer(x, offset).sum().backward()
    for value in (offset, *layer.parameters()):
        assert value.grad is not None
        assert value.grad.count_nonzero() > 0


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (DeformConv2d(4, 6, 3), "DeformConv2d(4, 6, kernel_size=(3, 3), stride=(1, 1))"),
        (
            DeformConv2d(4, 6, (3, 2), 2, 1, 2, 2, bias=False),
            "DeformConv2d(4, 6, kernel_size=(3, 2), stride=(2, 2), padding=(1, 1), "
            "dilation=(2, 2), groups=2, bias=False)",
        ),
        (
            DeformConv2d(1, 1, 3, padding=((1, 2), 0)),
            "DeformConv2d(1, 1, kernel_size=(3, 3), stride=(1, 1), padding=((1, 2), 0))",
        ),
        (
            DeformConv2d(1, 1, 3, padding="same"),
            "DeformConv2d(1, 1, kernel_size=(3, 3), stride=(1, 1), padding=same)",
        ),
    ],
)
def test_prints_what_differs_from_the_defaults(layer: DeformConv2d, text: str) -> None:
    assert repr(layer) == text


@pytest.mark.parametrize(("channels", "groups"), [((4, 6), 4), ((4, 6), 3), ((4, 6), 0)])
def test_refuses_groups_that_do_not_divide(channels: tuple[int, int], groups: int) -> None:
    message = f"groups={groups} must be at least 1 and divide both in_channels=4 and out_channels=6"
    with pytest.raises(ArgumentError, match=message):
        DeformConv2d(*channels, 3, groups=groups)
