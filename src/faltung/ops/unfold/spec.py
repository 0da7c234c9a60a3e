"""Everything that is known about an unfold or a fold before its numbers.

One spec describes the two tasks between an image x [N, C, in…] and its columns c [N, C·∏K, L]:

    unfold   x -> c     c[n, (c, t), q] = x[n, c, q·s − low + t·d]
    fold     c -> x     the adjoint: x[n, c, i] = Σ of c[n, (c, t), q] over all (q, t) that read i

L = ∏out positions in row-major order; a column holds channel after channel, each tap row-major.
`input_size` is the image's size in both tasks. Plain Python, no tensors.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from ...errors import ArgumentError
from ..arguments import PADDING_MODES
from ..geometry import Axis, Pairs, Sizes, check_padding_mode
from ..spelling import DTYPES, Choice, Count, PairPerAxis, PerAxis, Spelling

TASKS = ("unfold", "fold")

_SPELLING = Spelling(
    tasks=TASKS,
    example="unfold n2 c5 i3x4 k2x3 float32 cpu",
    words=(
        Count("n", "batch"),
        Count("c", "channels"),
        PerAxis("i", "input_size"),
        PerAxis("k", "kernel_size"),
        PerAxis("s", "stride", default=1),
        PairPerAxis("p", "padding"),
        PerAxis("d", "dilation", default=1),
        Choice("padding_mode", PADDING_MODES, default="zeros"),
    ),
)


@dataclass(frozen=True)
class UnfoldSpec:
    """One unfold or fold problem: sizes, arguments, dtype, device and the task to do.

    >>> spec = UnfoldSpec.parse("unfold n2 c5 i3x4 k2x3 float32 cpu")
    >>> spec.image_shape, spec.columns_shape
    ((2, 5, 3, 4), (2, 30, 4))
    >>> print(spec.adjoint)
    fold n2 c5 i3x4 k2x3 float32 cpu
    """

    task: str
    batch: int
    channels: int
    input_size: Sizes
    kernel_size: Sizes
    stride: Sizes = ()
    padding: Pairs = ()
    dilation: Sizes = ()
    padding_mode: str = "zeros"
    dtype: str = "float32"
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name, default in (("stride", 1), ("dilation", 1), ("padding", (0, 0))):
            if not getattr(self, name):
                object.__setattr__(self, name, (default,) * self.dims)
        self._check_words()
        self._check_numbers()
        self._check_sizes()

    @classmethod
    def parse(cls, text: str) -> "UnfoldSpec":
        """The spec that a spelling names; the inverse of `str`."""
        return cls(**_SPELLING.read(text))

    def __str__(self) -> str:
        return _SPELLING.write(self)

    @property
    def adjoint(self) -> "UnfoldSpec":
        """The same windows, the other task."""
        return replace(self, task="fold" if self.task == "unfold" else "unfold")

    @property
    def dims(self) -> int:
        """Number of spatial axes."""
        return len(self.input_size)

    @cached_property
    def axes(self) -> tuple[Axis, ...]:
        """The spatial axes, each with its own index arithmetic."""
        return tuple(
            Axis(n, k, s, p, d, self.padding_mode)
            for n, k, s, p, d in zip(
                self.input_size, self.kernel_size, self.stride, self.padding, self.dilation,
                strict=True,
            )
        )  # fmt: skip

    @property
    def output_size(self) -> Sizes:
        """Number of window positions along each axis."""
        return tuple(axis.output_size for axis in self.axes)

    @property
    def padded_size(self) -> Sizes:
        """The padded image as far as windows touch it."""
        return tuple(axis.padded_size for axis in self.axes)

    @property
    def image_shape(self) -> Sizes:
        """[N, C, in…]."""
        return (self.batch, self.channels, *self.input_size)

    @property
    def windows_shape(self) -> Sizes:
        """[N, C, K…, out…]: the columns with every axis apart."""
        return (self.batch, self.channels, *self.kernel_size, *self.output_size)

    @property
    def columns_shape(self) -> Sizes:
        """[N, C·∏K, L]."""
        taps, positions = math.prod(self.kernel_size), math.prod(self.output_size)
        return (self.batch, self.channels * taps, positions)

    @property
    def operand_shape(self) -> Sizes:
        """Shape of the task's operand."""
        return self.image_shape if self.task == "unfold" else self.columns_shape

    @property
    def run_operands(self) -> tuple[tuple[Sizes, str], ...]:
        """Shape and memory layout of all that a run takes."""
        return ((self.operand_shape, "contiguous"),)

    @property
    def result_shape(self) -> Sizes:
        """Shape of the task's result."""
        return self.columns_shape if self.task == "unfold" else self.image_shape

    @property
    def bytes(self) -> int:
        """Bytes that must move if the operand is read once and the result written once."""
        numbers = math.prod(self.image_shape) + math.prod(self.columns_shape)
        return numbers * DTYPES[self.dtype]

    @property
    def padded_bytes(self) -> int:
        """Bytes of the padded image."""
        return self.batch * self.channels * math.prod(self.padded_size) * DTYPES[self.dtype]

    def source(self, output: Sequence[int], tap: Sequence[int]) -> Sizes | None:
        """The image position which that tap of that window reads; None for zero padding.

        >>> UnfoldSpec.parse("unfold n1 c1 i3x4 k2x3 p1 float32 cpu").source((0, 1), (1, 0))
        (0, 0)
        """
        found = [a.source(q, t) for a, q, t in zip(self.axes, output, tap, strict=True)]
        inside = tuple(i for i in found if i is not None)
        return inside if len(inside) == len(found) else None

    def _check_words(self) -> None:
        for name, value, known in (
            ("task", self.task, TASKS),
            ("padding_mode", self.padding_mode, PADDING_MODES),
            ("dtype", self.dtype, tuple(DTYPES)),
        ):
            if not isinstance(value, str) or value not in known:
                listed = ", ".join(repr(word) for word in known)
                raise ArgumentError(f"{self.task}: {name} must be one of {listed}, got {value!r}")

    def _check_numbers(self) -> None:
        per_axis = (self.input_size, self.kernel_size, self.stride, self.padding, self.dilation)
        if self.dims not in (1, 2, 3) or any(len(v) != self.dims for v in per_axis):
            raise ArgumentError(
                f"{self.task}: image size {self.input_size}, kernel size {self.kernel_size}, "
                f"stride {self.stride}, padding {self.padding} and dilation {self.dilation} "
                "must all have 1, 2 or 3 entries, the same number each"
            )
        ends = [end for pair in self.padding for end in pair if isinstance(end, int)]
        counted = (self.batch, self.channels, *self.input_size, *ends)
        # one by one, because `min` would order sizes, which in a trace are symbols
        if min(*self.kernel_size, *self.stride, *self.dilation) < 1 or any(n < 0 for n in counted):
            raise ArgumentError(
                f"{self.task}: kernel size {self.kernel_size}, stride {self.stride} and dilation "
                f"{self.dilation} must be at least 1, and batch {self.batch}, {self.channels} "
                f"channels, image size {self.input_size} and padding {self.padding} at least 0"
            )

    def _check_sizes(self) -> None:
        if any(axis.output_size < 1 for axis in self.axes):
            padded = tuple(n + sum(p) for n, p in zip(self.input_size, self.padding, strict=True))
            spans = tuple(axis.span for axis in self.axes)
            raise ArgumentError(
                f"{self.task}: kernel size {self.kernel_size} with dilation {self.dilation} spans "
                f"{spans}, larger than the padded image {padded} (image {self.input_size}, "
                f"padding {self.padding})"
            )
        for axis in self.axes:
            check_padding_mode(axis, self.task)
