import io

import numpy as np
import pytest
import torch
from PIL import Image

from faltung.tools.demo.paint import crop, magnitude, overlay, photograph, signed


def pixels(picture):
    with Image.open(io.BytesIO(picture.image)) as opened:
        return np.asarray(opened.convert("RGB")).astype(int)


def test_a_crop_keeps_every_pixel():
    image = torch.arange(48.0).reshape(3, 4, 4) / 47
    painted = pixels(crop(image, "c", "a"))
    assert np.array_equal(painted, (image.permute(1, 2, 0) * 255).round().int().numpy())


def test_grey_becomes_three_equal_channels():
    painted = pixels(crop(torch.rand(1, 5, 6), "c", "a"))
    assert painted.shape == (5, 6, 3)
    assert (painted == painted[..., :1]).all()


def test_zero_is_near_white_negative_blue_positive_red():
    painted = pixels(signed(torch.tensor([[-2.0, 0.0, 2.0]]), "c", "a", largest=2.0))[0]
    assert painted[0][2] > 2 * painted[0][0]
    assert painted[1].min() > 240
    assert painted[2][0] > 2 * painted[2][2]


def test_magnitude_grows_lighter():
    lightness = pixels(magnitude(torch.linspace(0, 1, 9)[None], "c", "a", 1.0))[0].sum(-1)
    assert (np.diff(lightness) > 0).all()


def test_the_scale_says_where_the_colours_end():
    picture = signed(torch.tensor([[-3.0, 3.0]]), "c", "a")
    assert (picture.scale.low, picture.scale.high) == ("−3", "+3")


@pytest.mark.parametrize("zoom", [1.0, 3.0])
def test_an_overlay_is_drawn_in_pixels_of_the_image(zoom):
    picture = overlay(
        torch.ones(3, 20, 30),
        lambda axes: axes.plot(25, 5, "s", color="black", ms=6),
        "c",
        "a",
        zoom,
    )
    painted = pixels(picture)
    assert painted.shape == (20 * zoom, 30 * zoom, 3)
    darkest = np.unravel_index(painted.sum(-1).argmin(), painted.shape[:2])
    assert abs(darkest[0] / zoom - 5.5) < 5 and abs(darkest[1] / zoom - 25.5) < 5


def test_a_photograph_is_close_to_what_it_shows():
    image = torch.linspace(0, 1, 40).expand(3, 30, 40)
    painted = pixels(photograph(image, "c", "a"))
    assert np.abs(painted - (image.permute(1, 2, 0) * 255).numpy()).max() < 12
