import pytest
import torch

from faltung.ops.unfold.algorithms.slices_torch import ALGORITHM
from faltung.ops.unfold.spec import UnfoldSpec


def test_does_what_pytorch_does_not() -> None:
    for text in (
        "unfold n1 c1 i4 k3 int8 cpu",
        "fold n0 c0 i4x4x4 k1x2x3 p1+0x0x2 circular complex32 cpu",
    ):
        assert ALGORITHM.unsupported(UnfoldSpec.parse(text)) == []


def test_workspace_is_the_padded_image() -> None:
    assert ALGORITHM.workspace(UnfoldSpec.parse("unfold n1 c2 i5 k3 float32 cpu")) == 0
    assert ALGORITHM.workspace(UnfoldSpec.parse("unfold n1 c2 i5 k3 p1 float32 cpu")) == 2 * 7 * 4


@pytest.mark.parametrize("task", ["unfold", "fold"])
def test_neither_keeps_nor_changes_its_operand(task: str) -> None:
    spec = UnfoldSpec.parse(f"{task} n2 c3 i4 k1 float32 cpu")
    operand = torch.arange(24.0).reshape(spec.operand_shape)
    before = operand.clone()
    ALGORITHM.build(spec)(operand).add_(1)
    assert torch.equal(operand, before)


def test_columns_of_a_slice_are_the_taps_of_every_window() -> None:
    spec = UnfoldSpec.parse("unfold n1 c1 i6 k2 s2 d2 float32 cpu")
    columns = ALGORITHM.build(spec)(torch.arange(6.0).reshape(1, 1, 6))
    assert columns.tolist() == [[[0, 2], [2, 4]]]
