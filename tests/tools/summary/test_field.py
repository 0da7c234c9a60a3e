"""Receptive fields of whole models, against the gradient of one output."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from faltung.tools.summary import summary

SIZE = 96


class Function(nn.Module):
    """Layers and a function of them."""

    def __init__(self, function, **layers):
        super().__init__()
        self.function = function
        self.layers = nn.ModuleDict(layers)

    def forward(self, x):
        return self.function(x, *self.layers.values())


def conv(channels=2, kernel=3, **arguments):
    return nn.Conv2d(channels, 2, kernel, **arguments)


def shuffled(x):
    n, c, h, w = x.shape
    return x.view(n, c // 2, 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def tokens(x):
    n, c, h, w = x.shape
    return x.flatten(2).transpose(1, 2).reshape(n, h, w, c).permute(0, 3, 1, 2)


MODELS = {
    "row": nn.Sequential(conv(), conv(stride=2), conv(dilation=3), conv(kernel=(1, 5))),
    "residual": Function(lambda x, a, b: b(x + a(x)), a=conv(padding=2, dilation=2), b=conv()),
    "strided skip": Function(
        lambda x, a, b: a(x) + b(x), a=conv(stride=2, padding=1), b=conv(kernel=1, stride=2)
    ),
    "cat": Function(
        lambda x, a, b, c: c(torch.cat([a(x), b(x)], 1)),
        a=conv(kernel=(1, 7), padding=(0, 3)), b=conv(kernel=(5, 1), padding=(2, 0)),
        c=conv(channels=4, kernel=1),
    ),
    "pools": nn.Sequential(nn.AvgPool2d(3, 2), conv(), nn.AvgPool2d(2), conv()),
    "transposed": nn.Sequential(conv(stride=2), nn.ConvTranspose2d(2, 2, 4, 2, 1), conv()),
    "holes": nn.Sequential(nn.ConvTranspose2d(2, 2, 2, 3), conv(dilation=3), conv()),
    "nearest": nn.Sequential(conv(stride=2), nn.Upsample(scale_factor=2), conv()),
    "bilinear": nn.Sequential(conv(), nn.Upsample(scale_factor=2, mode="bilinear"), conv()),
    "smaller": Function(lambda x, a: a(F.interpolate(x, scale_factor=0.5)), a=conv()),
    "pixels": nn.Sequential(
        nn.PixelUnshuffle(2), conv(channels=8), nn.Conv2d(2, 8, 1), nn.PixelShuffle(2), conv()
    ),
    "padded": nn.Sequential(nn.ZeroPad2d((0, 1, 2, 0)), conv(stride=2), nn.ReflectionPad2d(1)),
    "views": Function(lambda x, a, b: b(tokens(shuffled(a(x)))), a=conv(), b=conv(stride=2)),
    "halves": Function(
        lambda x, a, b: torch.cat([(h := a(x).chunk(2, 1))[0], b(h[1])], 1),
        a=conv(), b=conv(channels=1, padding=1),
    ),
    "every other": Function(lambda x, a, b: b(a(x)[..., 1::2, ::3]), a=conv(), b=conv()),
    "linear": Function(
        lambda x, a, b: b(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) + a(x),
        a=conv(padding=1), b=nn.Linear(2, 2),
    ),
    "functions": Function(lambda x: F.conv2d(F.silu(F.avg_pool2d(x, 2)), x.new_ones(1, 2, 3, 3))),
}  # fmt: skip


def reached(model, x, at):
    """Hull of the input positions that one output position depends on."""
    x = x.clone().requires_grad_()
    y = model(x)
    y[0, :, at[0], at[1]].sum().backward()
    hull = []
    for axis in (2, 3):
        others = [d for d in range(4) if d != axis]
        seen = (x.grad != 0).any(dim=others[2]).any(dim=others[1]).any(dim=others[0]).nonzero()
        hull.append(int(seen.max() - seen.min()) + 1 if len(seen) else 0)
    return tuple(hull)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_sees_what_its_gradient_reaches(name):
    model = MODELS[name].double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.rand_like(parameter) + 0.5)  # nothing cancels
    x = torch.rand(1, 2, SIZE, SIZE, dtype=torch.float64) + 0.5
    # a last layer that looks at nothing more says what has been seen
    probe = nn.Sequential(model, nn.LazyConv2d(1, 1, dtype=torch.float64, bias=False))
    middle = probe(x).shape[-1] // 2
    nn.init.ones_(probe[1].weight)
    found = summary(probe, x).layers[-1].field
    # the largest over all phases of the output's position
    hulls = [reached(probe, x, (middle + q, middle + r)) for q in range(6) for r in range(6)]
    assert found == tuple(max(hull[axis] for hull in hulls) for axis in (0, 1))


@pytest.mark.parametrize(
    "model",
    [
        Function(lambda x, a, b: b(a(x) * a(x).mean((2, 3), keepdim=True)), a=conv(), b=conv()),
        nn.Sequential(conv(), nn.AdaptiveAvgPool2d(1), conv(kernel=1)),
        nn.Sequential(conv(), nn.GroupNorm(1, 2), conv()),
        nn.Sequential(conv(), nn.InstanceNorm2d(2), conv()),
        Function(lambda x, a, b: b(a(x).flatten(1)), a=conv(), b=nn.Linear(2 * 94 * 94, 3)),
        Function(
            lambda x, a: F.scaled_dot_product_attention(*(3 * [a(x).flatten(2).mT])), a=conv()
        ),
    ],
)
def test_what_has_seen_everything(model):
    layers = summary(model, (1, 2, SIZE, SIZE)).layers
    assert layers[0].field == (3, 3)
    assert layers[-1].field == ("all", "all")


@pytest.mark.parametrize(
    "model",
    [
        Function(lambda x, a, b: b(a(x).flip(2)), a=conv(), b=conv()),
        Function(lambda x, a, b: b(F.interpolate(a(x), 50)), a=conv(), b=conv()),
        Function(lambda x, a, b: b(torch.cumsum(a(x), 3)), a=conv(), b=conv()),
        # nor where the other branch is known, or a part is written over
        Function(lambda x, a, b: b(x + a(x).flip(2)), a=conv(padding=1), b=conv()),
        Function(lambda x, a, b: b(x + a(x).mT), a=conv(padding=1), b=conv()),
        Function(lambda x, a, b: b(x + a(x)), a=conv(padding=1, padding_mode="circular"), b=conv()),
    ],
)
def test_what_is_not_followed_is_not_guessed(model):
    assert None in summary(model, (1, 2, SIZE, SIZE)).layers[-1].field
