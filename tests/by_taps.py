"""The definition's sums with one step a tap instead of one a position: what tests compare with.

    forward       y[q] = Σ_t  w[t] · x[source(q, t)]
    grad_input    gx[source(q, t)] += w[t] · gy[q]
    grad_weight   gw[t] = Σ_q  gy[q] · x[source(q, t)]

`faltung.by_hand` says the same position by position, which takes up to a hundred times as long;
`tests/ops/conv/test_by_taps.py` holds the two together, to the bit. Like it, this knows of a
problem only which input each tap of each output reads (`Axis.sources`): one place behind the last
input stands for padding, and holds a zero.
"""

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from faltung.ops.conv.spec import ConvSpec


def forward(x: Tensor, w: Tensor, spec: ConvSpec) -> Tensor:
    """y [N, O, out…] of x [N, C, in…] and w [O, C/G, K…]."""
    filters = w.unflatten(0, (spec.groups, -1))
    y = x.new_zeros(spec.batch, spec.groups, spec.out_channels // spec.groups, *spec.output_size)
    for tap, places in _taps(spec):
        y += torch.einsum("ngc...,goc->ngo...", _read(x, places, spec), filters[:, :, :, *tap])
    return y.flatten(1, 2)


def grad_input(gy: Tensor, w: Tensor, spec: ConvSpec) -> Tensor:
    """gx [N, C, in…] of gy [N, O, out…] and w: the adjoint of `forward` in x."""
    filters, by_group = w.unflatten(0, (spec.groups, -1)), gy.unflatten(1, (spec.groups, -1))
    gx = gy.new_zeros(spec.x_shape)
    for tap, places in _taps(spec):
        part = torch.einsum("ngo...,goc->ngc...", by_group, filters[:, :, :, *tap]).flatten(1, 2)
        for dim, (place, size) in enumerate(zip(places, spec.input_size, strict=True), 2):
            wide = part.new_zeros(*part.shape[:dim], size + 1, *part.shape[dim + 1 :])
            part = wide.index_add(dim, place, part).narrow(dim, 0, size)
        gx += part
    return gx


def grad_weight(x: Tensor, gy: Tensor, spec: ConvSpec) -> Tensor:
    """gw [O, C/G, K…] of x and gy: the adjoint of `forward` in w."""
    by_group = gy.unflatten(1, (spec.groups, -1)).flatten(3)
    gw = x.new_zeros(spec.w_shape)
    for tap, places in _taps(spec):
        read = _read(x, places, spec).flatten(3)
        gw[:, :, *tap] = torch.einsum("ngcq,ngoq->goc", read, by_group).flatten(0, 1)
    return gw


def _taps(spec: ConvSpec) -> Iterator[tuple[tuple[int, ...], list[Tensor]]]:
    """Every tap, and on each axis the place that it reads for each output."""
    by_axis = [
        [
            torch.tensor(
                [n if row[t] is None else row[t] for row in axis.sources], dtype=torch.int64
            )
            for t in range(axis.kernel_size)
        ]
        for axis, n in zip(spec.axes, spec.input_size, strict=True)
    ]
    for tap in itertools.product(*map(range, spec.kernel_size)):
        yield tap, [places[t] for places, t in zip(by_axis, tap, strict=True)]


def _read(x: Tensor, places: list[Tensor], spec: ConvSpec) -> Tensor:
    """What one tap reads for every output: [N, G, C/G, out…]."""
    found = F.pad(x, [0, 1] * spec.dims)
    for dim, place in enumerate(places, 2):
        found = found.index_select(dim, place)
    return found.unflatten(1, (spec.groups, -1))
