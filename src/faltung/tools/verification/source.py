"""Where the numbers of a check come from: a fixed seed, or pictures that the caller has."""

from typing import Protocol

import torch
from torch import Tensor

_SEED = 20
_LARGEST = 3  # of the whole numbers: small enough for exact sums, even in bfloat16


class DataSource(Protocol):
    """Images for the checks; weights are always random."""

    def whole(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """An image of whole numbers of at most 3 in magnitude."""

    def real(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """An image of numbers of about 1 in magnitude, in the dtype."""


class RandomSource:
    """Random numbers, the same in every run."""

    def __init__(self) -> None:
        self._generator = torch.Generator().manual_seed(_SEED)

    def whole(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Whole numbers from −3 to 3; complex ones have two such parts."""
        if dtype.is_complex:
            parts = [self.whole(shape, dtype.to_real()) for _ in range(2)]
            return torch.complex(*parts)
        numbers = torch.randint(-_LARGEST, _LARGEST + 1, shape, generator=self._generator)
        return numbers.to(dtype)

    def real(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Normally distributed numbers, rounded to the dtype."""
        wide = torch.complex128 if dtype.is_complex else torch.float64
        return torch.randn(shape, generator=self._generator, dtype=wide).to(dtype)


class Numbers:
    """The numbers of one system: images from a source, weights random."""

    def __init__(self, source: DataSource) -> None:
        self._images = source
        self._weights = RandomSource()

    def image(self, shape: tuple[int, ...], dtype: torch.dtype, *, whole: bool) -> Tensor:
        """An operand that is looked at."""
        return (self._images.whole if whole else self._images.real)(shape, dtype)

    def weight(self, shape: tuple[int, ...], dtype: torch.dtype, *, whole: bool) -> Tensor:
        """An operand that is learned: weight, bias, offset, or a gradient that comes in."""
        return (self._weights.whole if whole else self._weights.real)(shape, dtype)
