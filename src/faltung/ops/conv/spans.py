"""Axes of a convolution as the routines of `parts/gemm` and `parts/weights` know them."""

from ...parts.gemm.problem import Span
from ..geometry import Axis


def span_of(axis: Axis) -> Span:
    """The sizes of an axis; of its padding only what lies before it counts.

    >>> span_of(Axis(input_size=9, kernel_size=3, stride=2, padding=(1, 1)))
    Span(outputs=5, inputs=9, kernel_size=3, stride=2, low=1, dilation=1)
    """
    return Span(
        axis.output_size, axis.input_size, axis.kernel_size, axis.stride, axis.padding[0],
        axis.dilation,
    )  # fmt: skip
