import pytest
import torch

from faltung.tools.demo.photograph import PhotographSource, load

PHOTO = load(60, 50)


def test_the_photograph_is_fitted_and_real():
    assert PHOTO.shape == (1, 3, 60, 50)
    assert PHOTO.dtype == torch.float32
    assert 0 <= PHOTO.min() < 0.1 and 0.9 < PHOTO.max() <= 1
    assert PHOTO.flatten(2).std(-1).min() > 0.1


@pytest.mark.parametrize("rows, columns", [(40, 80), (90, 30)])
def test_other_proportions_are_cropped_not_stretched(rows, columns):
    assert load(rows, columns).shape == (1, 3, rows, columns)


SHAPES = [
    (2, 3, 8, 9),
    (1, 4, 60, 50),
    (2, 2, 3, 5, 7),
    (3, 70, 2),
    (5000,),
    (1, 1, 1, 1),
    (0, 2, 4),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.complex64])
def test_shapes_and_dtypes(shape, dtype):
    source = PhotographSource(PHOTO)
    for numbers in (source.whole(shape, dtype), source.real(shape, dtype)):
        assert numbers.shape == shape
        assert numbers.dtype == dtype
        assert torch.isfinite(numbers).all()


def test_whole_numbers_are_whole_small_and_about_equally_frequent():
    numbers = PhotographSource(PHOTO).whole((20, 3, 16, 16), torch.float32)
    values, counts = numbers.unique(return_counts=True)
    assert values.tolist() == [-3, -2, -1, 0, 1, 2, 3]
    assert counts.min() * 4 > counts.max()


def test_real_numbers_are_pixels_less_the_mean():
    source = PhotographSource(PHOTO)
    whole = source.real((1, 3, 60, 50), torch.float64)
    restored = whole * PHOTO.std() + PHOTO.mean()
    assert all(
        any(torch.allclose(channel, colour.double()) for colour in PHOTO[0])
        for channel in restored[0]
    )


def test_small_patches_vary():
    patches = PhotographSource(PHOTO).real((64, 1, 3, 3), torch.float32)
    assert (patches.flatten(1).std(1) > 0.05).float().mean() > 0.9


def test_the_same_in_every_run_but_not_in_every_call():
    first, second = PhotographSource(PHOTO), PhotographSource(PHOTO)
    a, b = first.real((2, 3, 8, 8), torch.float32), second.real((2, 3, 8, 8), torch.float32)
    assert torch.equal(a, b)
    assert not torch.equal(a, first.real((2, 3, 8, 8), torch.float32))
