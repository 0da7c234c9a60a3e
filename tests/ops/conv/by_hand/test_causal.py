import pytest
import torch
from torch.nn import functional as F

from faltung.by_hand import causal_conv1d, conv
from faltung.errors import ArgumentError

every_argument = pytest.mark.parametrize(
    ("stride", "dilation", "groups"), [(1, 1, 1), (1, 3, 2), (2, 1, 1), (5, 2, 2)]
)


@every_argument
@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("length", [1, 3, 8])
def test_is_the_convolution_of_an_input_padded_on_its_left(
    length, k, stride, dilation, groups, whole_numbers
):
    x, b = whole_numbers(2, 4, length), whole_numbers(6, seed=4)
    w = whole_numbers(6, 4 // groups, k, seed=2)
    y = causal_conv1d(x, w, b, stride, dilation, groups)
    assert y.shape == (2, 6, -(-length // stride))
    padded = F.pad(x, ((k - 1) * dilation, 0))
    assert torch.equal(y, F.conv1d(padded, w, b, stride, 0, dilation, groups))
    assert torch.equal(y, conv(x, w, b, stride, "causal", dilation, groups))
    assert torch.equal(y[0], causal_conv1d(x[0], w, b, stride, dilation, groups))
    assert torch.equal(y[:0], causal_conv1d(x[:0], w, b, stride, dilation, groups))


@every_argument
def test_the_future_never_changes_the_present(stride, dilation, groups, whole_numbers):
    x, w = whole_numbers(1, 2, 9), whole_numbers(2, 2 // groups, 3, seed=2)
    y = causal_conv1d(x, w, None, stride, dilation, groups)
    for moment in range(9):
        other = x.clone()
        other[:, :, moment] += 1
        changed = (
            (causal_conv1d(other, w, None, stride, dilation, groups) != y).flatten(0, 1).any(0)
        )
        readers = [q for q, different in enumerate(changed) if different]
        assert all(q * stride >= moment for q in readers)
        reach = [
            q for q in range(len(changed)) if q * stride - moment in (0, dilation, 2 * dilation)
        ]
        assert readers == reach


def test_views(whole_numbers):
    x, w = whole_numbers(1, 9, 2).mT, whole_numbers(3, 3, 2, seed=2).mT
    assert torch.equal(causal_conv1d(x, w), causal_conv1d(x.contiguous(), w.contiguous()))


def test_only_time_is_causal():
    with pytest.raises(ArgumentError, match=r"weight must be \[O, C/groups, K\], got 4 dimensions"):
        causal_conv1d(torch.zeros(1, 1, 3, 3), torch.zeros(1, 1, 3, 3))
