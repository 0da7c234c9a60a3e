"""Results that may differ by rounding: how far, measured against the same in float64."""

import copy

import torch
from torch import Tensor, nn


def assert_near(ours: Tensor, theirs: Tensor, wide: Tensor) -> None:
    """Ours errs against float64 by a few times what PyTorch's own does, and a few roundings."""
    wide = wide.detach().double()
    allowed = 4 * (theirs.double() - wide).abs().max()
    allowed = allowed + 4 * torch.finfo(theirs.dtype).eps * wide.abs().max()
    assert bool((ours.double() - wide).abs().max() <= allowed)


def assert_near_model(ours: Tensor, twin: nn.Module, x: Tensor) -> None:
    """The same for what a model should give, which is not optimised."""
    with torch.no_grad():
        assert_near(ours.detach(), twin(x), copy.deepcopy(twin).double()(x.double()))
