"""Scratch buffers lie side by side, and a page from those of other threads."""

import itertools

import pytest

from faltung.lang.scratch import apart, bytes_for, places

SIZES = [0, 4, 64, 100, 512, 4032, 4096, 8192, 15_000]


def test_buffers_begin_at_lines_and_do_not_overlap() -> None:
    for sizes in itertools.product(SIZES, repeat=3):
        found, end = places(sizes)
        assert all(at % 64 == 0 for at in found)
        ends = [at + size for at, size in zip(found, sizes, strict=True)]
        assert all(before <= at for before, at in itertools.pairwise([0, *sorted(ends)]))
        assert all(end <= at for end, at in zip(ends, [*found[1:], end], strict=True))
        # for less than a line of each besides
        assert end % 64 == 0 and sum(sizes) <= end < sum(sizes) + 3 * 64


def test_no_buffers_take_nothing() -> None:
    assert places([]) == ((), 0)


@pytest.mark.parametrize("own", [64, 4096, 26_000])
def test_threads_lie_a_page_apart(own: int) -> None:
    assert apart(own) - own == 4096
    assert bytes_for(own, 1) == bytes_for(own, 0) == own
    for threads in (2, 3, 64):
        # the last one's part ends where the memory does
        assert bytes_for(own, threads) == (threads - 1) * apart(own) + own
    assert bytes_for(0, 8) == 0
