"""A weight transformed for Winograd's filtering, in the order in which the routine reads it."""

import torch
from torch import Tensor

from .problem import Layout


def transformed_weight(layout: Layout, w: Tensor) -> Tensor:
    """G w Gᵀ of every filter, worked out in float64 and rounded once.

    w is [groups · outputs, inputs, depth, high, wide] -> [group, chunk of output channels, product,
    tile of vectors, depth, input channel, output channel of the tile]. Vectors of channels that do
    not exist hold those of others.
    """
    p, cutting, lanes = layout.problem, layout.cutting, layout.cutting.lanes
    high, wide = (
        torch.tensor(
            [[float(entry) for entry in row] for row in block.axis.transform.g],
            dtype=torch.float64,
        )
        for block in (layout.high, layout.wide)
    )
    both = torch.kron(high, wide)  # [products, taps of both axes]
    filters = w.reshape(p.groups, p.outputs, p.inputs, p.depth.taps, -1)
    together = cutting.vectors * lanes
    made = torch.empty(layout.weights, dtype=getattr(torch, p.wide_dtype)).view(
        p.groups, layout.chunks, layout.products, cutting.chunk // cutting.vectors,
        p.depth.taps, p.inputs, together,
    )  # fmt: skip
    # a little at a time, which stays in the caches
    for group in range(p.groups):
        for tile, some in enumerate(torch.split(_channels(layout), together)):
            chunk, place = divmod(tile, made.shape[3])
            taps = filters[group, some].permute(3, 2, 1, 0).double().reshape(both.shape[1], -1)
            made[group, chunk, :, place] = (both @ taps).view(-1, *made.shape[4:])
    return made


def _channels(layout: Layout) -> Tensor:
    """The output channel of every lane of every vector, all of which exist."""
    p, lanes = layout.problem, layout.cutting.lanes
    vectors = torch.arange(layout.padded_vectors).clamp(max=layout.output_vectors - 1)
    first = (vectors * lanes).clamp(max=max(p.outputs - lanes, 0))
    return (first[:, None] + torch.arange(lanes)).clamp(max=p.outputs - 1).reshape(-1)
