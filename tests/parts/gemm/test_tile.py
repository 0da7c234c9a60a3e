"""A register tile of a matrix product."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from faltung.lang.interpret import interpret
from faltung.lang.ops import Op
from faltung.lang.routine import Routine
from faltung.parts.gemm.tile import Factor, GemmTile, Stream, SumAxis, merged

X, W = 4000, 6000


def product(
    tile: tuple[Sequence[int], int, Sequence[int], int],
    axes: Sequence[SumAxis],
    *,
    kept: Sequence[tuple[int, int] | None] = (),
    fetching: int = 0,
) -> tuple[np.ndarray, np.ndarray, list[Op]]:
    """What a tile makes and what it should, for x and w of whole numbers; and the record.

    `kept` are the bounds of each axis, which the routine is given as values it does not know.
    """
    x_offsets, x_lanes, w_offsets, w_lanes = tile
    lanes = max(x_lanes, w_lanes)
    r = Routine("tile", items=2)
    sums = len(x_offsets) * len(w_offsets)
    x, w = r.reads("x", "float32", X), r.reads("w", "float32", W)
    y = r.writes("y", "float32", sums * lanes)
    with r.work() as item, r.when(item < 1):
        bounded = [
            SumAxis(a.count, a.step, bounds and (item + bounds[0], item + bounds[1]), a.places)
            for a, bounds in itertools.zip_longest(axes, kept)
        ]
        streams = (Stream(w, item + 7, fetching),) if fetching else ()
        made = GemmTile(
            Factor(x, tuple(x_offsets), x_lanes), Factor(w, tuple(w_offsets), w_lanes), streams
        )
        start = [r.const(n + 1, "f32", lanes) for n in range(len(w_offsets))]
        for n, value in enumerate(made.sums(r, start, bounded, item + 5, item + 3)):
            r.store(y, n * lanes, value)
    rng = np.random.default_rng(0)
    memory = {
        "x": rng.integers(-4, 5, X).astype(np.float32),
        "w": rng.integers(-4, 5, W).astype(np.float32),
        "y": np.full(sums * lanes, np.nan, np.float32),
    }
    interpret(r, memory)
    expected = _by_hand(tile, axes, kept, memory["x"], memory["w"])
    return memory["y"].reshape(sums, lanes), expected, r.body


def _by_hand(tile, axes, kept, x, w):  # type: ignore[no-untyped-def]
    x_offsets, x_lanes, w_offsets, w_lanes = tile
    lanes = np.arange(max(x_lanes, w_lanes))
    width = len(w_offsets) * w_lanes
    out = np.zeros((len(x_offsets), len(w_offsets), len(lanes)))
    for j, o in itertools.product(range(len(x_offsets)), range(len(w_offsets))):
        total = np.full(len(lanes), o + 1.0)
        for k, terms in enumerate(itertools.product(*(range(axis.count) for axis in axes))):
            bounds = itertools.zip_longest(terms, kept)
            if any(b and not b[0] <= t < b[1] for t, b in bounds):
                continue
            if any(a.places and j not in a.places[t] for a, t in zip(axes, terms, strict=True)):
                continue
            at = 5 + x_offsets[j] + sum(a.step * t for a, t in zip(axes, terms, strict=True))
            first = 3 + k * width + w_offsets[o]
            total = total + x[at + lanes * (x_lanes > 1)] * w[first + lanes * (w_lanes > 1)]
        out[j, o] = total
    return out.reshape(-1, len(lanes))


BY_CHANNEL = ((0, 3, 11), 1, (0, 4), 4)  # numbers of x, vectors of w
BY_ROW = ((0, 8), 8, (0, 1, 2), 1)
AXES = [SumAxis(3, 500), SumAxis(2, 70), SumAxis(13, 3)]


@pytest.mark.parametrize("tile", [BY_CHANNEL, BY_ROW], ids=["along channels", "along rows"])
@pytest.mark.parametrize(
    "axes", [AXES, AXES[:1], [SumAxis(1, 7)], [SumAxis(2, 200), SumAxis(100, 1)], [SumAxis(0, 1)]]
)
def test_sums(tile: tuple[Sequence[int], int, Sequence[int], int], axes: list[SumAxis]) -> None:
    made, expected, _ = product(tile, axes)
    assert np.array_equal(made, expected)


@pytest.mark.parametrize("tile", [BY_CHANNEL, BY_ROW], ids=["along channels", "along rows"])
def test_terms_that_are_not_there_are_passed_over(
    tile: tuple[Sequence[int], int, Sequence[int], int],
) -> None:
    for kept in ([(1, 3), None, None], [(2, 2), (0, 1), None], [None, (1, 2), (4, 9)]):
        made, expected, _ = product(tile, AXES, kept=kept)
        assert np.array_equal(made, expected), kept


def test_terms_that_only_some_places_have() -> None:
    places = ((), (1, 2), (0, 1, 2), (0, 1, 2), (0,))
    for axes in (
        [SumAxis(5, 40, places=places), SumAxis(9, 1)],
        [SumAxis(3, 300), SumAxis(5, 8, places=places)],
    ):
        made, expected, _ = product(BY_CHANNEL, axes)
        assert np.array_equal(made, expected)


def test_a_masked_vector_reads_nothing_behind_its_mask() -> None:
    r = Routine("masked", items=1)
    x, w, y = r.reads("x", "float32", 6), r.reads("w", "float32", 1), r.writes("y", "float32", 8)
    with r.work():
        tile = GemmTile(Factor(x, (0, 4), 4, r.below(2, 4)), Factor(w, (0,), 1))
        zero = [r.const(0, "f32", 4)]
        for n, value in enumerate(tile.sums(r, zero, [SumAxis(1, 0)], r.const(0), r.const(0))):
            r.store(y, 4 * n, value)
    memory = {
        name: np.arange(1, count + 1, dtype=np.float32)
        for name, count in (("x", 6), ("w", 1), ("y", 8))
    }
    interpret(r, memory)
    assert memory["y"].tolist() == [1, 2, 3, 4, 5, 6, 0, 0]


def test_a_stream_is_asked_for_once_around() -> None:
    made, expected, body = product(BY_CHANNEL, [SumAxis(100, 1)], fetching=160)
    assert np.array_equal(made, expected)
    asked = [op for op in _all(body) if op.name == "prefetch"]
    assert asked and len(asked) <= 4


def _all(ops: Sequence[Op]) -> list[Op]:
    return [one for op in ops for one in (op, *_all(op.body))]


def test_loops_that_go_on_in_equal_steps_are_one() -> None:
    assert merged([SumAxis(3, 8), SumAxis(1, 99), SumAxis(8, 1)]) == [SumAxis(24, 1)]
    assert merged([SumAxis(3, 9), SumAxis(8, 1)]) == [SumAxis(3, 9), SumAxis(8, 1)]
    assert merged([SumAxis(1, 1)]) == [SumAxis(1, 0)]
    some = SumAxis(1, 1, places=((0,),))
    assert merged([some, SumAxis(2, 1)]) == [some, SumAxis(2, 1)]


def test_a_stream_of_rows_that_lie_apart() -> None:
    r = Routine("stream", items=2)
    x, y = r.reads("x", "float32", X), r.writes("y", "float32", 40)
    with r.work() as item, r.when(item < 1):
        # rows of 6 numbers that are 100 apart, from number 4 on
        stream = Stream(x, item + 3, 40, row=6, pitch=100, skipped=item + 4)
        with r.loop(0, 40) as loop:
            r.store(y, loop.index, r.load(x, stream.place(loop.index)))
    memory = {"x": np.arange(X, dtype=np.float32), "y": np.zeros(40, np.float32)}
    interpret(r, memory)
    assert memory["y"].tolist() == [3 + n // 6 * 100 + n % 6 for n in range(4, 44)]
