"""The gradient of a bias on the way to the weight's: who finds it so."""

import torch
from torch import Tensor

from faltung.ops.conv.algorithms import weight_channels_last_cpu, weight_rows_cpu
from faltung.ops.conv.bias_gradient import OnTheWay, rounded
from faltung.ops.conv.spec import ConvSpec


def test_a_run_is_the_first_of_both() -> None:
    def both(x: Tensor, gy: Tensor) -> tuple[Tensor, Tensor]:
        return x * gy, gy.sum((0, 2))

    x, gy = torch.randint(-3, 4, (2, 3, 4, 5)).float()
    run = OnTheWay(both)
    assert torch.equal(run(x, gy), x * gy)
    assert torch.equal(run.both(x, gy)[1], gy.sum((0, 2)))


def test_routines_of_small_groups_find_it() -> None:
    for algorithm, layout in (
        (weight_rows_cpu.ALGORITHM, "contiguous"),
        (weight_channels_last_cpu.ALGORITHM, "channels_last"),
    ):
        spec = ConvSpec.parse(f"grad_weight n1 c8 o8 i6x6 k3x3 p1 g2 {layout} float32 cpu")
        assert isinstance(algorithm.build(spec), OnTheWay)


def test_gradients_are_rounded_only_if_they_are_wider() -> None:
    gw, gb = torch.randn(2, 3), torch.randn(3)
    same = rounded(gw, gb, torch.float32)
    assert same[0] is gw and same[1] is gb
    narrow = rounded(gw, gb, torch.bfloat16)
    assert torch.equal(narrow[0], gw.bfloat16()) and torch.equal(narrow[1], gb.bfloat16())
