"""The definition of convolution, as loops. Nothing else is right if it disagrees with this page.

    y[n, o, q] = b[o] + Σ_{c, t} w[o, c, t] · x[n, g·C/G + c, q·s − low + t·d]

n is the place in the batch, o the output channel, g the group of channels that o belongs to, c one
of the C/G input channels of that group, q the output position and t the tap. Positions, stride s,
padding (low, high) and dilation d have one number per spatial axis. A tap that falls outside x
finds a zero, or what the padding mode puts there. The filter is not flipped: mathematicians call
this cross-correlation, and machine learning calls it convolution.

One sentence, "output q reads input i through tap t", says all three tasks of a convolution:

    forward       y[q]  += w[t] · x[i]
    grad_input    gx[i] += w[t] · gy[q]      what x must be blamed for: transposed convolution
    grad_weight   gw[t] += gy[q] · x[i]      what w must be blamed for

Use it to read and to check against: it takes one Python step per group, output and tap, and only
the products over batch and channels are left to a matrix product. Never use it for speed.

Source: Goodfellow, Bengio and Courville, "Deep Learning", section 9.1 (equation 9.6) and section
9.5 (strided forms and both gradients).
"""

import itertools
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from ....errors import ArgumentError
from ...geometry import Pairs, Sizes
from ...operands import checked
from ..arguments import check_residual, conv_spec
from ..spec import ConvSpec

# one integer per axis; Any because type checkers refuse int beside slice in one index
Position = tuple[Any, ...]


def conv(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    residual: Tensor | None = None,
) -> Tensor:
    """Convolution in as many dimensions as the weight has: 1, 2 or 3.

    x [N, C, in…] or [C, in…], w [O, C/groups, K…], b [O] -> y [N, O, out…] or [O, out…]. The dtype
    may be any that a matrix product takes; sums are made in that dtype.

    The same as `F.conv1d`, `F.conv2d` or `F.conv3d`. Padding may also be a (low, high) pair for an
    axis or one of "valid", "same", "same_lower", "causal"; the padding mode is "zeros", "reflect",
    "replicate" or "circular". A `residual` of the result's shape is added last.

    >>> import torch
    >>> x = torch.tensor([[1, 2, 3, 4, 5]])
    >>> w = torch.tensor([[[1, 0, -1]]])
    >>> conv(x, w)
    tensor([[-2, -2, -2]])
    >>> conv(x, w, padding=1, stride=2)
    tensor([[-2, -2,  4]])
    >>> conv(x, w, padding=1, padding_mode="circular")
    tensor([[ 3, -2, -2, -2,  3]])
    >>> conv(x, w, padding=1, residual=x)
    tensor([[-1,  0,  1,  2,  9]])

    Raises `ArgumentError` or `ArgumentTypeError` for shapes and arguments that do not fit.
    """
    spec = spec_of(x, w, b, stride, padding, dilation, groups, padding_mode=padding_mode)
    y = finished(forward(batched(x, spec), w, spec), b, x)
    if residual is None:
        return y
    checked("conv", {"input": x, "residual": residual})
    check_residual("conv", residual.shape, y.shape)
    return y + residual


def forward(x: Tensor, w: Tensor, spec: ConvSpec) -> Tensor:
    """y[q] += w[t] · x[i] for every output q that reads input i through tap t.

    x [N, C, in…], w [O, C/G, K…] -> y [N, O, out…]: `F.conv2d(x, w, …)` without bias.

    >>> import torch
    >>> spec = ConvSpec.parse("forward n1 c1 o1 i4 k2 s2 int64 cpu")
    >>> forward(torch.tensor([[[1, 2, 3, 4]]]), torch.tensor([[[1, 10]]]), spec)
    tensor([[[21, 43]]])
    """
    y = x.new_zeros(spec.y_shape)
    for o, c in channel_groups(spec):
        for q, t, i in index_map(spec):
            y[:, o, *q] += x[:, c, *i] @ w[o, :, *t].T
    return y


def grad_input(gy: Tensor, w: Tensor, spec: ConvSpec) -> Tensor:
    """gx[i] += w[t] · gy[q] for every output q that reads input i through tap t.

    gy [N, O, out…], w [O, C/G, K…] -> gx [N, C, in…]: `torch.nn.grad.conv2d_input`, and
    `F.conv_transpose2d(gy, w, …)`. With a padding mode, what falls into the padding returns to the
    positions that it was copied from: always the exact adjoint of `forward` in x.

    >>> import torch
    >>> spec = ConvSpec.parse("grad_input n1 c1 o1 i4 k2 s2 int64 cpu")
    >>> grad_input(torch.tensor([[[1, 2]]]), torch.tensor([[[1, 10]]]), spec)
    tensor([[[ 1, 10,  2, 20]]])
    """
    gx = gy.new_zeros(spec.x_shape)
    for o, c in channel_groups(spec):
        for q, t, i in index_map(spec):
            gx[:, c, *i] += gy[:, o, *q] @ w[o, :, *t]
    return gx


def grad_weight(x: Tensor, gy: Tensor, spec: ConvSpec) -> Tensor:
    """gw[t] += gy[q] · x[i] for every output q that reads input i through tap t.

    x [N, C, in…], gy [N, O, out…] -> gw [O, C/G, K…]: `torch.nn.grad.conv2d_weight`, the exact
    adjoint of `forward` in w.

    >>> import torch
    >>> spec = ConvSpec.parse("grad_weight n1 c1 o1 i4 k2 s2 int64 cpu")
    >>> grad_weight(torch.tensor([[[1, 2, 3, 4]]]), torch.tensor([[[1, 10]]]), spec)
    tensor([[[31, 42]]])
    """
    gw = x.new_zeros(spec.w_shape)
    for o, c in channel_groups(spec):
        for q, t, i in index_map(spec):
            gw[o, :, *t] += gy[:, o, *q].T @ x[:, c, *i]
    return gw


def index_map(spec: ConvSpec) -> Iterator[tuple[Position, Position, Position]]:
    """Every (q, t, i) such that output q reads input i through tap t; zero padding is left out.

    >>> list(index_map(ConvSpec.parse("forward n1 c1 o1 i2 k2 p1+0 float32 cpu")))
    [((0,), (1,), (0,)), ((1,), (0,), (0,)), ((1,), (1,), (1,))]
    """
    for q in positions(spec.output_size):
        for t in positions(spec.kernel_size):
            i = spec.source(q, t)  # q·s − low + t·d, folded in by the padding mode
            if i is not None:
                yield q, t, i


def channel_groups(spec: ConvSpec) -> Iterator[tuple[slice, slice]]:
    """The output channels and the input channels of each group.

    >>> list(channel_groups(ConvSpec.parse("forward n1 c2 o4 i3 k2 g2 float32 cpu")))
    [(slice(0, 2, None), slice(0, 1, None)), (slice(2, 4, None), slice(1, 2, None))]
    """
    outputs, inputs = spec.out_channels // spec.groups, spec.in_channels // spec.groups
    for g in range(spec.groups):
        yield slice(g * outputs, (g + 1) * outputs), slice(g * inputs, (g + 1) * inputs)


def positions(size: Sizes) -> Iterator[Position]:
    """Every position of a grid in reading order: the last axis runs fastest, like the letter Z.

    >>> list(positions((2, 2)))
    [(0, 0), (0, 1), (1, 0), (1, 1)]
    """
    return itertools.product(*(range(n) for n in size))


def spec_of(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
) -> ConvSpec:
    """The checked problem that a by-hand function was asked to solve."""
    dtype, device = checked("conv", {"input": x, "weight": w}, {"bias": b})
    return conv_spec(
        x.shape, w.shape, None if b is None else b.shape, dims=spatial_dims(w), stride=stride,
        padding=padding, dilation=dilation, groups=groups, mode=padding_mode,
        dtype=dtype, device=device,
    )  # fmt: skip


def spatial_dims(w: Tensor) -> int:
    """How many spatial axes a weight [O, C/G, K…] has: 1, 2 or 3."""
    if w.dim() not in (3, 4, 5):
        raise ArgumentError(
            "weight must have 3, 4 or 5 dimensions: two of channels and one to three of kernel "
            f"size, got {w.dim()}: {tuple(w.shape)}"
        )
    return w.dim() - 2


def channels_of(x: Tensor, dims: int) -> int:
    """Channels of an input [N, C, in…] or [C, in…] with that many spatial axes."""
    if x.dim() not in (dims + 1, dims + 2):
        raise ArgumentError(
            f"input must have {dims + 2} dimensions, or {dims + 1} without a batch, for a "
            f"{dims}-D convolution, got {x.dim()}: {tuple(x.shape)}"
        )
    return x.shape[-dims - 1]


def batched(x: Tensor, spec: ConvSpec) -> Tensor:
    """x with its batch axis: an unbatched input counts as a batch of one."""
    return x if x.dim() == spec.dims + 2 else x.unsqueeze(0)


def zero_padded(x: Tensor, padding: Pairs) -> Tensor:
    """x [N, C, in…] with (low, high) zeros before and after it on each spatial axis."""
    size = (n + low + high for n, (low, high) in zip(x.shape[2:], padding, strict=True))
    padded = x.new_zeros(*x.shape[:2], *size)
    inside = (slice(low, low + n) for n, (low, _) in zip(x.shape[2:], padding, strict=True))
    padded[:, :, *inside] = x
    return padded


def finished(y: Tensor, b: Tensor | None, x: Tensor) -> Tensor:
    """y [N, O, out…] plus one bias per output channel; without batch axis where x had none."""
    if b is not None:
        y = y + b.reshape(-1, *(1,) * (y.dim() - 2))
    return y if x.dim() == y.dim() else y.squeeze(0)
