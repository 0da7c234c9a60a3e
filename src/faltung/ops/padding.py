"""An image extended to exactly what its windows touch, and the adjoint of that.

    padded[j] = x[fold_in(j − low)]        j = 0 … (out−1)·s + d·(K−1)

`fold_in` is the axis's own index map, so that every padding mode means here what it means
everywhere. Used by algorithms that cannot pad while they compute; it makes a copy of the image
unless there is nothing to do.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from .geometry import Axis


def pad(x: Tensor, axes: Sequence[Axis]) -> Tensor:
    """x [..., in…] -> [..., padded…]; rows that no window reads are cropped."""
    for dim, axis in zip(range(-len(axes), 0), axes, strict=True):
        if not _by_ends(axis):
            x = x.index_select(dim, torch.tensor(_positions(axis), device=x.device))
    ends = [_ends(axis) for axis in axes]
    return F.pad(x, _flat(ends)) if any(map(any, ends)) else x


def pad_adjoint(g: Tensor, axes: Sequence[Axis]) -> Tensor:
    """g [..., padded…] -> [..., in…]: every padded value is added to the position it came from."""
    for dim, axis in zip(range(-len(axes), 0), axes, strict=True):
        if not _by_ends(axis):
            shape = list(g.shape)
            shape[dim] = axis.input_size
            gx, start = g.new_zeros(shape), 0
            # one run of different positions at a time: adding stays in order on every device
            for run in _runs(_positions(axis)):
                index = torch.tensor(run, device=g.device)
                gx = gx.index_add(dim, index, g.narrow(dim, start, len(run)))
                start += len(run)
            g = gx
    ends = [(-low, -high) for low, high in map(_ends, axes)]
    return F.pad(g, _flat(ends)) if any(map(any, ends)) else g


def _by_ends(axis: Axis) -> bool:
    """Whether adding zeros or cropping at the ends is all there is to do."""
    inside = axis.padding[0] == 0 and axis.padded_size <= axis.input_size
    return inside or axis.padding_mode == "zeros"


def _ends(axis: Axis) -> tuple[int, int]:
    """Zeros to add before and after the image, negative to crop; none where indices do it all."""
    low = axis.padding[0]
    return (low, axis.padded_size - low - axis.input_size) if _by_ends(axis) else (0, 0)


def _positions(axis: Axis) -> list[int | None]:
    """The input position behind each padded one; never None where a mode fills the padding."""
    return [axis.fold_in(j - axis.padding[0]) for j in range(axis.padded_size)]


def _runs(positions: list[int | None]) -> list[list[int | None]]:
    """The positions cut wherever one of them comes back."""
    runs: list[list[int | None]] = [[]]
    for position in positions:
        if position in runs[-1]:
            runs.append([])
        runs[-1].append(position)
    return runs


def _flat(ends: Sequence[tuple[int, int]]) -> list[int]:
    """Ends per axis in the order `F.pad` takes them: last axis first."""
    return [amount for pair in reversed(ends) for amount in pair]
