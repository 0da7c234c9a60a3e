"""Convolution as one matrix product, by writing every region out as a row: im2col.

    regions[q, (c, t)] = x[c, q·s − low + t·d]            [∏out, C·∏K]
    y = regions · weightᵀ                                 [∏out, C·∏K] · [C·∏K, O]

Each output position looks at one region of the input. Lay the regions under each other as rows,
flatten each filter into a column, and the whole layer is one matrix product, the thing that
machines do fastest. With groups, each group multiplies its own columns with its own filters.

Use it where a fast matrix product exists and memory is plentiful: an input value is copied once for
every window that it lies in, about ∏K / ∏s times. The fast implicit variants make those copies a
tile at a time and never store the region matrix.

Source: Chellapilla, Puri and Simard, "High Performance Convolutional Neural Networks for Document
Processing", 2006 ("unfolding").
"""

from math import prod
from typing import Any

import torch
from torch import Tensor

from ....errors import ArgumentError
from ...arguments import integers
from ..arguments import conv_spec
from .definition import batched, channel_groups, channels_of, finished, index_map, spec_of


def region_matrix(
    x: Tensor,
    kernel_size: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    *,
    padding_mode: str = "zeros",
) -> Tensor:
    """Every region that a window looks at, as a row: one row per output, one column per (c, tap).

    x [N, C, in…] -> [N, ∏out, C·∏K], in 1-D to 3-D; unbatched x [C, in…] -> [∏out, C·∏K] where the
    kernel size is a tuple (which says how many axes are spatial; an integer takes x as batched).
    In 2-D the same as `F.unfold(x, …).mT`.

    >>> import torch
    >>> region_matrix(torch.arange(9).reshape(1, 1, 3, 3), kernel_size=2)
    tensor([[[0, 1, 3, 4],
             [1, 2, 4, 5],
             [3, 4, 6, 7],
             [4, 5, 7, 8]]])

    Raises `ArgumentError` for shapes and arguments that do not fit.
    """
    dims = len(kernel_size) if isinstance(kernel_size, (tuple, list)) else x.dim() - 2
    if dims not in (1, 2, 3):
        raise ArgumentError(
            f"kernel_size {kernel_size!r} and an input of {x.dim()} dimensions leave {dims} "
            "spatial axes: there must be 1, 2 or 3"
        )
    kernel = integers(kernel_size, dims, "kernel_size", minimum=1)
    channels = channels_of(x, dims)
    spec = conv_spec(
        x.shape, (1, channels, *kernel), dims=dims, stride=stride, padding=padding,
        dilation=dilation, mode=padding_mode, dtype=str(x.dtype).removeprefix("torch."),
    )  # fmt: skip
    images = batched(x, spec)
    regions = x.new_zeros(spec.batch, *spec.output_size, channels, *kernel)
    for q, t, i in index_map(spec):
        regions[:, *q, :, *t] = images[:, :, *i]
    return regions.reshape(*x.shape[: -dims - 1], prod(spec.output_size), channels * spec.taps)


def conv_im2col(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
) -> Tensor:
    """Convolution as a product of the region matrix and the flattened weight, in 1-D to 3-D.

    x [N, C, in…] or [C, in…], w [O, C/groups, K…], b [O] -> y [N, O, out…] or [O, out…]. The same
    as `F.conv2d(x, w, b, stride, padding, dilation, groups)`.

    >>> import torch
    >>> x = torch.arange(9).reshape(1, 1, 3, 3)
    >>> conv2d_im2col(x, torch.tensor([[[[1, 0], [0, -1]]]]))
    tensor([[[[-4, -4],
              [-4, -4]]]])

    Raises `ArgumentError` or `ArgumentTypeError` for shapes and arguments that do not fit.
    """
    spec = spec_of(x, w, b, stride, padding, dilation, groups, padding_mode=padding_mode)
    regions = region_matrix(
        batched(x, spec), spec.kernel_size, spec.stride, spec.padding, spec.dilation,
        padding_mode=padding_mode,
    )  # fmt: skip
    outputs = []
    for o, c in channel_groups(spec):
        columns = slice(c.start * spec.taps, c.stop * spec.taps)
        outputs.append(regions[:, :, columns] @ w[o].flatten(1).T)  # [N, ∏out, O/G]
    y = torch.cat(outputs, dim=2).mT.reshape(spec.y_shape)
    return finished(y, b, x)


conv2d_im2col = conv_im2col  # the weight decides how many dimensions; this is the textbook's name
