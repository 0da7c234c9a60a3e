"""What Winograd's filtering makes of a weight, by a routine: `TransformedFilters(spec, layout)(w)`.

Every algorithm that filters so reads its weight in this form, which is kept while the weight stays
as it is. In training it is made at every step: then it should take no longer than writing it.
"""

import torch
from torch import Tensor

from ...lang.compile import Compiled, compiled
from ...parts import transpose
from ...parts.winograd import problem as winograd_problem
from ...parts.winograd import tiles as winograd_tiles
from ...parts.winograd import transforms as winograd_transforms
from ...parts.winograd import weights
from ...parts.winograd.problem import Layout
from ...parts.winograd.weights import FilterRoutine, Filters
from ..calling import allocator
from ..scratch import with_scratch
from .spec import ConvSpec

_PARTS = (transpose, weights, winograd_problem, winograd_tiles, winograd_transforms)
_ORDERS = {4: torch.channels_last, 5: torch.channels_last_3d}
_SOURCES = [__file__, *(str(part.__file__) for part in _PARTS)]


class TransformedFilters:
    """`made(w)`: the weight of a spec, transformed for a layout of its task's convolution.

    w is [O, C / groups, taps of each axis], contiguous or channels last.
    """

    def __init__(self, spec: ConvSpec, layout: Layout) -> None:
        self.spec, self.layout = spec, layout
        # in the memory of the form before, which is dropped by then
        self._make = allocator((layout.weights,), layout.problem.wide_dtype, "contiguous")
        self._routines: dict[tuple[int, ...], Compiled] = {}

    def __call__(self, w: Tensor) -> Tensor:
        """The transformed weight, as the routine of `parts/winograd` reads it."""
        spec, problem = self.spec, self.layout.problem
        if turned := problem.inlet or problem.outlet:
            missing = (1,) * (3 - spec.dims)
            w = turned.weight(w.reshape(*w.shape[:2], *missing, *spec.kernel_size)).contiguous()
        steps = w.stride()
        if steps not in self._routines:
            w = _dense(w)
            steps = w.stride()
        routine = self._routines.get(steps) or self._compiled(w, steps)
        made = self._make()
        routine(torch.get_num_threads(), made.data_ptr(), w.data_ptr())
        return made

    def _compiled(self, w: Tensor, steps: tuple[int, ...]) -> Compiled:
        """The routine for weights that lie like this one."""
        problem, cutting = self.layout.problem, self.layout.cutting
        filters = self._filters(w)
        made = self._routines[steps] = with_scratch(compiled(
            f"winograd filters {filters} {problem} {cutting}", weights.BUFFERS,
            lambda: FilterRoutine(self.layout, filters).r, sources=_SOURCES,
        ))  # fmt: skip
        return made

    def _filters(self, w: Tensor) -> Filters:
        """How a dense weight lies: its filters one after the other."""
        one, each, taps = w[0].numel(), w.shape[0] // self.spec.groups, w[0, 0].numel()
        channel, tap = (taps, 1) if w.is_contiguous() else (1, w.shape[1])
        if self.spec.task == "forward" or self.layout.problem.outlet:
            return Filters(w.numel(), each * one, one, channel, tap)
        return Filters(w.numel(), each * one, channel, one, tap, backwards=True)


def _dense(w: Tensor) -> Tensor:
    """The weight, or if it lies neither contiguously nor channels last, a copy that does."""
    order = _ORDERS.get(w.dim())
    if order is not None and w.is_contiguous(memory_format=order):
        return w
    return w.contiguous()
