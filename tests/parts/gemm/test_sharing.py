"""How work is cut into pieces for threads."""

import itertools
import random
from math import prod

import pytest

from faltung.parts.gemm.sharing import Pieces, cut, doubled, evenly, largest_share, whole_lines


def share_by_hand(axes: list[Pieces], threads: int) -> float:
    """The work of every item written down, and added up thread by thread."""
    sizes = [[axis.size] * (axis.count - 1) + [axis.last] for axis in reversed(axes)]
    work = [prod(some) for some in itertools.product(*sizes)]
    ends = [len(work) * thread // threads for thread in range(threads + 1)]
    return max(sum(work[a:b]) for a, b in itertools.pairwise(ends)) / sum(work)


def test_the_largest_share_is_that_of_the_items_one_by_one() -> None:
    choose = random.Random(4).randint
    for _ in range(300):
        axes = [cut(choose(1, 20), choose(1, 9)) for _ in range(choose(1, 4))]
        threads = choose(1, 9)
        assert largest_share(axes, threads) == pytest.approx(share_by_hand(axes, threads), 1e-12)


def test_a_last_piece_may_be_the_largest() -> None:
    # as with channels, whose last part has what is left over as well
    axes = [Pieces(10, 48, 80)]
    assert largest_share(axes, 2) == pytest.approx(272 / 512)
    assert largest_share(axes, 2) == pytest.approx(share_by_hand(axes, 2))


def test_nothing_to_do_is_one_share() -> None:
    assert largest_share([cut(0, 4), cut(7, 2)], 3) == 1.0
    assert cut(0, 4) == Pieces(1, 4, 0)


@pytest.mark.parametrize(("total", "size"), [(56, 1), (56, 8), (3136, 48), (7, 3), (5, 9), (1, 1)])
def test_even_blocks_are_whole_tiles_and_one_has_everything(total: int, size: int) -> None:
    found = list(evenly(total, size))
    assert found == sorted(set(found))
    assert all(block % size == 0 for block in found)
    assert found[0] == size
    assert found[-1] - size < total <= found[-1]


def test_there_are_even_blocks_for_two_and_three_threads() -> None:
    found = set(evenly(56, 1))
    assert {28, 19, 14, 7} <= found
    assert len(list(evenly(100_000, 1))) < 80  # each is counted through


def test_doubled() -> None:
    assert list(doubled(1)) == [1]
    assert list(doubled(10)) == [1, 2, 4, 8, 10]
    assert list(doubled(8)) == [1, 2, 4, 8]


@pytest.mark.parametrize("size", [4, 8])
def test_whole_lines(size: int) -> None:
    for numbers in (0, 1, 16, 1000, 1024):
        found = whole_lines(numbers, size)
        assert found * size % 64 == 0
        assert 0 <= (found - numbers) * size < 64
