"""Images that lie anyhow, for algorithms that know dense ones.

    run(x, w) = inner(x laid out contiguously, w)

A row of every second pixel, a cut out of a larger image, words of all channels side by side in a
signal ([N, L, C] seen as [N, C, L], as models of language have them): `strided` in a spec. PyTorch
copies such images before it convolves, and so does this, with a routine where that is faster
(`layouts`). The copy is in the estimate, and a plan shows the convolution that is really done.

Whoever reads strided images himself keeps doing so: `native_torch` hands them to PyTorch.
"""

from dataclasses import replace
from math import prod

from torch import Tensor

from ...machine import Machine
from ...planning import Algorithm, Run
from ..layouts import laid_out
from .spec import ConvSpec

_CALL_SECONDS = 1e-6
_TURNING = 2.0  # times as long as copying in the same order


class DenseMemory(Algorithm):
    """An algorithm that is given contiguous images in the place of strided ones."""

    def __init__(self, inner: Algorithm) -> None:
        self._inner = inner
        self.tasks, self.weight_seconds = inner.tasks, inner.weight_seconds
        self.error_factor, self.deterministic = inner.error_factor, inner.deterministic

    @property
    def name(self) -> str:
        """The algorithm's own."""
        return self._inner.name

    def rewritten(self, spec: ConvSpec) -> ConvSpec:
        """What the algorithm does with the copy."""
        really: ConvSpec = self._inner.rewritten(_dense(spec))
        return really

    def unsupported(self, spec: ConvSpec) -> list[str]:
        """What keeps the algorithm from the copy."""
        return self._inner.unsupported(_dense(spec))

    def seconds(self, spec: ConvSpec, machine: Machine) -> float:
        """The algorithm's, and the copy's."""
        seconds = self._inner.seconds(_dense(spec), machine)
        if spec.layout == "strided":
            seconds += _CALL_SECONDS + machine.moving(2 * _TURNING * _bytes(spec))
        return seconds

    def preparing(self, spec: ConvSpec, machine: Machine) -> float:
        """What the algorithm makes of a weight."""
        return self._inner.preparing(_dense(spec), machine)

    def workspace(self, spec: ConvSpec) -> int:
        """The algorithm's, and the copy."""
        copy = _bytes(spec) if spec.layout == "strided" else 0
        return self._inner.workspace(_dense(spec)) + copy

    def build(self, spec: ConvSpec) -> Run:
        """What the algorithm builds, behind the copy if there is one."""
        convolve = self._inner.build(_dense(spec))
        if spec.layout != "strided":
            return convolve

        def run(image: Tensor, w: Tensor, *added: Tensor | None) -> Tensor:
            made: Tensor = convolve(laid_out(image, "contiguous"), w, *added)
            return made

        return run


def _dense(spec: ConvSpec) -> ConvSpec:
    return replace(spec, layout="contiguous") if spec.layout == "strided" else spec


def _bytes(spec: ConvSpec) -> int:
    """Bytes of the image that is copied."""
    return prod(spec.x_shape if spec.task == "forward" else spec.y_shape) * spec.item_size
