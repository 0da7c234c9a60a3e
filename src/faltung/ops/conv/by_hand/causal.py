"""Causal 1-D convolution: an output knows the present and the past, never the future.

    y[n, o, q] = b[o] + Σ_{c, t} w[o, c, t] · x[n, c, q·s − (K−1−t)·d]

The last tap stands on the present, x[q·s], and every tap before it d steps earlier; before the
beginning there are zeros. It is the ordinary convolution of an input with (K−1)·d zeros on its left
and none on its right, so at stride 1 the output is as long as the input.

Use it where inputs arrive one after the other and the output may not wait: audio (WaveNet), text,
state-space models (short causal filters), streaming.

Source: van den Oord et al., "WaveNet", arXiv 1609.03499, section 2.1.
"""

from typing import Any

from torch import Tensor

from ....errors import ArgumentError
from .definition import batched, channel_groups, finished, spec_of


def causal_conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """1-D convolution in which output q sees only inputs up to q·stride.

    x [N, C, L] or [C, L], weight [O, C/groups, K], bias [O] -> y [N, O, ⌈L/stride⌉] or
    [O, ⌈L/stride⌉]. The same as `F.conv1d(F.pad(x, ((K − 1)·d, 0)), weight, bias, stride,
    dilation=d, groups=groups)`.

    >>> import torch
    >>> causal_conv1d(torch.tensor([[1, 2, 3, 4]]), torch.tensor([[[10, 1]]]))
    tensor([[ 1, 12, 23, 34]])

    Raises `ArgumentError` or `ArgumentTypeError` for shapes and arguments that do not fit.
    """
    if weight.dim() != 3:
        raise ArgumentError(f"weight must be [O, C/groups, K], got {weight.dim()} dimensions")
    spec = spec_of(x, weight, bias, stride, "causal", dilation, groups)
    (length,), (k,), (s,), (d,) = spec.output_size, spec.kernel_size, spec.stride, spec.dilation
    signal = batched(x, spec)
    y = x.new_zeros(spec.y_shape)
    for o, c in channel_groups(spec):
        for q in range(length):
            for t in range(k):
                moment = q * s - (k - 1 - t) * d
                if moment >= 0:
                    y[:, o, q] += signal[:, c, moment] @ weight[o, :, t].T
    return finished(y, bias, x)
