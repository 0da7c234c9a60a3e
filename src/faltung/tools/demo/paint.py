"""Tensors made into images: photographs as they are, responses through a colour map.

The maps are safe for colour-blind readers: a signed response goes from blue through white to red
(ColorBrewer RdBu), a magnitude from black through purple to yellow (inferno).
"""

import io
from collections.abc import Callable

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from .scene import Picture, Scale

SIGNED, MAGNITUDE = "RdBu_r", "inferno"
SMALL = 64  # columns of an image below which its pixels are shown as squares
MARK = "#d55e00"  # what is drawn over a photograph: Okabe and Ito's vermilion


def photograph(image: Tensor, caption: str, alt: str, share: float = 1.0) -> Picture:
    """A colour image [3, H, W] or a grey one [1, H, W], 0 … 1, as JPEG."""
    file = io.BytesIO()
    _rgb(image).save(file, "JPEG", quality=92, subsampling=0)
    return Picture(caption, alt, file.getvalue(), "image/jpeg", share)


def crop(image: Tensor, caption: str, alt: str, share: float = 1.0) -> Picture:
    """A small image [C, H, W] whose single pixels matter: lossless and pixelated."""
    return Picture(caption, alt, _png(_rgb(image)), "image/png", share, pixelated=True)


def signed(response: Tensor, caption: str, alt: str, largest: float | None = None) -> Picture:
    """A response [H, W] with sign: zero is white, blue is negative, red positive.

    The colours end at `largest`, by default the magnitude that one pixel in 500 exceeds: a few
    extreme pixels would leave the rest pale.
    """
    largest = largest or float(response.abs().flatten().quantile(0.998))
    scale = Scale(f"−{largest:.2g}", f"+{largest:.2g}", _colours(SIGNED))
    image = _mapped(response, SIGNED, -largest, largest)
    return Picture(caption, alt, image, scale=scale, pixelated=response.shape[-1] < SMALL)


def magnitude(response: Tensor, caption: str, alt: str, largest: float | None = None) -> Picture:
    """A response [H, W] without sign, from 0 in black to `largest` in yellow; see `signed`."""
    largest = largest or float(response.flatten().quantile(0.998))
    scale = Scale("0", f"{largest:.2g}", _colours(MAGNITUDE))
    return Picture(caption, alt, _mapped(response, MAGNITUDE, 0.0, largest), scale=scale)


def overlay(
    image: Tensor, draw: Callable[[Axes], None], caption: str, alt: str, zoom: float = 3.0
) -> Picture:
    """An image [C, H, W] enlarged `zoom` times with something drawn over it in its pixels."""
    rows, columns = image.shape[-2:]
    figure = Figure(figsize=(columns * zoom / 100, rows * zoom / 100), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(np.asarray(_rgb(image)), interpolation="lanczos")
    axes.set_axis_off()
    draw(axes)
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    file = io.BytesIO()
    figure.savefig(file, format="jpeg", pil_kwargs={"quality": 88})
    return Picture(caption, alt, file.getvalue(), "image/jpeg")


def _rgb(image: Tensor) -> Image.Image:
    pixels = image.detach().clamp(0, 1).expand(3, -1, -1).permute(1, 2, 0).mul(255).round()
    return Image.fromarray(pixels.to("cpu").numpy().astype(np.uint8), "RGB")


def _mapped(values: Tensor, name: str, low: float, high: float) -> bytes:
    """A palette image: one byte a pixel, the colour map as the palette."""
    level = ((values.detach() - low) / (high - low)).clamp(0, 1).mul(255).round()
    image = Image.fromarray(level.numpy().astype(np.uint8), "P")
    palette: NDArray[np.uint8] = (colormaps[name](np.arange(256))[:, :3] * 255).astype(np.uint8)
    image.putpalette(palette.tobytes())
    return _png(image)


def _colours(name: str) -> tuple[str, ...]:
    stops = colormaps[name](np.linspace(0, 1, 9))
    return tuple(f"rgb({r * 255:.0f} {g * 255:.0f} {b * 255:.0f})" for r, g, b, _ in stops)


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()
