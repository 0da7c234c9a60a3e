"""A large kernel as a sum of parallel branches, merged into one weight.

    Σ_b conv(x, w_b, dilation d_b)  =  conv(x, W)         W[(K − span_b)/2 + t·d_b] += w_b[t]

Convolution is linear in its weight. So parallel branches with a common centre, small ones, dilated
ones, strips, are together one convolution: its weight is each of theirs, with the holes of its
dilation, zero-padded to K around the centre, all added up. They have stride 1 and "same" padding.

Use it to train with branches and run with one. A 31×31 filter alone learns small detail badly; a
parallel 5×5 repairs that and costs nothing after merging (RepLKNet). Several dilated branches help
the same way (UniRepLKNet), and strips crossing in a small square replace a 51×51 (SLaK).

Source: Ding et al., "Scaling Up Your Kernels to 31x31", arXiv 2203.06717, section 3; Ding et al.,
"UniRepLKNet", arXiv 2311.15599, section 3 (dilated branches); Liu et al., "More ConvNets in the
2020s", arXiv 2207.03620 (strips).
"""

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any

import torch
from torch import Tensor

from ....errors import ArgumentError
from ...arguments import integers
from ...geometry import Sizes, window_span
from .definition import spatial_dims


def merge_branches(
    weights: Sequence[Tensor],
    dilations: Sequence[Any] | None = None,
    biases: Sequence[Tensor | None] | None = None,
    kernel_size: Any = None,
) -> tuple[Tensor, Tensor | None]:
    """One weight and bias that do what all the branches together do, in 1-D to 3-D.

    Each weight is [O, C/G, k…], with its dilation (1 where left out) and its bias [O] or None. The
    merged weight is [O, C/G, K…]; K is the largest span of a branch where `kernel_size` is left
    out. `F.conv2d(x, W, B, padding="same")` is then the sum over the branches of
    `F.conv2d(x, w, b, padding="same", dilation=d)`.

    >>> import torch
    >>> wide, holes = torch.tensor([[[1, 1, 1, 1, 1]]]), torch.tensor([[[10, 20, 30]]])
    >>> merge_branches([wide, holes, torch.tensor([[[100]]])], dilations=[1, 2, 1])
    (tensor([[[ 11,   1, 121,   1,  31]]]), None)

    Raises `ArgumentError` where a branch does not fit into K, where of its span and K one is odd
    and the other even (their centres do not coincide), and where shapes disagree.
    """
    if not weights:
        raise ArgumentError("merge_branches: there is no branch to merge")
    dims = spatial_dims(weights[0])
    dilations = [1] * len(weights) if dilations is None else dilations
    biases = [None] * len(weights) if biases is None else biases
    _check_branches(weights, dilations, biases)
    steps = [integers(d, dims, "dilations", minimum=1) for d in dilations]
    spans = [_spans(w, d) for w, d in zip(weights, steps, strict=True)]
    size = tuple(max(lengths) for lengths in zip(*spans, strict=True))
    if kernel_size is not None:
        size = integers(kernel_size, dims, "kernel_size", minimum=1)

    merged = weights[0].new_zeros(*weights[0].shape[:2], *size)
    for w, step, span in zip(weights, steps, spans, strict=True):
        _check_centred(span, size)
        under = tuple(
            slice((k - length) // 2, (k + length) // 2, d)
            for k, length, d in zip(size, span, step, strict=True)
        )
        merged[:, :, *under] += w
    present = [b for b in biases if b is not None]
    return merged, reduce(add, present, torch.zeros_like(present[0])) if present else None


def _spans(w: Tensor, dilation: Sizes) -> Sizes:
    return tuple(window_span(k, d) for k, d in zip(w.shape[2:], dilation, strict=True))


def _check_branches(
    weights: Sequence[Tensor], dilations: Sequence[Any], biases: Sequence[Tensor | None]
) -> None:
    for what, given in (("dilations", dilations), ("biases", biases)):
        if len(given) != len(weights):
            raise ArgumentError(
                f"merge_branches: {what} must have one entry per branch: {len(weights)}, "
                f"got {len(given)}"
            )
    first = weights[0]
    for number, (w, b) in enumerate(zip(weights, biases, strict=True)):
        if w.dim() != first.dim() or w.shape[:2] != first.shape[:2] or w.dtype != first.dtype:
            raise ArgumentError(
                f"merge_branches: the weight of branch {number} is {tuple(w.shape)} {w.dtype} and "
                f"that of branch 0 {tuple(first.shape)} {first.dtype}: they may differ only in "
                "kernel size"
            )
        if b is not None and b.shape != first.shape[:1]:
            raise ArgumentError(
                f"merge_branches: the bias of branch {number} must have shape "
                f"({first.shape[0]},), got {tuple(b.shape)}"
            )


def _check_centred(span: Sizes, size: Sizes) -> None:
    for length, k in zip(span, size, strict=True):
        if length > k:
            raise ArgumentError(
                f"merge_branches: a branch that spans {span} does not fit into kernel size {size}"
            )
        if (k - length) % 2:
            raise ArgumentError(
                f"merge_branches: a branch that spans {span} has no common centre with kernel size "
                f"{size}: on each axis both must be odd or both even"
            )
