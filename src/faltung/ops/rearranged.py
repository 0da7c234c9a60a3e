"""Copies of weights in another order of their axes, as fast as memory allows.

    copy = Rearranged(sizes, order)
    copy(w)                    # w.reshape(sizes).permute(order), contiguous

PyTorch copies number by number where rows of the source are columns of the copy: 2.5 ms for a
weight that is convolved in 1.1, at every step of a training. A routine that turns squares of
numbers in registers takes a tenth of that. It is made once a weight has been copied a few times;
until then, and so for every weight that stays as it is, PyTorch does it: compiling takes as long as
some ten copies.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..lang.compile import compiled
from ..lang.target import host_target, unavailable
from ..parts import copying, transpose
from .calling import allocator
from .operands import dtype_name

_PATIENCE = 3  # copies that PyTorch makes
_SMALL = 1 << 12  # numbers that PyTorch copies no slower
_SOURCES = [__file__, str(copying.__file__), str(transpose.__file__)]
_KINDS = {torch.float32: 4, torch.float64: 8, torch.bfloat16: 4, torch.float16: 4}

Copy = Callable[[Tensor, Tensor | None], Tensor]


class Rearranged:
    """`copy(w)`: w seen with these sizes, its axes in that order, copied contiguously.

    `backwards` are axes, by their number in `sizes`, that are run through from their ends. The copy
    is float32 where `w` has 16 bits a number.

    >>> Rearranged((2, 3), (1, 0), backwards=(1,))(torch.arange(6.0))
    tensor([[2., 5.],
            [1., 4.],
            [0., 3.]])
    """

    def __init__(
        self, sizes: Sequence[int], order: Sequence[int], backwards: Sequence[int] = ()
    ) -> None:
        self.sizes, self.order, self.backwards = tuple(sizes), tuple(order), tuple(backwards)
        self._asked = 0
        self._made: dict[tuple[torch.dtype, tuple[int, ...]], Copy] = {}

    def __call__(self, w: Tensor, into: Tensor | None = None) -> Tensor:
        """The copy; in memory that is given, if any is."""
        self._asked += 1
        if self._asked > _PATIENCE and w.numel() > _SMALL and w.dtype in _KINDS:
            key = (w.dtype, w.stride())
            if key not in self._made:
                self._made[key] = self._compiled(w) or self._by_pytorch
            return self._made[key](w, into)
        return self._by_pytorch(w, into)

    def _by_pytorch(self, w: Tensor, into: Tensor | None = None) -> Tensor:
        seen = w.reshape(self.sizes).permute(self.order)
        turned = [n for n, axis in enumerate(self.order) if axis in self.backwards]
        wide = torch.float32 if w.dtype.itemsize == 2 else w.dtype
        seen = seen.flip(turned) if turned else seen
        return seen.to(wide).contiguous() if into is None else into.view(seen.shape).copy_(seen)

    def _compiled(self, w: Tensor) -> Copy | None:
        """The routine for such weights; None where it would gain nothing."""
        if unavailable() is not None:
            return None
        try:
            seen = w.view(self.sizes)
        except RuntimeError:  # its axes do not lie in each other
            return None
        sizes = [self.sizes[axis] for axis in self.order]
        steps = [
            -seen.stride(axis) if axis in self.backwards else seen.stride(axis)
            for axis in self.order
        ]
        axes = copying.merged(sizes, steps)
        if not copying.has_squares(axes):
            return None
        numbers = 1 + sum((axis.size - 1) * abs(axis.source) for axis in axes)
        wide = torch.float32 if w.dtype.itemsize == 2 else w.dtype
        dtypes = (dtype_name(w), str(wide).removeprefix("torch."))
        lanes = host_target().lanes(_KINDS[w.dtype])
        routine = compiled(
            f"rearranged {axes} {numbers} {dtypes}", 2,
            lambda: copying.CopyRoutine("rearranged", axes, numbers, dtypes, lanes).r,
            sources=_SOURCES,
        )  # fmt: skip

        make = allocator(sizes, dtypes[1], "contiguous")

        def copy(w: Tensor, into: Tensor | None) -> Tensor:
            made = make() if into is None else into.view(sizes)
            routine(torch.get_num_threads(), made.data_ptr(), w.data_ptr())
            return made

        return copy


def rearranged_seconds(numbers: int, item_size: int, bandwidth: float) -> float:
    """About how long a copy of so many numbers takes, once there is a routine for it."""
    return 10e-6 + 3 * numbers * item_size / bandwidth
