"""Small weights in another order, and sums of their rows, in a few calls of PyTorch.

    pack = Gathered((8, 4), lambda w: w.t())
    pack(w)                    # w.t(), contiguous

A step of a training packs each weight anew, and in thirty small calls that took longer than the
convolution: 300 µs for 4608 numbers. Where each number comes from is known beforehand, so `order`
is applied once, to the numbers of the places; from then on one `index_select` does all of it. An
index takes more memory than what it says, so a large weight is ordered itself, each time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

_MOST = 1 << 16  # numbers whose places are kept


@dataclass(frozen=True)
class _Places:
    """Where in a weight's memory each number of the result lies."""

    reach: int
    """Numbers from the weight's first to its last."""
    index: Tensor
    shape: torch.Size
    nothing: Tensor | None
    """Where there is no number but 0."""


class Gathered:
    """`pack(w)`: `order(w)`, contiguous, in which sums of rows may take the place of rows.

    `order` gets a tensor of the weight's `shape` and may permute, repeat and pad it with zeros.
    With `factors`, row i along `axis` of what it returns becomes the sum of all rows, each times
    its number in `factors[i]`. The result is float32 where the weight has 16 bits a number.

    >>> pack = Gathered((2, 3), lambda w: w.t(), factors=[[1, 1, 0], [0, 1, -1]], axis=0)
    >>> pack(torch.arange(6.0).view(2, 3))
    tensor([[ 1.,  7.],
            [-1., -1.]])
    """

    def __init__(
        self, shape: Sequence[int], order: Callable[[Tensor], Tensor],
        factors: Sequence[Sequence[float]] | None = None, axis: int = 0,
    ) -> None:  # fmt: skip
        self.shape, self.order, self.axis = tuple(shape), order, axis
        self._factors = factors
        self._places: dict[tuple[int, ...], _Places] = {}
        self._sums: dict[torch.dtype, Tensor] = {}

    def __call__(self, w: Tensor) -> Tensor:
        """The packed weight."""
        if w.dtype.itemsize == 2:
            w = w.to(torch.float32)
        if not 0 < prod(self.shape) <= _MOST:
            return self._summed(self.order(w.reshape(self.shape)).contiguous())
        at = self._places.get(w.stride())
        if at is None:
            at = self._places[w.stride()] = self._found(w)
        numbers = w.as_strided((at.reach,), (1,)).index_select(0, at.index).view(at.shape)
        if at.nothing is not None:
            numbers.masked_fill_(at.nothing, 0)
        return self._summed(numbers)

    def _found(self, w: Tensor) -> _Places:
        """Where the numbers of weights that lie like this one are."""
        places = torch.zeros(w.shape, dtype=torch.long)
        for axis, (size, step) in enumerate(zip(w.shape, w.stride(), strict=True)):
            ones = (1,) * (w.dim() - 1 - axis)
            places += torch.arange(size).view(-1, *ones) * step
        # counted from 1, because 0 is what there is no number for
        ordered = self.order((places + 1).view(self.shape))
        nothing = ordered == 0
        reach = 1 + sum((n - 1) * step for n, step in zip(w.shape, w.stride(), strict=True))
        return _Places(
            reach, (ordered - 1).clamp(min=0).flatten(), ordered.shape,
            nothing if bool(nothing.any()) else None,
        )  # fmt: skip

    def _summed(self, numbers: Tensor) -> Tensor:
        """The sums of rows, if any are wanted."""
        if self._factors is None:
            return numbers
        factors = self._sums.get(numbers.dtype)
        if factors is None:
            ones = (1,) * (numbers.dim() - 1 - self.axis)
            made = torch.tensor(self._factors, dtype=numbers.dtype)
            factors = self._sums[numbers.dtype] = made.view(*made.shape, *ones)
        # no matrix product: a user may let those round to fewer bits
        return (numbers.unsqueeze(self.axis) * factors).sum(self.axis + 1)
