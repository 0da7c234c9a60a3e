import pytest
import torch
from torch.nn import functional as F

from faltung.by_hand import grouped
from faltung.errors import ArgumentError


def test_equals_pytorch(zero_padding_problem):
    x, w, b = zero_padding_problem.tensors()
    y = grouped(x, w, b, **zero_padding_problem.arguments)
    assert torch.equal(y, zero_padding_problem.expected(x, w, b))


@pytest.mark.parametrize(("groups", "kernel_maps"), [(1, 8), (2, 4)])
def test_two_channels_and_four_filters(groups, kernel_maps, whole_numbers):
    # the worked case of the text: C = 2, O = 4
    x, w = whole_numbers(2, 2, 5, 5), whole_numbers(4, 2 // groups, 3, 3, seed=2)
    assert w.shape[0] * w.shape[1] == kernel_maps
    y = grouped(x, w, groups=groups)
    assert y.shape == (2, 4, 3, 3)  # batch, filters and sizes do not depend on the groups
    assert torch.equal(y, F.conv2d(x, w, groups=groups))


def test_groups_never_see_each_other(whole_numbers):
    x, w = whole_numbers(1, 4, 4, 4), whole_numbers(6, 2, 2, 2, seed=2)
    other = x.clone()
    other[:, :2] += 1  # the first group only
    before, after = grouped(x, w, groups=2), grouped(other, w, groups=2)
    assert not torch.equal(before[:, :3], after[:, :3])
    assert torch.equal(before[:, 3:], after[:, 3:])


def test_groups_must_divide_both_channel_counts():
    with pytest.raises(ArgumentError, match="groups=2 does not divide the 3 output channels"):
        grouped(torch.zeros(1, 4, 5, 5), torch.zeros(3, 2, 3, 3), groups=2)
    with pytest.raises(
        ArgumentError, match=r"input has 3 channels but weight .* with groups=2 needs 2"
    ):
        grouped(torch.zeros(1, 3, 5, 5), torch.zeros(4, 1, 3, 3), groups=2)
