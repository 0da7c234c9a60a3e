import math

import pytest
import torch
from torch.nn import functional as F

from faltung.by_hand import conv, conv2d_fft, conv_fft, dft
from faltung.errors import ArgumentTypeError


def test_whole_numbers_come_out_when_rounded(zero_padding_problem):
    x, w, b = zero_padding_problem.tensors()
    y = conv_fft(x, w, b, **zero_padding_problem.arguments)
    assert y.dtype == torch.float64
    assert torch.equal(y.round(), zero_padding_problem.expected(x, w, b))


def test_the_name_of_the_textbook():
    assert conv2d_fft is conv_fft


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_errors_stay_within_the_budget(dtype):
    """Higham, "Accuracy and Stability of Numerical Algorithms", theorem 24.2, for powers of two.

    A transform of P numbers has a relative error of at most log2(P)·(eta + …) in the 2-norm, with
    eta = mu + (4u/(1 − 4u))·(√2 + mu) and mu the error of the roots of unity; ours are correct to
    about a rounding, mu = u.
    """
    generator = torch.Generator().manual_seed(0)
    x, w = (
        torch.randn(1, 3, 16, 16, generator=generator),
        torch.randn(2, 3, 5, 4, generator=generator),
    )
    unit = torch.finfo(dtype).eps / 2
    eta = unit + 4 * unit / (1 - 4 * unit) * (math.sqrt(2) + unit)
    share = 3 * math.log2(16 * 16) * eta + (x.shape[1] + 3) * unit  # two there, one back; a product
    exact = conv(x.double(), w.double())
    y = conv_fft(x.to(dtype), w.to(dtype))
    assert y.dtype == dtype
    norms = (w.double().flatten(2).norm(dim=2) * x.double().flatten(2).norm(dim=2)).sum(dim=1)
    error = (y.double() - exact).flatten(2).norm(dim=2)
    # an error of F w may gather at one frequency, √P times the root mean square of all of them
    bound = share * math.sqrt(16 * 16) * norms
    assert (error <= bound).all()
    assert (bound < exact.flatten(2).norm(dim=2)).all()  # zeros would fail


def test_complex_conjugates_nothing():
    x = torch.tensor([[[1 + 2j, 3 - 1j, 2j]]], dtype=torch.complex128)
    w = torch.tensor([[[2 + 1j, 1j]]], dtype=torch.complex128)
    y = conv_fft(x, w)
    assert y.dtype == torch.complex128
    assert torch.equal(torch.view_as_real(y).round(), torch.view_as_real(conv(x, w)))


def test_without_the_conjugate_it_is_the_flipped_filter(whole_numbers):
    x, w = whole_numbers(1, 1, 8), whole_numbers(1, 1, 3, seed=2)
    product = torch.fft.fft(x) * torch.fft.fft(F.pad(w, (0, 5)))
    whole_windows = torch.fft.ifft(product).real.round()[..., 2:]
    assert torch.equal(whole_windows, F.conv1d(x, w.flip(-1)))


@pytest.mark.parametrize("size", [1, 2, 5, 12])
def test_dft_of_single_waves(size):
    # e^(2πi·f·j/P) swings f times: all of it stands at frequency f
    j = torch.arange(size, dtype=torch.float64)
    for f in range(size):
        wave = torch.polar(torch.ones_like(j), 2 * math.pi * (f * j % size) / size)
        spectrum = torch.view_as_real(dft(wave)).round()
        assert spectrum[:, 0].tolist() == [size if k == f else 0 for k in range(size)]
        assert spectrum[:, 1].abs().max() == 0


@pytest.mark.parametrize("shape", [(7,), (3, 8), (1, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64, torch.complex128])
def test_dft_is_the_fourier_transform(shape, dtype):
    x = torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(0))
    exact = torch.fft.fft(x.to(torch.complex128))
    y = dft(x)
    assert y.shape == exact.shape
    assert y.dtype == dtype.to_complex()
    # a sum of P complex products, each of two roundings and a rounded wave, error in proportion
    budget = (2 * shape[-1] + 4) * torch.finfo(dtype).eps * x.abs().double().sum(-1, keepdim=True)
    assert ((y - exact).abs() <= budget).all()


def test_dft_of_nothing():
    assert dft(torch.zeros(0, 4)).shape == (0, 4)


def test_the_convolution_theorem_by_matrix_product(whole_numbers):
    x, w = whole_numbers(6), whole_numbers(6, seed=2)
    circular = [sum(x[(q + t) % 6] * w[t] for t in range(6)) for q in range(6)]
    spectrum = dft(x) * dft(w).conj()
    back = dft(spectrum.conj()).conj() / 6  # the inverse transform, by the same matrix
    assert back.real.round().tolist() == circular


@pytest.mark.parametrize("dtype", [torch.int64, torch.bfloat16, torch.float16])
def test_mistakes_are_explained(dtype):
    x = torch.ones(1, 1, 4, dtype=dtype)
    with pytest.raises(ArgumentTypeError, match=f"needs one of float32, float64, .*, got {dtype}"):
        conv_fft(x, x)
    with pytest.raises(ArgumentTypeError, match="needs one of float32"):
        dft(x)
