"""Taps of an axis in classes and groups."""

import itertools

import pytest

from faltung.parts.weights.taps import tap_classes


@pytest.mark.parametrize(
    ("kernel_size", "stride", "dilation"),
    list(itertools.product((1, 2, 5, 8), (1, 2, 3, 4), (1, 2, 6))),
)
def test_taps_of_a_class_share_inputs(kernel_size: int, stride: int, dilation: int) -> None:
    classes = tap_classes(kernel_size, stride, dilation)
    taps = [c.first + n * c.step for c in classes for n in range(c.count)]
    assert sorted(taps) == list(range(kernel_size))
    for c in classes:
        # one step in taps is as far as so many outputs
        assert c.step * dilation == c.apart * stride


@pytest.mark.parametrize("most", range(1, 9))
@pytest.mark.parametrize("kernel_size", [1, 3, 7, 8])
def test_groups_are_even_and_cover_a_class(kernel_size: int, most: int) -> None:
    (only,) = tap_classes(kernel_size, 1, 1)
    runs = list(only.runs(most))
    covered = [
        tap for run in runs for begin in range(run.begin, run.end, run.size)
        for tap in range(begin, begin + run.size)
    ]  # fmt: skip
    assert covered == list(range(kernel_size))
    sizes = [run.size for run in runs]
    assert max(sizes) <= most and max(sizes) - min(sizes) <= 1
