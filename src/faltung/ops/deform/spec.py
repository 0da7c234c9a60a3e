"""Everything that is known about a deformable convolution before its numbers.

    y[n, o, q] = b[o] + Σ_{c, t} w[o, c, t] · m[n, f, t, q] · x̂[n, c, p]
             p = q·s − low + t·d + δ[n, f, t, q]

x̂ is the image read between its pixels (bilinear), δ a learned offset (dy, dx) and m a learned mask
per tap t and output q; both are shared by the channels c of an offset group f. Without a mask
(version 1) m is 1.

    input   [N, C, H, W]               weight  [O, C/G, KH, KW]
    offset  [N, 2·F·KH·KW, OH, OW]     mask    [N, F·KH·KW, OH, OW]

2-D. Plain Python, no tensors. Sources: Dai et al., arXiv 1703.06211, section 2.1 (offsets); Zhu et
al., arXiv 1811.11168, section 3.2 (mask).
"""

import math
from dataclasses import dataclass
from functools import cached_property

from ...errors import ArgumentError
from ..geometry import Axis, Pairs, Sizes
from ..naming import checked
from ..spelling import (
    DTYPES,
    Activation,
    Count,
    Flag,
    PairPerAxis,
    PerAxis,
    Spelling,
)

TASKS = ("forward",)
FLOATS = ("float16", "bfloat16", "float32", "float64")

_SPELLING = Spelling(
    tasks=TASKS,
    example="forward n1 c8 o8 i32x32 k3x3 p1 mask float32 cpu",
    words=(
        Count("n", "batch"),
        Count("c", "in_channels"),
        Count("o", "out_channels"),
        PerAxis("i", "input_size"),
        PerAxis("k", "kernel_size"),
        PerAxis("s", "stride", default=1),
        PairPerAxis("p", "padding"),
        PerAxis("d", "dilation", default=1),
        Count("g", "groups", default=1),
        Count("f", "offset_groups", default=1),
        Flag("mask"),
        Flag("bias"),
        Activation("activation"),
    ),
)


@dataclass(frozen=True)
class DeformSpec:
    """One deformable convolution problem: sizes, arguments, dtype and device.

    >>> spec = DeformSpec.parse("forward n2 c8 o6 i7x9 k3x3 s2 p1 f4 mask float32 cpu")
    >>> spec.y_shape, spec.offset_shape, spec.mask_shape
    ((2, 6, 4, 5), (2, 72, 4, 5), (2, 36, 4, 5))
    >>> DeformSpec.parse(str(spec)) == spec
    True
    """

    task: str
    batch: int
    in_channels: int
    out_channels: int
    input_size: Sizes
    kernel_size: Sizes
    stride: Sizes = (1, 1)
    padding: Pairs = ((0, 0), (0, 0))
    dilation: Sizes = (1, 1)
    groups: int = 1
    offset_groups: int = 1
    mask: bool = False
    bias: bool = False
    activation: str | None = None
    dtype: str = "float32"
    device: str = "cpu"

    def __post_init__(self) -> None:
        self._check_words()
        self._check_numbers()
        self._check_sizes()

    @classmethod
    def parse(cls, text: str) -> "DeformSpec":
        """The spec that a spelling names; the inverse of `str`."""
        return cls(**_SPELLING.read(text))

    def __str__(self) -> str:
        return _SPELLING.write(self)

    @cached_property
    def axes(self) -> tuple[Axis, ...]:
        """The two spatial axes: where each tap would look without an offset."""
        return tuple(
            Axis(n, k, s, p, d)
            for n, k, s, p, d in zip(
                self.input_size, self.kernel_size, self.stride, self.padding, self.dilation,
                strict=True,
            )
        )  # fmt: skip

    @property
    def output_size(self) -> Sizes:
        """Number of outputs along each axis."""
        return tuple(axis.output_size for axis in self.axes)

    @property
    def taps(self) -> int:
        """Taps of one filter in one channel: KH·KW."""
        return math.prod(self.kernel_size)

    @property
    def x_shape(self) -> Sizes:
        """[N, C, H, W]."""
        return (self.batch, self.in_channels, *self.input_size)

    @property
    def w_shape(self) -> Sizes:
        """[O, C/G, KH, KW]."""
        return (self.out_channels, self.in_channels // self.groups, *self.kernel_size)

    @property
    def offset_shape(self) -> Sizes:
        """[N, 2·F·KH·KW, OH, OW]: (dy, dx) of the first tap, of the second, …, group by group."""
        return (self.batch, 2 * self.offset_groups * self.taps, *self.output_size)

    @property
    def mask_shape(self) -> Sizes:
        """[N, F·KH·KW, OH, OW]."""
        return (self.batch, self.offset_groups * self.taps, *self.output_size)

    @property
    def y_shape(self) -> Sizes:
        """[N, O, OH, OW]."""
        return (self.batch, self.out_channels, *self.output_size)

    @property
    def result_shape(self) -> Sizes:
        """Shape of the task's result."""
        return self.y_shape

    @property
    def run_operands(self) -> tuple[tuple[Sizes, str] | None, ...]:
        """Shape and memory layout of all that a run takes, in its order; None for what is not."""
        bias = (self.out_channels,) if self.bias else None
        mask = self.mask_shape if self.mask else None
        shapes = (self.x_shape, self.offset_shape, self.w_shape, bias, mask)
        return tuple(None if shape is None else (shape, "contiguous") for shape in shapes)

    @property
    def samples(self) -> int:
        """Values read between pixels: N · C · KH·KW · OH·OW."""
        return self.batch * self.in_channels * self.taps * math.prod(self.output_size)

    @property
    def columns_bytes(self) -> int:
        """Bytes of all samples written out as the region matrix."""
        return self.samples * DTYPES[self.dtype]

    @property
    def macs(self) -> int:
        """Multiply-adds of the weights, the sampling not counted: N · O · C/G · KH·KW · OH·OW."""
        return self.samples // self.groups * self.out_channels

    @property
    def bytes(self) -> int:
        """Bytes that must move if every operand is read once and the result written once."""
        shapes = [self.x_shape, self.w_shape, self.offset_shape, self.y_shape]
        numbers = sum(math.prod(shape) for shape in shapes)
        numbers += math.prod(self.mask_shape) if self.mask else 0
        numbers += self.out_channels if self.bias else 0
        return numbers * DTYPES[self.dtype]

    def _check_words(self) -> None:
        for name, value, known in (
            ("task", self.task, TASKS),
            ("dtype", self.dtype, FLOATS),
        ):
            if value not in known:
                listed = ", ".join(repr(word) for word in known)
                raise ArgumentError(f"deform_conv2d: {name} must be one of {listed}, got {value!r}")
        activation = checked(self.activation, "deform_conv2d: ")
        object.__setattr__(self, "activation", activation)

    def _check_numbers(self) -> None:
        per_axis = (self.input_size, self.kernel_size, self.stride, self.padding, self.dilation)
        if any(len(values) != 2 for values in per_axis):
            raise ArgumentError(
                f"deform_conv2d: input size {self.input_size}, kernel size {self.kernel_size}, "
                f"stride {self.stride}, padding {self.padding} and dilation {self.dilation} must "
                "all have 2 entries"
            )
        positive = (
            *self.input_size, *self.kernel_size, *self.stride, *self.dilation,
            self.in_channels, self.out_channels, self.groups, self.offset_groups,
        )  # fmt: skip
        counted = (self.batch, *(end for pair in self.padding for end in pair))
        # one by one, because `min` would order sizes, which in a trace are symbols
        if any(n < 1 for n in positive) or any(n < 0 for n in counted):
            raise ArgumentError(
                f"deform_conv2d: input size {self.input_size}, kernel size {self.kernel_size}, "
                f"stride {self.stride}, dilation {self.dilation}, {self.in_channels} input and "
                f"{self.out_channels} output channels, {self.groups} groups and "
                f"{self.offset_groups} offset groups must be at least 1, and batch {self.batch} "
                f"and padding {self.padding} at least 0"
            )
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ArgumentError(
                f"deform_conv2d: groups={self.groups} must divide both the {self.in_channels} "
                f"input channels and the {self.out_channels} output channels"
            )
        if self.in_channels % self.offset_groups:
            raise ArgumentError(
                f"deform_conv2d: {self.offset_groups} offset groups do not divide the "
                f"{self.in_channels} input channels"
            )

    def _check_sizes(self) -> None:
        if any(q < 1 for q in self.output_size):
            padded = tuple(n + sum(p) for n, p in zip(self.input_size, self.padding, strict=True))
            spans = tuple(axis.span for axis in self.axes)
            raise ArgumentError(
                f"deform_conv2d: kernel size {self.kernel_size} with dilation {self.dilation} "
                f"spans {spans}, larger than the padded input {padded} (input {self.input_size}, "
                f"padding {self.padding})"
            )
