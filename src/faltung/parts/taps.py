"""Which taps of a window lie inside the input, worked out while a routine runs."""

from ..lang.routine import Routine, Value
from ..ops.geometry import Axis


def taps_inside(
    r: Routine,
    output: Value,
    *,
    input_size: int,
    kernel_size: int,
    stride: int,
    low: int,
    dilation: int,
) -> tuple[Value, Value]:
    """The first tap t with 0 ≤ output·stride − low + t·dilation < input_size, and the end of them.

    The end is at most the first where the window lies wholly in the padding.
    """
    before = r.maximum(low - output * stride, 0)
    reach = r.maximum(input_size + low - output * stride + (dilation - 1), 0)
    return (before + (dilation - 1)) // dilation, r.minimum(reach // dilation, kernel_size)


def taps_seen(r: Routine, axis: Axis, output: Value) -> tuple[Value, Value]:
    """The same on an axis; two numbers that are known where every output sees every tap."""
    if axis.executed == axis.output_size * axis.kernel_size:
        return r.const(0), r.const(axis.kernel_size)
    return taps_inside(
        r, output, input_size=axis.input_size, kernel_size=axis.kernel_size, stride=axis.stride,
        low=axis.padding[0], dilation=axis.dilation,
    )  # fmt: skip
