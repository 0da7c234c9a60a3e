"""What `FlopCounterMode` says of a call: twice its multiply-adds, in all directions."""

from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import faltung
from faltung import functional as FF
from faltung.torch_ops.flops import conv_flops
from torch_operator import EVERY, arguments, operands, problem


def counted(call: Any) -> int:
    with FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops())


@pytest.mark.parametrize(("task", "words"), EVERY)
def test_twice_the_multiply_adds(task: str, words: str) -> None:
    spec = problem(task, words)
    shapes = [t.shape for t in operands(spec)]
    assert conv_flops(*shapes, None, None, *arguments(spec)) == 2 * spec.macs


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("call", ["conv2d", "conv_transpose2d"])
def test_forward_and_backward(call: str, groups: int) -> None:
    x = torch.randn(2, 4, 9, 8, requires_grad=True)
    shape = (8, 4 // groups, 3, 3) if call == "conv2d" else (4, 8 // groups, 3, 3)
    w = torch.randn(shape, requires_grad=True)
    keywords: dict[str, Any] = {"stride": 2, "padding": 1, "groups": groups}
    macs = faltung.plan(x, w, transposed=call != "conv2d", **keywords).spec.macs
    ours, theirs = getattr(FF, call), getattr(F, call)
    assert counted(lambda: ours(x, w, **keywords)) == 2 * macs
    assert counted(lambda: theirs(x, w, **keywords)) == 2 * macs
    # in a group's weight gradient PyTorch counts the channels of all groups
    assert counted(lambda: ours(x, w, **keywords).sum().backward()) == 3 * 2 * macs
    assert counted(lambda: ours(x.detach(), w, **keywords).sum().backward()) == 2 * 2 * macs


def test_a_module_in_a_model() -> None:
    model = torch.nn.Sequential(faltung.nn.Conv2d(3, 8, 3), faltung.nn.Conv2d(8, 8, 3, groups=8))
    theirs = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Conv2d(8, 8, 3, groups=8))
    x = torch.randn(1, 3, 10, 10)
    assert counted(lambda: model(x)) == counted(lambda: theirs(x)) > 0
