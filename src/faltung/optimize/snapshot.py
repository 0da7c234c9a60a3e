"""Have tensors changed since?

    snapshot = Snapshot([weight, mean], eps)
    snapshot.holds([weight, mean], eps)     # until one is written to or replaced, or eps is another

A tensor counts as unchanged if it is the same object with the same memory, its version counter has
not moved, and its bytes are the same: all of them up to 4 KiB, else some 256 places spread evenly,
as `ops.packed` looks at packed weights and for the same reason: writes through `.data` and training
statistics move no counter. Asked at every call, so all of it takes a third of a microsecond each.
"""

from collections.abc import Sequence
from operator import is_
from typing import Any

import torch
from torch import Tensor

_WHOLE_BYTES = 4096
_PLACES = 256
_PLACE = 8  # bytes


class Snapshot:
    """What some tensors in memory, and a number, are like now; none may be of inference mode."""

    __slots__ = ("_addresses", "_number", "_places", "_samples", "_tensors", "_versions")

    def __init__(self, tensors: Sequence[Tensor], number: float = 0.0) -> None:
        self._number = number
        self._tensors = tuple(tensors)
        self._versions = [t._version for t in tensors]
        self._addresses = [t.data_ptr() for t in tensors]
        self._places = [_places(t) for t in tensors]
        self._samples = [p.tobytes() for p in self._places]

    def holds(self, tensors: Sequence[Tensor], number: float = 0.0) -> bool:
        """Whether these are the same tensors, and as they were, and the same number.

        >>> t = torch.ones(3)
        >>> snapshot = Snapshot([t])
        >>> t.data.mul_(2).sum(), snapshot.holds([t])
        (tensor(6.), False)
        """
        return (
            len(tensors) == len(self._tensors)
            and number == self._number
            and all(map(is_, tensors, self._tensors))
            and [t._version for t in tensors] == self._versions
            and [t.data_ptr() for t in tensors] == self._addresses
            and [p.tobytes() for p in self._places] == self._samples
        )


def _places(t: Tensor) -> Any:
    """The bytes of a tensor that are compared, as an array that holds on to their memory."""
    span = sum((n - 1) * s for n, s in zip(t.shape, t.stride(), strict=True)) + 1
    span = span * t.element_size() if t.numel() else 0
    begin = t.storage_offset() * t.element_size()
    with torch.no_grad(), torch.inference_mode(mode=False):
        memory: Any = torch.empty(0, dtype=torch.uint8, device="cpu")
        found = memory.set_(t.untyped_storage(), begin, (span,)).numpy()
    if span <= _WHOLE_BYTES:
        return found
    step = (span // _PLACES - 1) | 1  # odd: sizes of weights are even, and would keep time with it
    return found[: span // _PLACE * _PLACE].view("uint64")[:: max(1, step // _PLACE) | 1]
