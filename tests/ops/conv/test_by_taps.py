"""What tests compare with is the definition, to the bit, on every problem and in every task."""

from dataclasses import replace

import pytest
import torch

import by_taps
from faltung import by_hand
from faltung.ops.conv.spec import ConvSpec
from faltung.tools.budget import assert_equal
from problems import SMALL

MORE = (
    "forward n2 c3 o6 i5x4 k2x3 s2x1 p1+0x2 d1x2 g3 y2x3 complex64 cpu",
    "forward n2 c4 o2 i4x3x5 k2x3x2 s1x2x1 p1x0+2x1 g2 circular int64 cpu",
    "forward n1 c0 o3 i4 k2 float64 cpu",
)


@pytest.mark.parametrize("task", ["forward", "grad_input", "grad_weight"])
@pytest.mark.parametrize("text", [*SMALL, *MORE])
def test_is_the_definition(text: str, task: str) -> None:
    spec = ConvSpec.parse(text)
    spec = replace(spec, task=task) if task == "grad_input" else spec.with_task(task)
    first, second = (torch.randint(-4, 5, shape) for shape in spec.operand_shapes)
    wide = torch.int64 if spec.dtype == "int64" else torch.float64
    if spec.dtype == "complex64":
        wide = torch.complex128
        first, second = (torch.complex(t.double(), t.flip(-1).double()) for t in (first, second))
    operands = first.to(wide), second.to(wide)
    expected = getattr(by_hand, task)(*operands, spec)
    assert_equal(getattr(by_taps, task)(*operands, spec), expected)
    assert not expected.numel() or spec.batch * spec.in_channels == 0 or expected.abs().sum() > 0
