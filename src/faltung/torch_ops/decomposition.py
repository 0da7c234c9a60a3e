"""A convolution written with PyTorch's own operators, for exporters that know no other.

    forward      aten.convolution of the padded image
    grad_input   aten.convolution, transposed, and the adjoint of the padding
    grad_weight  aten.convolution of x and gy with batch and channels exchanged, and stride and
                 dilation: gw[o, c, t] = Σ_{n, q} gy[n, o, q] · x[n, c, q·s − low + t·d]

Sizes may be symbolic, so nothing here counts positions in Python. `exporters` says who finds it.
Never used to compute: `native_torch` is the algorithm that calls PyTorch.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ..ops.activations import activate

_Pair = tuple[int, int]


def conv_by_aten(
    first: Tensor,
    second: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    task: str,
    size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    padding_mode: str,
    activation: str | None,
    changing_weight: bool,
    algorithm: str | None,
) -> Tensor:
    """What `faltung::conv` gives with these arguments."""
    pairs = list(zip(padding[::2], padding[1::2], strict=True))
    by = {"forward": _forward, "grad_input": _grad_input, "grad_weight": _grad_weight}[task]
    y = by(first, second, bias, size, stride, pairs, dilation, groups, padding_mode)
    return activate(activation, y if residual is None else y + residual)


def _forward(
    x: Tensor,
    w: Tensor,
    bias: Tensor | None,
    size: Sequence[int],
    stride: Sequence[int],
    pairs: Sequence[_Pair],
    dilation: Sequence[int],
    groups: int,
    mode: str,
) -> Tensor:
    inner = [0] * len(pairs)
    if mode == "zeros" and all(_known(low, high) and low == high for low, high in pairs):
        inner = [low for low, _ in pairs]
    else:
        x = _padded(x, pairs, mode)
    y = _convolution(x, w, bias, stride, inner, dilation, groups)
    return _first(y, size)


def _grad_input(
    gy: Tensor,
    w: Tensor,
    bias: Tensor | None,
    size: Sequence[int],
    stride: Sequence[int],
    pairs: Sequence[_Pair],
    dilation: Sequence[int],
    groups: int,
    mode: str,
) -> Tensor:
    reach = [
        (q - 1) * s + d * (k - 1) + 1
        for q, s, d, k in zip(gy.shape[2:], stride, dilation, w.shape[2:], strict=True)
    ]
    lows = [low for low, _ in pairs]
    extra = [n + 2 * low - r for n, low, r in zip(size, lows, reach, strict=True)]
    legal = _known(*lows) and all(
        0 <= e < max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)
    )
    if legal and (mode == "zeros" or not any(_may_be_some(e) for pair in pairs for e in pair)):
        return _transposed(gy, w, bias, stride, lows, dilation, extra, groups)
    none = [0] * len(lows)
    gx = _transposed(gy, w, None, stride, none, dilation, none, groups)
    gx = _padding_adjoint(gx, size, pairs, mode)
    return gx if bias is None else gx + bias.view(-1, *[1] * len(lows))


def _grad_weight(
    x: Tensor,
    gy: Tensor,
    bias: Tensor | None,
    size: Sequence[int],
    stride: Sequence[int],
    pairs: Sequence[_Pair],
    dilation: Sequence[int],
    groups: int,
    mode: str,
) -> Tensor:
    batch, channels = x.shape[:2]
    if _known(batch) and batch == 0:  # PyTorch's convolution leaves a sum of nothing unwritten
        return x.new_zeros([gy.shape[1], channels // groups, *size])
    images = _padded(x, pairs, mode)
    size_of_one = images.shape[2:]
    images = images.reshape(batch, groups, channels // groups, *size_of_one)
    images = images.movedim(0, 2).transpose(0, 1)
    images = images.reshape(channels // groups, groups * batch, *size_of_one)
    none = [0] * len(pairs)
    filters = gy.transpose(0, 1)
    gw = _convolution(images, filters, None, dilation, none, stride, groups)
    return _first(gw, size).transpose(0, 1).contiguous()


def _known(*sizes: int) -> bool:
    """Whether these are numbers; asking more of a symbol would make the graph for some of them."""
    return all(isinstance(size, int) for size in sizes)


def _may_be_some(end: int) -> bool:
    """Whether there may be padding."""
    return not _known(end) or end != 0


def _convolution(
    x: Tensor,
    w: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """`aten.convolution`, typed."""
    none = [0] * len(stride)
    y: Tensor = torch.ops.aten.convolution.default(
        x, w, bias, list(stride), list(padding), list(dilation), False, none, groups
    )
    return y


def _transposed(
    gy: Tensor,
    w: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    extra: Sequence[int],
    groups: int,
) -> Tensor:
    """`aten.convolution`, transposed and typed."""
    gx: Tensor = torch.ops.aten.convolution.default(
        gy, w, bias, list(stride), list(padding), list(dilation), True, list(extra), groups
    )
    return gx


def _first(y: Tensor, size: Sequence[int]) -> Tensor:
    """The first positions of each spatial axis."""
    for dim, length in enumerate(size, 2):
        if y.shape[dim] != length:
            y = y.narrow(dim, 0, length)
    return y


def _padded(x: Tensor, pairs: Sequence[_Pair], mode: str) -> Tensor:
    """The image and its padding."""
    if mode == "zeros":
        ends = [end for pair in reversed(pairs) for end in pair]
        return F.pad(x, ends) if any(map(_may_be_some, ends)) else x
    for dim, (low, high) in enumerate(pairs, 2):
        if _may_be_some(low) or _may_be_some(high):
            n = x.shape[dim]
            x = x.index_select(dim, _sources(n, low, n + low + high, mode, x.device))
    return x


def _padding_adjoint(g: Tensor, size: Sequence[int], pairs: Sequence[_Pair], mode: str) -> Tensor:
    """The gradient of the padded image, added to the positions that the padding came from."""
    exact = torch.promote_types(g.dtype, torch.float32) if g.is_floating_point() else g.dtype
    dtype, g = g.dtype, g.to(exact)
    for dim, ((low, high), n) in enumerate(zip(pairs, size, strict=True), 2):
        if mode == "zeros" or not (_may_be_some(low) or _may_be_some(high)):
            g = F.pad(g, [0, 0] * (g.dim() - 1 - dim) + [-low, n + low - g.shape[dim]])
            continue
        sources = _sources(n, low, g.shape[dim], mode, g.device)
        empty = g.new_zeros([*g.shape[:dim], n, *g.shape[dim + 1 :]])
        g = empty.index_add(dim, sources, g)
    return g.to(dtype)


def _sources(n: int, low: int, length: int, mode: str, device: torch.device) -> Tensor:
    """The input position behind each of the first positions of the padded image."""
    position = torch.arange(length, device=device) - low
    # a tensor, because exporters cannot read a scalar that is a symbol
    size = torch.full((1,), n, dtype=torch.int64, device=device)
    if mode == "circular":
        return position.remainder(size)
    if mode == "replicate":
        return position.clamp(min=0).minimum(size - 1)
    return (size - 1) - ((size - 1) - position.abs()).abs()
