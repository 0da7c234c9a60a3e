"""Convolution by the Fourier transform: a product per frequency instead of a sum per tap.

    F y[n, o] = Σ_c  F x[n, c] ⊙ conj(F w[o, c])              F the discrete Fourier transform

    F x[k] = Σ_j x[j]·e^(−2πi·k·j/P)

The convolution theorem says that the transform turns a circular convolution into a product. Our
convolution is a correlation: it reads x[q + t], where a mathematician's convolution reads x[q − t].
Turning t round turns e^(−2πi·k·t/P) into its conjugate, hence the conj (of a real weight).

Circular means that positions wrap around at P. Windows that stay inside the padded input never
wrap, so P is the size of the padded input and the outputs past the last whole window are dropped.
Stride keeps every s-th output of the result for stride 1; dilation puts holes in the weight.

Use it for large kernels: the work is ∏P·log ∏P whatever K is. Not for small kernels, strides and
few channels, where the transforms cost more than the taps. It rounds: every output carries an error
in proportion to the norms of x and w, not to its own size.

Source: Mathieu, Henaff and LeCun, "Fast Training of Convolutional Networks through FFTs",
arXiv 1312.5851, section 2.
"""

import math
from typing import Any

import torch
from torch import Tensor

from ....errors import ArgumentTypeError
from .definition import batched, channel_groups, finished, spec_of, zero_padded

DTYPES = (torch.float32, torch.float64, torch.complex64, torch.complex128)


def dft(x: Tensor) -> Tensor:
    """The discrete Fourier transform of the last axis as a matrix product.

    [..., P] real or complex -> [..., P] complex. The same as `torch.fft.fft(x)`, which needs
    P·log P steps instead of P². A matrix of waves: row k measures how much of x swings k times.

    >>> import torch
    >>> dft(torch.tensor([1.0, 1.0, 1.0, 1.0])).abs().round()  # a constant swings zero times
    tensor([4., 0., 0., 0.])

    Raises `ArgumentTypeError` for other dtypes than float32, float64 and their complex ones.
    """
    _check_dtype(x)
    size = x.shape[-1]
    k = torch.arange(size, device=x.device)
    turns = (k[:, None] * k % size).double() / size  # whole turns taken off while exact
    waves = torch.polar(torch.ones_like(turns), -2 * math.pi * turns)  # e^(−2πi·k·j/P), symmetric
    complex_dtype = x.dtype.to_complex()
    return x.to(complex_dtype) @ waves.to(complex_dtype)


def conv_fft(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution as a product of Fourier transforms, in 1-D to 3-D.

    x [N, C, in…] or [C, in…], w [O, C/groups, K…], b [O] -> y [N, O, out…] or [O, out…]. The same
    as `F.conv2d(x, w, b, stride, padding, dilation, groups)`, up to rounding.

    >>> import torch
    >>> x = torch.arange(16.0, dtype=torch.float64).reshape(1, 1, 4, 4)
    >>> conv2d_fft(x, torch.ones(1, 1, 3, 3, dtype=torch.float64)).round()
    tensor([[[[45., 54.],
              [81., 90.]]]], dtype=torch.float64)

    Raises `ArgumentError` for shapes and arguments that do not fit, `ArgumentTypeError` for other
    dtypes than float32, float64 and their complex ones.
    """
    _check_dtype(x)
    spec = spec_of(x, w, b, stride, padding, dilation, groups)
    padded = zero_padded(batched(x, spec), spec.padding)
    holes = w.new_zeros(*w.shape[:2], *padded.shape[2:])
    holes[:, :, *(slice(0, a.span, a.dilation) for a in spec.axes)] = w

    if not spec.batch:
        return finished(x.new_zeros(spec.y_shape), b, x)  # some FFT libraries refuse empty arrays

    spatial = list(range(2, w.dim()))
    fx = torch.fft.fftn(padded, dim=spatial)  # [N, C, P…]
    fw = torch.fft.fftn(holes.conj(), dim=spatial).conj()  # conj twice: e^(+…), w itself untouched
    fy = torch.cat(
        [torch.einsum("nc...,oc...->no...", fx[:, c], fw[o]) for o, c in channel_groups(spec)],
        dim=1,
    )
    wrapped = torch.fft.ifftn(fy, dim=spatial)
    kept = (slice(0, (a.output_size - 1) * a.stride + 1, a.stride) for a in spec.axes)
    y = wrapped[:, :, *kept]
    return finished(y if x.is_complex() else y.real, b, x)


conv2d_fft = conv_fft  # the weight decides how many dimensions


def _check_dtype(x: Tensor) -> None:
    if x.dtype not in DTYPES:
        listed = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
        raise ArgumentTypeError(f"a Fourier transform needs one of {listed}, got {x.dtype}")
