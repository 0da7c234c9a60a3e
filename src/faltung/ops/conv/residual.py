"""A residual added to the result, also where an algorithm only convolves.

    y = activation(conv(x, w) + b + residual)

He and others' blocks (arXiv 1512.03385, section 3.2) end so, RegNet's and MobileNetV2's as well.
An algorithm that `adds` does it in its own store, where a sum is still in a register: the residual
is read, and that is all. For every other there is `Adding`, which has it convolve without an
activation, then adds and activates where the result lies: a pass, or two, over the result, in no
new memory. They are in the estimate, and a plan shows the convolution that is really done.

A residual that lies in another memory layout than the result (`residual_apart` in the spec) is
brought into that first: PyTorch's addition of large ones takes twenty times as long else.

Numbers of 16 bits are rounded once by those that add, and before the addition as well by `Adding`
(the sum is then what `conv(x, w, b) + residual` gives in PyTorch).
"""

from dataclasses import replace
from math import prod

from torch import Tensor

from ...machine import Machine
from ...planning import Algorithm, Run
from ..activations import activate, activate_in_place
from ..layouts import laid_out
from ..operands import lies, plain_memory
from .spec import ConvSpec

_CALL_SECONDS = 1e-6  # of one of PyTorch's passes
_TURNING = 3.0  # times as long as copying, to bring numbers into another order
# of the numbers of the result, read and written as copies are: what is written was read before
_SUM, _ACTIVATION = 2.0, 1.4


class Adding(Algorithm):
    """An algorithm, and a residual that it adds or that is added to what it makes."""

    def __init__(self, inner: Algorithm) -> None:
        self._inner = inner
        self.tasks, self.weight_seconds = inner.tasks, inner.weight_seconds
        self.error_factor, self.deterministic = inner.error_factor, inner.deterministic

    @property
    def name(self) -> str:
        """The algorithm's own."""
        return self._inner.name

    def adds(self, spec: ConvSpec) -> bool:
        """Always."""
        return True

    def rewritten(self, spec: ConvSpec) -> ConvSpec:
        """What the algorithm really does."""
        really: ConvSpec = self._inner.rewritten(self._left(spec))
        return really

    def unsupported(self, spec: ConvSpec) -> list[str]:
        """What keeps the algorithm from the convolution."""
        return self._inner.unsupported(self._left(spec))

    def seconds(self, spec: ConvSpec, machine: Machine) -> float:
        """The convolution's, and what is done besides."""
        left = self._left(spec)
        return self._inner.seconds(left, machine) + self._besides(spec, left, machine)

    def preparing(self, spec: ConvSpec, machine: Machine) -> float:
        """What the algorithm makes of a weight."""
        return self._inner.preparing(self._left(spec), machine)

    def workspace(self, spec: ConvSpec) -> int:
        """The algorithm's, and a residual in another order."""
        left = self._left(spec)
        brought = _result_bytes(spec) if spec.residual_apart else 0
        return self._inner.workspace(left) + brought

    def build(self, spec: ConvSpec) -> Run:
        """`run(first, second, bias, residual)`; without a residual what the algorithm builds."""
        left = self._left(spec)
        convolve = self._inner.build(left)
        if not spec.residual:
            return convolve
        run = convolve if left.residual else _adding(convolve, spec.activation)
        return _bringing(run, spec.result_layout) if spec.residual_apart else run

    def _left(self, spec: ConvSpec) -> ConvSpec:
        """What is left to the algorithm."""
        if not spec.residual:
            return spec
        if self._inner.adds(spec):
            return replace(spec, residual_apart=False)
        return replace(spec, residual=False, residual_apart=False, activation=None)

    def _besides(self, spec: ConvSpec, left: ConvSpec, machine: Machine) -> float:
        """Seconds of the passes over the residual and the result."""
        size = _result_bytes(spec)
        turning = 2 * size * _TURNING / machine.bandwidth if spec.residual_apart else 0.0
        if spec.residual == left.residual:
            return turning
        found = turning + _CALL_SECONDS + machine.moving(_SUM * size)
        if spec.activation is not None:
            found += _CALL_SECONDS + machine.moving(_ACTIVATION * size)
        return found


def _result_bytes(spec: ConvSpec) -> int:
    return prod(spec.result_shape) * spec.item_size


def _adding(convolve: Run, activation: str | None) -> Run:
    """The convolution, the sum, its activation."""

    def run(first: Tensor, second: Tensor, bias: Tensor | None, residual: Tensor) -> Tensor:
        y: Tensor = convolve(first, second) if bias is None else convolve(first, second, bias)
        if plain_memory(y, residual):
            return activate_in_place(activation, y.add_(residual))
        return activate(activation, y + residual)

    return run


def _bringing(run: Run, layout: str) -> Run:
    """The same with a residual that lies anyhow."""

    def brought(first: Tensor, second: Tensor, bias: Tensor | None, residual: Tensor) -> Tensor:
        if plain_memory(residual) and not lies(residual, layout):
            residual = laid_out(residual, layout)
        y: Tensor = run(first, second, bias, residual)
        return y

    return brought
