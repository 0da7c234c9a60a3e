"""Pointwise (1×1) convolution: mixes the channels at each point and looks at no neighbour.

    y[n, o, q] = b[o] + Σ_c w[o, c] · x[n, c, q]

"Pointwise" says what is looked at: one point at a time, and there all channels. It is one matrix
[O, C], the same at every position: a fully connected layer applied to each pixel.

Use it to change the number of channels, and after a depthwise convolution, which leaves the
channels unmixed. It is a plain matrix product, so nothing runs faster per multiplication.

Source: Lin, Chen and Yan, "Network In Network", arXiv 1312.4400, section 3.1.
"""

from torch import Tensor

from ....errors import ArgumentError
from .definition import batched, finished, spec_of


def pointwise(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """1×1 convolution as a matrix product over channels, in 1-D to 3-D.

    x [N, C, in…] or [C, in…], w [O, C, 1…], b [O] -> y [N, O, in…] or [O, in…]. The same as
    `F.conv2d(x, w, b)`.

    >>> import torch
    >>> x = torch.tensor([[1, 2, 3], [4, 5, 6]])  # two channels, three points
    >>> pointwise(x, torch.tensor([[[1], [10]]]))
    tensor([[41, 52, 63]])

    Raises `ArgumentError` for a kernel size other than 1 and for shapes that do not fit.
    """
    spec = spec_of(x, w, b)
    if spec.taps != 1:
        raise ArgumentError(f"a pointwise weight has kernel size 1, got {spec.kernel_size}")
    y = w.flatten(1) @ batched(x, spec).flatten(2)  # [O, C] · [N, C, points]
    return finished(y.reshape(spec.y_shape), b, x)
