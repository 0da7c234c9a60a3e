"""Everything that is known about a convolution before its numbers.

One spec describes the three tasks of one convolution of x [N, C, in…] with w [O, C/G, K…]:

    forward      x, w  -> y     y[n, o, q] = Σ_{c, t} w[o, c, t] · x[n, c, q·s − low + t·d]
    grad_input   y, w  -> x     the adjoint in x: this is transposed convolution
    grad_weight  x, y  -> w     the adjoint in w

The names are always those of the forward convolution. A transposed convolution is the task
`grad_input` used as a forward: its input is the y of the spec and its result the x, whose size the
spec already holds, so `output_padding` ends in `arguments.conv_transpose_spec`.

Plain Python on purpose: a spec can be made, printed, compared, hashed and counted without a tensor.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from ...errors import ArgumentError
from ..arguments import PADDING_MODES
from ..geometry import Axis, Pairs, Sizes, check_padding_mode
from ..naming import checked
from ..spelling import (
    DTYPES,
    Activation,
    Choice,
    Count,
    Flag,
    PairPerAxis,
    PerAxis,
    Spelling,
)

TASKS = ("forward", "grad_input", "grad_weight")
LAYOUTS = ("contiguous", "channels_last", "strided")

# `y` stands only where fewer outputs exist than the formula gives
_SPELLING = Spelling(
    tasks=TASKS,
    example="forward n1 c8 o8 i32x32 k3x3 float32 cpu",
    words=(
        Count("n", "batch"),
        Count("c", "in_channels"),
        Count("o", "out_channels"),
        PerAxis("i", "input_size"),
        PerAxis("k", "kernel_size"),
        PerAxis("y", "output_size", unless="full_output_size"),
        PerAxis("s", "stride", default=1),
        PairPerAxis("p", "padding"),
        PerAxis("d", "dilation", default=1),
        Count("g", "groups", default=1),
        Choice("padding_mode", PADDING_MODES, default="zeros"),
        Flag("bias"),
        Flag("residual"),
        Flag("residual_apart"),
        Activation("activation"),
        Choice("layout", LAYOUTS, default="contiguous"),
    ),
)


@dataclass(frozen=True)
class ConvSpec:
    """One convolution problem: sizes, arguments, dtype, device, layout and the task to do.

    `padding` is a (low, high) pair per axis. `output_size` may be left out; given, it says how many
    outputs exist, at most what the formula gives. `layout` is the memory layout of the operand that
    is an image (x or y). `residual` says that a tensor of the result's shape is added before the
    activation, and `residual_apart` that it lies in another memory layout than the result.
    `str(spec)` is the problem's one spelling and `ConvSpec.parse` reads it.

    >>> spec = ConvSpec.parse("forward n1 c64 o128 i56x56 k3x3 s2 p1 float32 cpu")
    >>> print(spec)
    forward n1 c64 o128 i56x56 k3x3 s2 p1 float32 cpu
    >>> spec.output_size, spec.parameters, spec.macs
    ((28, 28), 73728, 57802752)
    >>> ConvSpec.parse(str(spec)) == spec
    True
    """

    task: str
    batch: int
    in_channels: int
    out_channels: int
    input_size: Sizes
    kernel_size: Sizes
    output_size: Sizes = ()
    stride: Sizes = ()
    padding: Pairs = ()
    dilation: Sizes = ()
    groups: int = 1
    padding_mode: str = "zeros"
    bias: bool = False
    activation: str | None = None
    dtype: str = "float32"
    device: str = "cpu"
    layout: str = "contiguous"
    residual: bool = False
    residual_apart: bool = False

    def __post_init__(self) -> None:
        dims = self.dims
        for name, default in (("stride", 1), ("dilation", 1), ("padding", (0, 0))):
            if not getattr(self, name):
                object.__setattr__(self, name, (default,) * dims)
        self._check_words()
        self._check_numbers()
        if not self.output_size:
            object.__setattr__(self, "output_size", self.full_output_size)
        self._check_sizes()

    @classmethod
    def parse(cls, text: str) -> "ConvSpec":
        """The spec that a spelling names; the inverse of `str`."""
        return cls(**_SPELLING.read(text))

    def with_task(self, task: str) -> "ConvSpec":
        """The same convolution, another of its three tasks, with nothing added or activated."""
        return replace(
            self, task=task, bias=False, activation=None, residual=False, residual_apart=False
        )

    def __str__(self) -> str:
        return _SPELLING.write(self)

    @property
    def dims(self) -> int:
        """Number of spatial axes."""
        return len(self.input_size)

    @cached_property
    def axes(self) -> tuple[Axis, ...]:
        """The spatial axes, each with its own index arithmetic."""
        outputs = self.output_size or (-1,) * self.dims
        return tuple(
            Axis(n, k, s, p, d, self.padding_mode, q)
            for n, k, s, p, d, q in zip(
                self.input_size, self.kernel_size, self.stride, self.padding, self.dilation,
                outputs, strict=True,
            )
        )  # fmt: skip

    @property
    def full_output_size(self) -> Sizes:
        """The output size by the formula, axis by axis."""
        return tuple(
            Axis(n, k, s, p, d).full_output_size
            for n, k, s, p, d in zip(
                self.input_size, self.kernel_size, self.stride, self.padding, self.dilation,
                strict=True,
            )
        )  # fmt: skip

    @property
    def x_shape(self) -> Sizes:
        """[N, C, in…]."""
        return (self.batch, self.in_channels, *self.input_size)

    @property
    def w_shape(self) -> Sizes:
        """[O, C/G, K…]."""
        return (self.out_channels, self.in_channels // self.groups, *self.kernel_size)

    @property
    def y_shape(self) -> Sizes:
        """[N, O, out…]."""
        return (self.batch, self.out_channels, *self.output_size)

    @property
    def operand_shapes(self) -> tuple[Sizes, Sizes]:
        """Shapes of the task's two operands, in the order the task takes them."""
        x, w, y = self.x_shape, self.w_shape, self.y_shape
        return {"forward": (x, w), "grad_input": (y, w), "grad_weight": (x, y)}[self.task]

    @property
    def run_operands(self) -> tuple[tuple[Sizes, str] | None, ...]:
        """Shape and usual memory layout of all that a run takes, in its order; None for no bias."""
        first, second = self.operand_shapes
        # a model that is made channels-last has such weights, too
        alike = self.task == "grad_weight" or self.layout == "channels_last"
        usual = (first, self.layout), (second, self.layout if alike else "contiguous")
        bias = ((self.result_shape[1],), "contiguous") if self.bias else None
        if self.residual:
            return (*usual, bias, (self.result_shape, self._residual_layout))
        return usual if bias is None else (*usual, bias)

    @property
    def result_shape(self) -> Sizes:
        """Shape of the task's result."""
        return {"forward": self.y_shape, "grad_input": self.x_shape, "grad_weight": self.w_shape}[
            self.task
        ]

    @property
    def result_layout(self) -> str:
        """Memory layout of a routine's result: channels last if the image is, else contiguous."""
        return "channels_last" if self.layout == "channels_last" else "contiguous"

    @property
    def _residual_layout(self) -> str:
        if not self.residual_apart:
            return self.result_layout
        if self.result_layout == "channels_last":
            return "contiguous"
        return "channels_last" if self.dims > 1 else "strided"

    @property
    def taps(self) -> int:
        """Weights of one filter in one channel: ∏K."""
        return math.prod(self.kernel_size)

    @property
    def parameters(self) -> int:
        """Learned numbers: O · C/G · ∏K, and one bias per channel of the result."""
        return math.prod(self.w_shape) + (self.result_shape[1] if self.bias else 0)

    @property
    def macs(self) -> int:
        """Multiply-adds of the task, zero padding counted: N · O · C/G · ∏K · ∏out.

        The three tasks need the same number: each use of a weight on an input is one multiply-add
        in each of them.
        """
        return math.prod(self.y_shape) * self.in_channels // self.groups * self.taps

    @property
    def executed_macs(self) -> int:
        """Multiply-adds that remain when taps on zero padding are skipped."""
        pairs = math.prod(axis.executed for axis in self.axes)
        return self.batch * self.out_channels * self.in_channels // self.groups * pairs

    @property
    def item_size(self) -> int:
        """Bytes of one number."""
        return DTYPES[self.dtype]

    @property
    def bytes(self) -> int:
        """Bytes that must move if every operand is read once and the result written once."""
        tensors = [self.x_shape, self.w_shape, self.y_shape]
        tensors += [self.result_shape] * self.residual
        numbers = sum(math.prod(shape) for shape in tensors)
        return (numbers + (self.result_shape[1] if self.bias else 0)) * self.item_size

    @property
    def im2col_bytes(self) -> int:
        """Bytes of the region matrix that im2col would write: N · C · ∏K · ∏out numbers."""
        return (
            self.batch * self.in_channels * self.taps * math.prod(self.output_size) * self.item_size
        )

    @property
    def intensity(self) -> float:
        """Arithmetic intensity: floating-point operations (2 a multiply-add) per byte moved."""
        return 2 * self.executed_macs / self.bytes if self.bytes else 0.0

    def source(self, output: Sequence[int], tap: Sequence[int]) -> Sizes | None:
        """The input position which that tap of that output position reads; None for padding.

        >>> ConvSpec.parse("forward n1 c1 o1 i5x5 k3x3 s2 p1 float32 cpu").source((1, 0), (0, 2))
        (1, 1)
        """
        found = [a.sources[q][t] for a, q, t in zip(self.axes, output, tap, strict=True)]
        inside = tuple(i for i in found if i is not None)
        return inside if len(inside) == len(found) else None

    def readers(self, position: Sequence[int]) -> Iterator[tuple[Sizes, Sizes]]:
        """Every (output position, tap) that reads this input position: `source` backwards."""
        per_axis = [a.readers[i] for a, i in zip(self.axes, position, strict=True)]
        for pairs in itertools.product(*per_axis):
            yield tuple(q for q, _ in pairs), tuple(t for _, t in pairs)

    def _check_words(self) -> None:
        for name, value, known in (
            ("task", self.task, TASKS),
            ("padding_mode", self.padding_mode, PADDING_MODES),
            ("dtype", self.dtype, tuple(DTYPES)),
            ("layout", self.layout, LAYOUTS),
        ):
            if not isinstance(value, str | None) or value not in known:
                listed = ", ".join(repr(word) for word in known)
                raise ArgumentError(f"{name} must be one of {listed}, got {value!r}")
        object.__setattr__(self, "activation", checked(self.activation))
        if self.residual_apart and not self.residual:
            raise ArgumentError("residual_apart says how a residual lies, and there is none")

    def _check_numbers(self) -> None:
        lengths = {
            len(v)
            for v in (self.kernel_size, self.stride, self.dilation, self.padding, self.input_size)
        }
        if lengths - {1, 2, 3} or len(lengths) != 1:
            raise ArgumentError(
                f"{self.task}: input size {self.input_size}, kernel size {self.kernel_size}, "
                f"stride {self.stride}, padding {self.padding} and dilation {self.dilation} "
                "must all have 1, 2 or 3 entries, the same number each"
            )
        # one by one, because `min` would order sizes, which in a trace are symbols
        positive = (*self.kernel_size, *self.stride, *self.dilation, self.out_channels, self.groups)
        counted = (self.batch, self.in_channels, *self.input_size)
        if any(n < 1 for n in positive) or any(n < 0 for n in counted):
            raise ArgumentError(
                f"kernel size {self.kernel_size}, stride {self.stride}, dilation {self.dilation}, "
                f"{self.out_channels} output channels and {self.groups} groups must be at least 1, "
                f"and batch {self.batch}, {self.in_channels} input channels and input size "
                f"{self.input_size} at least 0"
            )
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ArgumentError(
                f"groups={self.groups} must divide both the {self.in_channels} input channels and "
                f"the {self.out_channels} output channels"
            )

    def _check_sizes(self) -> None:
        full = self.full_output_size
        call = f"conv{self.dims}d"
        if len(self.output_size) != self.dims or any(
            not 0 < q <= f for q, f in zip(self.output_size, full, strict=True)
        ):
            padded = tuple(
                n + low + high for n, (low, high) in zip(self.input_size, self.padding, strict=True)
            )
            spans = tuple(axis.span for axis in self.axes)
            if min(full) < 1:
                raise ArgumentError(
                    f"{call}: kernel size {self.kernel_size} with dilation {self.dilation} spans "
                    f"{spans}, larger than the padded input {padded} (input {self.input_size}, "
                    f"padding {self.padding})"
                )
            raise ArgumentError(f"output size {self.output_size} must lie between 1 and {full}")
        for axis in self.axes:
            check_padding_mode(axis, call)
