"""What reads inputs and writes outputs of Winograd's filtering that lie elsewhere in memory."""

from typing import Protocol

from torch import Tensor

from ...lang.ops import Buffer
from ...lang.routine import Value
from .strips import Channels, Runs, Strip


class Outlet(Protocol):
    """Where the outputs of a problem belong; it must be hashable, as a part of the problem.

    Each of the problem's outputs has a place of its own in the result, or none.
    """

    @property
    def together(self) -> int:
        """Vectors of output channels that are written together; 0 if any number can be."""

    def numbers(self, batch: int) -> int:
        """Numbers of the result."""

    def weight(self, w: Tensor) -> Tensor:
        """The weight as that of the problem, [groups · outputs, inputs, depth, high, wide]."""

    def bias(self, b: Tensor) -> Tensor:
        """The bias of each of the problem's outputs."""

    def drain(
        self, strip: Strip, y: Buffer, group: Value, of: Channels, high: Runs, wide: Runs
    ) -> None:
        """Record how a strip of outputs is written to y."""


class Inlet(Protocol):
    """Where the inputs of a problem are; it must be hashable, as a part of the problem."""

    @property
    def together(self) -> int:
        """Vectors of input channels that are read together; 0 if any number can be."""

    def numbers(self, batch: int) -> int:
        """Numbers of the image."""

    def weight(self, w: Tensor) -> Tensor:
        """The weight as that of the problem, [groups · outputs, inputs, depth, high, wide]."""

    def fill(
        self, strip: Strip, x: Buffer, group: Value, of: Channels, high: Runs, wide: Runs
    ) -> None:
        """Record how a strip of inputs is read from x, with zeros for what is not there."""
