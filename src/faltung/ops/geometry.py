"""The arithmetic of one spatial axis: sizes, padding, and which input each tap reads.

    y[q] = Σ_t  w[t] · x[q·s − low + t·d]          q = 0 … out−1,  t = 0 … K−1
    out  = ⌊(n + low + high − d·(K−1) − 1) / s⌋ + 1

An n-dimensional convolution is the product of n such axes, so everything that is said about
positions is said here once, and the families (conv, unfold, deform) only combine it.

Source: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning",
arXiv 1603.07285, sections 2 and 4; `same` is TensorFlow's and ONNX's SAME_UPPER.
"""

from dataclasses import dataclass
from functools import cached_property

from ..errors import ArgumentError

Sizes = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]


def window_span(kernel_size: int, dilation: int) -> int:
    """Input positions from the first tap to the last, both included: d·(K−1) + 1."""
    return dilation * (kernel_size - 1) + 1


def output_size(
    input_size: int, kernel_size: int, stride: int, padding: tuple[int, int], dilation: int
) -> int:
    """⌊(n + low + high − d·(K−1) − 1)/s⌋ + 1; zero or less when the window does not fit.

    >>> output_size(80, kernel_size=3, stride=2, padding=(1, 1), dilation=1)
    40
    """
    room = input_size + padding[0] + padding[1] - dilation * (kernel_size - 1) - 1
    return room // stride + 1


def transposed_output_size(
    input_size: int,
    kernel_size: int,
    stride: int,
    padding: tuple[int, int],
    dilation: int,
    output_padding: int = 0,
) -> int:
    """(n − 1)·s − low − high + d·(K−1) + output_padding + 1.

    >>> transposed_output_size(16, kernel_size=4, stride=2, padding=(1, 1), dilation=1)
    32
    """
    reach = (input_size - 1) * stride + window_span(kernel_size, dilation)
    return reach - sum(padding) + output_padding


def legal_output_paddings(stride: int, dilation: int) -> range:
    """Every `output_padding` that a transposed convolution takes: 0 … max(s, d) − 1.

    The first `stride` of them give the input sizes which a convolution of that stride maps to the
    same output size. PyTorch takes those below the dilation as well; so do we.
    """
    return range(max(stride, dilation))


def same_padding(
    input_size: int, kernel_size: int, stride: int, dilation: int, *, lower: bool
) -> tuple[int, int]:
    """The padding that makes the output ⌈n/s⌉ long; an odd total puts its extra at the high end.

    >>> same_padding(224, kernel_size=3, stride=2, dilation=1, lower=False)
    (0, 1)
    """
    # ONNX rounds a negative quotient up, so whatever is divided here stays positive, even where
    # PyTorch takes a sum of symbols apart
    outputs = (input_size + stride - 1) // stride
    span = window_span(kernel_size, dilation)
    total = (outputs - 1) * stride + span - input_size
    if span < stride:
        total = max(total, 0)
        small = total // 2
    else:  # no `max`, which of a symbol is hard to reason with; the total is span − 1 − behind
        behind = (input_size - 1) % stride
        small = span - 1 - (span + behind) // 2
    return (total - small, small) if lower else (small, total - small)


def resolve_padding(
    padding: str | tuple[int, int], input_size: int, kernel_size: int, stride: int, dilation: int
) -> tuple[int, int]:
    """A padding word turned into the (low, high) pair it means for this axis."""
    if not isinstance(padding, str):
        return padding
    if padding == "causal":
        return window_span(kernel_size, dilation) - 1, 0
    if padding == "valid":
        return 0, 0
    return same_padding(input_size, kernel_size, stride, dilation, lower=padding == "same_lower")


def resolve_paddings(
    padding: str | Pairs, input_size: Sizes, kernel_size: Sizes, stride: Sizes, dilation: Sizes
) -> Pairs:
    """The (low, high) pair of every axis, from a word for all of them or from the pairs."""
    if not isinstance(padding, str):
        return padding
    return tuple(
        resolve_padding(padding, n, k, s, d)
        for n, k, s, d in zip(input_size, kernel_size, stride, dilation, strict=True)
    )


def flat(pairs: Pairs) -> list[int]:
    """The low and the high end of each axis in turn, as PyTorch's operators can take them."""
    return [end for pair in pairs for end in pair]


@dataclass(frozen=True)
class Axis:
    """One spatial axis of a convolution, all sizes known.

    `output_size` counts the outputs that exist; it may be smaller than the formula gives (the
    windows past it are simply not computed), never larger.
    """

    input_size: int
    kernel_size: int
    stride: int = 1
    padding: tuple[int, int] = (0, 0)
    dilation: int = 1
    padding_mode: str = "zeros"
    output_size: int = -1

    def __post_init__(self) -> None:
        if self.output_size < 0:
            object.__setattr__(self, "output_size", self.full_output_size)

    @property
    def full_output_size(self) -> int:
        """The output size by the formula."""
        return output_size(
            self.input_size, self.kernel_size, self.stride, self.padding, self.dilation
        )

    @property
    def span(self) -> int:
        """Input positions from the first tap of a window to its last."""
        return window_span(self.kernel_size, self.dilation)

    @property
    def padded_size(self) -> int:
        """Length of the padded input that the windows touch: (out−1)·s + span."""
        return (self.output_size - 1) * self.stride + self.span if self.output_size else 0

    def padded_position(self, output: int, tap: int) -> int:
        """q·s − low + t·d: where the tap looks, counted from the first input; may lie outside."""
        return output * self.stride - self.padding[0] + tap * self.dilation

    def source(self, output: int, tap: int) -> int | None:
        """The input position which that tap of that output reads, or None for zero padding."""
        return self.fold_in(self.padded_position(output, tap))

    def fold_in(self, position: int) -> int | None:
        """A position counted from the first input, brought inside by the padding mode.

        >>> [Axis(4, 3, padding=(2, 2), padding_mode="reflect").fold_in(i) for i in range(-2, 6)]
        [2, 1, 0, 1, 2, 3, 2, 1]
        """
        n = self.input_size
        if 0 <= position < n:
            return position
        if self.padding_mode == "reflect":
            return -position if position < 0 else 2 * (n - 1) - position
        if self.padding_mode == "replicate":
            return 0 if position < 0 else n - 1
        if self.padding_mode == "circular":
            return position % n
        return None

    @cached_property
    def sources(self) -> tuple[tuple[int | None, ...], ...]:
        """`sources[q][t]`: the whole index map of the axis."""
        taps = range(self.kernel_size)
        return tuple(tuple(self.source(q, t) for t in taps) for q in range(self.output_size))

    @cached_property
    def readers(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """`readers[i]`: every (output, tap) that reads input `i`; the index map backwards."""
        found: list[list[tuple[int, int]]] = [[] for _ in range(self.input_size)]
        for q, row in enumerate(self.sources):
            for t, i in enumerate(row):
                if i is not None:
                    found[i].append((q, t))
        return tuple(tuple(pairs) for pairs in found)

    @property
    def executed(self) -> int:
        """How many (output, tap) pairs read an input and not a zero of the padding."""
        if self.padding_mode != "zeros":
            return self.output_size * self.kernel_size
        return sum(self._outputs_inside(tap) for tap in range(self.kernel_size))

    @property
    def unread(self) -> tuple[int, ...]:
        """Input positions that no window touches: what the floor in the formula throws away."""
        return tuple(i for i, pairs in enumerate(self.readers) if not pairs)

    def _outputs_inside(self, tap: int) -> int:
        """Number of q with 0 ≤ q·s + shift < n."""
        shift = tap * self.dilation - self.padding[0]
        first = max(0, -(shift // self.stride))  # ⌈−shift/s⌉
        last = min(self.output_size - 1, (self.input_size - 1 - shift) // self.stride)
        return max(0, last - first + 1)


def check_padding_mode(axis: Axis, name: str) -> None:
    """Refuse a padding that its mode cannot fill."""
    low, high = axis.padding
    # in a trace, what "same" comes to may be a symbol: it is looked at when it has a number
    most = max((end for end in (low, high) if isinstance(end, int)), default=0)
    if axis.padding_mode == "reflect" and most >= max(axis.input_size, 1):
        raise ArgumentError(
            f"{name}: reflect padding ({low}, {high}) must be smaller than the input size "
            f"{axis.input_size} of its axis"
        )
    if axis.padding_mode != "zeros" and axis.input_size == 0 and low + high > 0:
        raise ArgumentError(
            f"{name}: {axis.padding_mode} padding ({low}, {high}) has nothing to copy from: "
            "the input size of its axis is 0"
        )
