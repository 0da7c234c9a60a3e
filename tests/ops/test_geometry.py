"""The arithmetic of one axis, against sizes worked out on paper and against PyTorch's padding."""

import itertools
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from faltung.errors import ArgumentError
from faltung.ops.geometry import (
    Axis,
    check_padding_mode,
    legal_output_paddings,
    output_size,
    resolve_padding,
    same_padding,
    transposed_output_size,
)

AXES = [
    Axis(n, k, s, (low, high), d)
    for n, k, s, low, high, d in itertools.product(
        (1, 2, 5, 8), (1, 2, 3, 5), (1, 2, 3), (0, 1, 3), (0, 2), (1, 2)
    )
    if output_size(n, k, s, (low, high), d) > 0
]


@pytest.mark.parametrize(
    ("n", "k", "s", "p", "d", "expected"),
    [
        (7, 5, 2, 2, 1, 4),  # row 19 of the text
        (80, 3, 2, 1, 1, 40),
        (7, 3, 1, 0, 3, 1),  # row 10: K=3, d=3 on 7 gives one number
        (5, 3, 2, 1, 1, 3),
        (2, 3, 1, 0, 1, 0),  # does not fit
    ],
)
def test_output_size(n: int, k: int, s: int, p: int, d: int, expected: int) -> None:
    assert output_size(n, k, s, (p, p), d) == expected


@pytest.mark.parametrize("k", [1, 3, 5, 31])
def test_half_the_kernel_keeps_the_size(k: int) -> None:
    assert output_size(17, k, 1, (k // 2, k // 2), 1) == 17


def test_transposed_size_undoes_the_size_for_each_legal_output_padding() -> None:
    for k, s, p, d in itertools.product((1, 3, 4), (1, 2, 3), (0, 1), (1, 2)):
        sizes = {transposed_output_size(6, k, s, (p, p), d, e) for e in range(s)}
        undone = {n for n in range(1, 60) if output_size(n, k, s, (p, p), d) == 6}
        assert sizes == undone
    assert list(legal_output_paddings(stride=2, dilation=3)) == [0, 1, 2]
    assert list(legal_output_paddings(stride=1, dilation=1)) == [0]


@pytest.mark.parametrize("lower", [False, True])
def test_same_padding_gives_the_input_size_over_the_stride(lower: bool) -> None:
    for n, k, s, d in itertools.product(range(1, 12), (1, 2, 3, 5), (1, 2, 3, 4), (1, 2)):
        low, high = same_padding(n, k, s, d, lower=lower)
        assert output_size(n, k, s, (low, high), d) == -(-n // s)
        assert 0 <= (low - high if lower else high - low) <= 1


def test_padding_words() -> None:
    assert resolve_padding("valid", 9, 3, 2, 1) == (0, 0)
    assert resolve_padding("causal", 9, 3, 2, 4) == (8, 0)
    assert resolve_padding("same", 4, 4, 1, 1) == (1, 2)
    assert resolve_padding("same_lower", 4, 4, 1, 1) == (2, 1)
    assert resolve_padding((5, 6), 4, 4, 1, 1) == (5, 6)


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_sources_are_what_torch_pads(mode: str) -> None:
    for zeros in AXES:
        low, high = zeros.padding
        if mode != "zeros" and max(low, high) >= zeros.input_size:
            continue
        axis = replace(zeros, padding_mode=mode)
        numbers = torch.arange(1.0, axis.input_size + 1).view(1, 1, -1)
        padded = F.pad(numbers, (low, high), mode="constant" if mode == "zeros" else mode)[0, 0]
        for q, row in enumerate(axis.sources):
            for t, i in enumerate(row):
                found = padded[q * axis.stride + t * axis.dilation]
                assert found == (0 if i is None else i + 1)


def test_circular_padding_may_wrap_more_than_once() -> None:
    axis = Axis(3, 1, 1, (7, 0), 1, "circular")
    assert [row[0] for row in axis.sources] == [2, 0, 1, 2, 0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize("mode", ["zeros", "replicate", "circular"])
def test_readers_are_sources_backwards(mode: str) -> None:
    for zeros in AXES:
        axis = replace(zeros, padding_mode=mode)
        forwards = {
            (q, t, i)
            for q, row in enumerate(axis.sources)
            for t, i in enumerate(row)
            if i is not None
        }
        backwards = {(q, t, i) for i, pairs in enumerate(axis.readers) for q, t in pairs}
        assert forwards == backwards
        assert axis.executed == len(forwards)
        assert set(axis.unread) == set(range(axis.input_size)) - {i for _, _, i in forwards}


def test_the_floor_leaves_the_last_input_unread() -> None:
    assert Axis(6, 3, 2).unread == (5,)
    assert Axis(80, 3, 2, (1, 1)).unread == ()
    assert Axis(7, 1, 3).unread == (1, 2, 4, 5)


def test_executed_taps_of_a_kernel_larger_than_the_image() -> None:
    # 13 taps over 7 positions, padding 6: each of the 7 × 7 pairs once
    assert Axis(7, 13, 1, (6, 6)).executed == 49


def test_padding_that_a_mode_cannot_fill() -> None:
    with pytest.raises(
        ArgumentError, match=r"reflect padding \(3, 0\) must be smaller than the input size 3"
    ):
        check_padding_mode(Axis(3, 1, 1, (3, 0), 1, "reflect"), "conv1d")
    with pytest.raises(ArgumentError, match=r"circular padding \(1, 1\) has nothing to copy from"):
        check_padding_mode(Axis(0, 1, 1, (1, 1), 1, "circular"), "conv1d")
