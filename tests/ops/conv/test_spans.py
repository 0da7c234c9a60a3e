"""An axis as the routines know it sees the same inputs."""

import pytest

from faltung.ops.conv.spans import span_of
from faltung.ops.geometry import Axis


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("padding", [(0, 0), (2, 1)])
def test_the_same_inputs(stride: int, dilation: int, padding: tuple[int, int]) -> None:
    axis = Axis(11, 3, stride, padding, dilation)
    span = span_of(axis)
    assert (span.outputs, span.inputs) == (axis.output_size, 11)
    for output in range(axis.output_size):
        for tap in range(3):
            assert span.place(output, tap) == output * stride - padding[0] + tap * dilation
