import pytest
import torch

from faltung.by_hand import channel_shuffle, grouped
from faltung.errors import ArgumentError, ArgumentTypeError


@pytest.mark.parametrize(("channels", "groups"), [(6, 2), (6, 3), (12, 4), (5, 1), (5, 5)])
@pytest.mark.parametrize("size", [(4,), (3, 2), (2, 3, 1)])
def test_equals_pytorch(channels, groups, size, whole_numbers):
    x = whole_numbers(2, channels, *size)
    theirs = torch.nn.ChannelShuffle(groups)
    assert torch.equal(channel_shuffle(x, groups), theirs(x))
    view = x.transpose(0, 1).contiguous().transpose(0, 1)
    assert torch.equal(channel_shuffle(view, groups), theirs(x))
    assert channel_shuffle(x[:0], groups).shape == (0, channels, *size)


def test_the_other_count_undoes_it(whole_numbers):
    x = whole_numbers(1, 12, 3)
    assert torch.equal(channel_shuffle(channel_shuffle(x, 3), 4), x)


def test_lets_groups_mix(whole_numbers):
    w = whole_numbers(4, 2, 1, seed=2).abs()  # sums that cannot cancel

    def seen_by_the_first_output(between):
        x = torch.eye(4, dtype=torch.float64)[:, :, None]  # one channel at a time
        return grouped(between(grouped(x, w, groups=2)), w, groups=2)[:, 0, 0] != 0

    assert seen_by_the_first_output(lambda z: z).tolist() == [True, True, False, False]
    assert seen_by_the_first_output(lambda z: channel_shuffle(z, 2)).tolist() == [True] * 4


def test_mistakes_are_explained():
    with pytest.raises(ArgumentError, match="groups=4 does not divide the 6 channels of x"):
        channel_shuffle(torch.zeros(1, 6, 2), 4)
    with pytest.raises(ArgumentError, match="groups=0 does not divide"):
        channel_shuffle(torch.zeros(1, 6, 2), 0)
    with pytest.raises(ArgumentError, match="at least 3 dimensions"):
        channel_shuffle(torch.zeros(6, 2), 2)
    with pytest.raises(ArgumentTypeError, match="groups must be an integer"):
        channel_shuffle(torch.zeros(1, 6, 2), 2.0)
