import pytest
import torch
from torch.nn import functional as F

from faltung.by_hand import conv, merge_branches
from faltung.errors import ArgumentError

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}

# kernel sizes and dilations of the branches, and the size of the kernel that they are merged into
BRANCHES = [
    ([(13, 13), (5, 5)], [1, 1], None),  # RepLKNet
    ([(9, 9), (5, 5), (3, 3), (3, 3)], [1, 2, 3, 4], None),  # UniRepLKNet
    ([(11, 5), (5, 11), (5, 5)], [1, 1, 1], None),  # SLaK: the square is larger than each strip
    ([(3, 3)], [1], 7),
    ([(3, 1), (1, 3)], [(2, 1), (1, 3)], (5, 9)),
    ([(4, 2), (2, 6)], [1, 1], None),  # even with even
    ([(7,), (3,), (1,)], [1, 3, 1], None),
    ([(3, 3, 3), (1, 3, 1)], [1, 1], (3, 5, 3)),
]


def same(x, w, b, dilation, groups):
    """`F.conv(…, padding="same")`, which copies and warns where a span is even."""
    dims = w.dim() - 2
    steps = dilation if isinstance(dilation, tuple) else (dilation,) * dims
    totals = [d * (k - 1) for k, d in zip(w.shape[2:], steps, strict=True)]
    flat = [end for total in reversed(totals) for end in (total // 2, total - total // 2)]
    return CONV[dims](F.pad(x, flat), w, b, dilation=dilation, groups=groups)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(("kernels", "dilations", "kernel_size"), BRANCHES)
def test_one_convolution_does_what_all_branches_do(
    kernels, dilations, kernel_size, groups, whole_numbers
):
    dims = len(kernels[0])
    x = whole_numbers(2, 4, *range(6, 6 + dims))
    weights = [whole_numbers(2, 4 // groups, *k, seed=2 * n) for n, k in enumerate(kernels)]
    biases = [whole_numbers(2, seed=20 + n) for n in range(len(kernels))]
    w, b = merge_branches(weights, dilations, biases, kernel_size)
    branches = (
        same(x, *branch, d, groups) for *branch, d in zip(weights, biases, dilations, strict=True)
    )
    assert torch.equal(same(x, w, b, 1, groups), sum(branches))
    one = conv(x[:1], w, b, padding="same", groups=groups)
    assert torch.equal(one, same(x[:1], w, b, 1, groups))


def test_the_size_is_that_of_the_widest_branch_on_each_axis():
    strips = [torch.ones(1, 1, 11, 5), torch.ones(1, 1, 5, 11)]
    w, b = merge_branches(strips)
    assert w.shape == (1, 1, 11, 11)
    assert b is None
    assert w[0, 0, 5, 5] == 2
    assert w[0, 0, 0, 0] == 0
    assert merge_branches(strips, kernel_size=13)[0].shape == (1, 1, 13, 13)


def test_branches_without_a_bias_add_none():
    weights = [torch.ones(2, 1, 3), torch.ones(2, 1, 1), torch.ones(2, 1, 1)]
    _, b = merge_branches(
        weights, biases=[None, torch.tensor([1.0, 2.0]), torch.tensor([10.0, 20.0])]
    )
    assert b.tolist() == [11, 22]


def test_the_branches_are_left_as_they_are():
    weight, bias = torch.ones(1, 1, 3), torch.ones(1)
    merged, merged_bias = merge_branches([weight], biases=[bias])
    merged += 1
    merged_bias += 1
    assert weight.sum() == 3
    assert bias.sum() == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": []}, "there is no branch to merge"),
        (
            {"weights": [(1, 1, 5, 5)], "kernel_size": 3},
            r"spans \(5, 5\) does not fit into kernel size \(3, 3\)",
        ),
        (
            {"weights": [(1, 1, 3)], "dilations": [4], "kernel_size": 7},
            r"spans \(9,\) does not fit",
        ),
        (
            {"weights": [(1, 1, 5), (1, 1, 2)]},
            r"spans \(2,\) has no common centre with kernel size \(5,\)",
        ),
        (
            {"weights": [(2, 1, 5), (1, 1, 3)]},
            r"branch 1 is \(1, 1, 3\) .* may differ only in kernel size",
        ),
        ({"weights": [(1, 1, 5), (1, 1, 3, 3)]}, "may differ only in kernel size"),
        (
            {"weights": [(1, 1, 5)], "dilations": [1, 2]},
            "dilations must have one entry per branch: 1, got 2",
        ),
        ({"weights": [(1, 1, 5)], "biases": []}, "biases must have one entry per branch: 1, got 0"),
        (
            {"weights": [(2, 1, 5)], "biases": [torch.zeros(3)]},
            r"bias of branch 0 must have shape \(2,\), got \(3,\)",
        ),
        ({"weights": [(1, 1, 5)], "dilations": [0]}, "dilations must be at least 1"),
    ],
)
def test_mistakes_are_explained(arguments, message):
    arguments = {**arguments, "weights": [torch.zeros(shape) for shape in arguments["weights"]]}
    with pytest.raises(ArgumentError, match=message):
        merge_branches(**arguments)
