"""A convolution as a matrix product: its sizes, in plain numbers.

    y[q, o] = Σ_{t, c} x[q·s − low + t·d, c] · w[t, c, o]          in every group

The rows of the product are output positions q, its columns output channels o, and the sum runs over
kernel taps t and input channels c.
"""

from dataclasses import dataclass
from functools import cached_property

from ...lang.ops import STORAGE

_IN_REGISTERS = {"f32": ("float32", 4), "f64": ("float64", 8)}


@dataclass(frozen=True)
class Span:
    """One axis: how many outputs there are, and what their windows see."""

    outputs: int = 1
    inputs: int = 1
    kernel_size: int = 1
    stride: int = 1
    low: int = 0
    dilation: int = 1

    def place(self, output: int, tap: int) -> int:
        """Which input a tap of an output reads; may lie outside."""
        return output * self.stride - self.low + tap * self.dilation

    def reach(self, outputs: int) -> int:
        """Inputs from the first to the last that so many neighbouring outputs see."""
        return (outputs - 1) * self.stride + (self.kernel_size - 1) * self.dilation + 1

    def copied(self, outputs: int) -> int:
        """Inputs to copy for so many outputs: with those in between, or each tap's by itself."""
        return min(self.reach(outputs), outputs * self.kernel_size)

    def is_inside(self, first: int, size: int) -> bool:
        """Whether none of `size` outputs from `first` on sees padding."""
        last = self.place(first + size - 1, self.kernel_size - 1)
        return self.place(first, 0) >= 0 and last < self.inputs

    @property
    def is_padded(self) -> bool:
        """Whether any window sees padding."""
        return not self.is_inside(0, self.outputs)

    def taps(self, first: int, size: int) -> int:
        """Taps through which any of `size` outputs from `first` on sees the input."""
        begin = max(0, -(self.place(first + size - 1, 0) // self.dilation))
        end = -((self.place(first, 0) - self.inputs) // self.dilation)
        return max(0, min(self.kernel_size, end) - begin)

    def seen(self, size: int) -> float:
        """The part of all taps that outputs see, or others in their tile of at most that size."""
        starts, missed = range(0, self.outputs, size), 0
        for some in (starts, starts[::-1]):
            for first in some:
                outputs = min(size, self.outputs - first)
                misses = self.kernel_size - self.taps(first, outputs)
                if not misses:
                    break
                missed += misses * outputs
            else:
                break  # there is no tile that sees everything
        return 1 - missed / (self.outputs * self.kernel_size)


@dataclass(frozen=True)
class GemmProblem:
    """The convolution of `batch` images; in fewer dimensions the leading spans have size 1.

    `channels_last` is the order of image and result, `dtype` what they are kept in; `lanes` numbers
    make a vector, and there are `registers` for those. `cache` is the bytes of a core's second
    cache, and `cores` how many there are.
    """

    batch: int
    groups: int
    inputs: int
    """Channels of a group."""
    outputs: int
    """Channels of a group."""
    depth: Span
    rows: Span
    columns: Span
    channels_last: bool
    dtype: str
    bias: bool
    activation: str | None
    lanes: int
    registers: int
    cache: int
    cores: int
    residual: bool = False

    @property
    def kind(self) -> str:
        """What numbers are in registers."""
        return STORAGE[self.dtype][0]

    @property
    def wide(self) -> str:
        """The dtype of numbers in memory that are as in registers."""
        return _IN_REGISTERS[self.kind][0]

    @property
    def item_size(self) -> int:
        """Bytes of a number in a register."""
        return _IN_REGISTERS[self.kind][1]

    @property
    def line(self) -> int:
        """Numbers in a cache line."""
        return 64 // self.item_size

    @property
    def channel_lanes(self) -> int:
        """Numbers in a vector of output channels: half as many while all channels fit in that."""
        lanes = self.lanes
        while lanes > 4 and self.outputs <= lanes // 2:
            lanes //= 2
        return lanes

    @property
    def planes(self) -> int:
        """Output planes of all images and groups."""
        return self.batch * self.groups * self.depth.outputs

    @cached_property
    def taps(self) -> int:
        """Kernel taps."""
        return self.depth.kernel_size * self.rows.kernel_size * self.columns.kernel_size

    @property
    def terms(self) -> int:
        """Terms of a sum, padding and all."""
        return self.taps * self.inputs

    @property
    def pitch(self) -> int:
        """Bytes in the image between the inputs of an output and those of its neighbour."""
        pixel = self.inputs * self.groups if self.channels_last else 1
        return pixel * self.columns.stride * self.item_size
