"""Deformable convolution in loops: the specification of the family.

    y[n, o, q] = b[o] + Σ_{c, t} w[o, c, t] · m[n, f, t, q] · x̂[n, c, p]
             p = q·s − low + t·d + δ[n, f, t, q]
          x̂[p] = Σ_i  g(p_y, i_y) · g(p_x, i_x) · x[i]
       g(a, b) = max(0, 1 − |a − b|)

The sum over i runs over the image's pixels, of which at most four have weight: the corners around
p. Past the border fewer corners exist, so a sample fades to zero within one pixel of the image, and
is zero at −1, at H, and everywhere beyond. An offset that is not a number gives an output that is
not a number; an infinite one looks infinitely far out, at zero.

For reading and for checking; it visits every sample one at a time.

Source: Dai et al., arXiv 1703.06211, equations 2 to 4; Zhu et al., arXiv 1811.11168, section 3.2.
"""

import itertools
import math
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from ..arguments import deform_spec


def deform_conv2d(
    x: Tensor,
    offset: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    mask: Tensor | None = None,
) -> Tensor:
    """Input (N, C, H, W) or (C, H, W) -> (N, O, OH, OW) or (O, OH, OW).

    `offset` (N, 2·F·KH·KW, OH, OW) holds (dy, dx) per tap in pixels, `mask` (N, F·KH·KW, OH, OW) a
    factor per tap. The arguments, and their order, are those of `torchvision.ops.deform_conv2d`.

    >>> import torch
    >>> x = torch.tensor([[[[0.0, 8.0], [4.0, 2.0]]]])
    >>> half_down_half_right = torch.full((1, 2, 2, 2), 0.5)
    >>> deform_conv2d(x, half_down_half_right, torch.ones(1, 1, 1, 1))
    tensor([[[[3.5000, 2.5000],
              [1.5000, 0.5000]]]])
    """
    spec = deform_spec(
        x.shape, offset.shape, w.shape,
        None if b is None else b.shape, None if mask is None else mask.shape,
        stride=stride, padding=padding, dilation=dilation, dtype=str(x.dtype).split(".")[1],
    )  # fmt: skip
    image = x.reshape(spec.x_shape)
    by_tap = (spec.batch, spec.offset_groups, *spec.kernel_size)
    offset = offset.reshape(*by_tap, 2, *spec.output_size)
    mask = None if mask is None else mask.reshape(*by_tap, *spec.output_size)
    filters = spec.out_channels // spec.groups  # of one weight group
    group_channels = spec.in_channels // spec.groups
    sharing = spec.in_channels // spec.offset_groups  # channels that share an offset
    rows, columns = spec.axes

    y = x.new_zeros(spec.y_shape)
    for n, o, qy, qx in itertools.product(*map(range, spec.y_shape)):
        total = x.new_zeros(()) if b is None else b[o].clone()
        for c, ty, tx in itertools.product(*map(range, spec.w_shape[1:])):
            channel = o // filters * group_channels + c
            at = (n, channel // sharing, ty, tx)
            py = rows.padded_position(qy, ty) + float(offset[(*at, 0, qy, qx)])
            px = columns.padded_position(qx, tx) + float(offset[(*at, 1, qy, qx)])
            value = sample(image[n, channel], py, px)
            if mask is not None:
                value = value * mask[(*at, qy, qx)]
            total += w[o, c, ty, tx] * value
        y[n, o, qy, qx] = total
    return y if x.dim() == 4 else y[0]


def sample(image: Tensor, y: float, x: float) -> Tensor:
    """The image (H, W) read at a position between its pixels: Σ g(y, i) · g(x, j) · image[i, j].

    >>> import torch
    >>> image = torch.tensor([[0.0, 8.0], [4.0, 2.0]])
    >>> sample(image, 0.0, 0.25), sample(image, 0.5, 1.0), sample(image, -0.5, 1.0)
    (tensor(2.), tensor(5.), tensor(4.))
    """
    total = image.new_zeros(())
    if math.isnan(y) or math.isnan(x):
        return total + math.nan
    height, width = image.shape
    for (i, down), (j, right) in itertools.product(_corners(y, height), _corners(x, width)):
        total += down * right * image[i, j]
    return total


def _corners(position: float, size: int) -> Iterator[tuple[int, float]]:
    """The pixels of one axis that have weight at a position, with their weights."""
    for pixel in range(size):
        weight = max(0.0, 1.0 - abs(position - pixel))
        if weight > 0:
            yield pixel, weight
