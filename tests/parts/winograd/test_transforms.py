"""The transforms are exact: in fractions, and as they are recorded."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from faltung.by_hand import cook_toom
from faltung.lang.interpret import interpret
from faltung.lang.routine import Routine
from faltung.parts.winograd.transforms import (
    Matrix,
    Transform,
    mapped,
    noise_in_parts,
    points,
    sizes_in_parts,
    tile_sizes,
    transform,
    with_points,
)

KNOWN = [(m, r) for r in range(1, 9) for m in tile_sizes(r)]
STRIDED = [
    (m, r, s) for r in range(3, 11) for s in range(2, 5) for m in tile_sizes(r, s) if m > 1
]  # fmt: skip


def times(matrix: Matrix, vector: list[Fraction]) -> list[Fraction]:
    return [sum((a * b for a, b in zip(row, vector, strict=True)), Fraction()) for row in matrix]


@pytest.mark.parametrize(("m", "r"), KNOWN)
def test_they_filter_exactly(m: int, r: int) -> None:
    t = transform(m, r)
    assert [len(t.at), len(t.g), len(t.bt), t.size] == [m, m + r - 1, m + r - 1, m + r - 1]
    weights = [Fraction((-2) ** k + k, 7) for k in range(r)]
    inputs = [Fraction(3**k - 5 * k, 11) for k in range(t.size)]
    products = [a * b for a, b in zip(times(t.g, weights), times(t.bt, inputs), strict=True)]
    expected = [sum(weights[k] * inputs[i + k] for k in range(r)) for i in range(m)]
    assert times(t.at, products) == expected


@pytest.mark.parametrize(("m", "r", "s"), STRIDED)
def test_strided_ones_filter_exactly(m: int, r: int, s: int) -> None:
    t = transform(m, r, s)
    assert [len(t.at), len(t.g), len(t.bt), t.size] == [m, *[s * (m - 1) + r] * 3]
    weights = [Fraction((-2) ** k + k, 7) for k in range(r)]
    inputs = [Fraction(3**k - 5 * k, 11) for k in range(t.size)]
    products = [a * b for a, b in zip(times(t.g, weights), times(t.bt, inputs), strict=True)]
    expected = [sum(weights[k] * inputs[s * i + k] for k in range(r)) for i in range(m)]
    assert times(t.at, products) == expected
    assert t.size < m * r
    phases = [transform(m, -(-(r - phase) // s)).noise for phase in range(s)]
    assert min(phases) - 1e-9 <= t.noise <= max(phases) + 1e-9


@pytest.mark.parametrize(("m", "r"), [(m, r) for m, r in KNOWN if min(m, r) > 1])
def test_they_are_those_of_the_teaching_version(m: int, r: int) -> None:
    t = transform(m, r)
    matrices = cook_toom(m, r, points(m + r - 2))
    for ours, theirs in zip((t.at, t.g, t.bt), matrices, strict=True):
        assert ours == tuple(map(tuple, theirs))


@pytest.mark.parametrize("m", [2, 3, 4])
def test_any_points_filter_exactly(m: int) -> None:
    t = with_points(m, m, tuple(Fraction(3 * n - 2, 5) for n in range(2 * m - 2)))
    weights, inputs = (
        [Fraction(k + 2, 3) for k in range(m)],
        [Fraction(k * k) for k in range(t.size)],
    )
    products = [a * b for a, b in zip(times(t.g, weights), times(t.bt, inputs), strict=True)]
    expected = [sum(weights[k] * inputs[i + k] for k in range(m)) for i in range(m)]
    assert times(t.at, products) == expected


def test_what_is_known() -> None:
    assert tile_sizes(3) == (1, 2, 3, 4)
    assert tile_sizes(11) == tile_sizes(2, 3) == tile_sizes(2, 2) == (1,)
    assert tile_sizes(5, 2) == (1, 2, 3, 4)
    assert sizes_in_parts(2) == () and sizes_in_parts(7) == (3, 4)
    assert all(1 <= noise_in_parts(m) < 3 for m in sizes_in_parts(7))
    for m, r in KNOWN:
        assert transform(m, r) is transform(m, r)
        assert transform(m, r).noise >= 1
    noises = [transform(m, 3).noise for m in tile_sizes(3)]
    assert noises == sorted(noises)


@pytest.mark.parametrize("count", range(2, 8))
def test_points_differ_come_in_pairs_and_are_short(count: int) -> None:
    found = points(count)
    assert len(set(found)) == count
    assert {-point for point in found} == set(found)
    assert all(point.denominator <= 16 for point in found)


@pytest.mark.parametrize("name", ["at", "bt"])
@pytest.mark.parametrize("tile", [*KNOWN, *STRIDED])
def test_float32_holds_every_entry(tile: tuple[int, ...], name: str) -> None:
    for entry in itertools.chain(*getattr(transform(*tile), name)):
        assert Fraction(float(np.float32(float(entry)))) == entry


@pytest.mark.parametrize("name", ["at", "bt"])
@pytest.mark.parametrize("tile", [*KNOWN, *STRIDED])
def test_what_is_recorded_is_the_map(tile: tuple[int, ...], name: str) -> None:
    t = transform(*tile)
    matrix: Matrix = getattr(t, name)
    asked: list[Fraction] = []
    routine = Routine("map")
    x = routine.reads("x", "float64", len(matrix[0]))
    y = routine.writes("y", "float64", len(matrix))

    def factor(c: Fraction) -> object:
        asked.append(c)
        return routine.const(float(c), "f64")

    with routine.work():
        values = [routine.load(x, n) for n in range(x.count)]
        for n, value in enumerate(mapped(routine, matrix, values, factor)):
            routine.store(y, n, value)
    # whole numbers small enough that nothing is rounded
    inputs = [Fraction((-3) ** n + 5) for n in range(x.count)]
    memory = {"x": np.array(list(map(float, inputs))), "y": np.full(y.count, np.nan)}
    interpret(routine, memory)
    assert list(map(Fraction, memory["y"])) == times(matrix, inputs)
    assert set(asked) <= set(t.factors)
    (work,) = routine.body
    arithmetic = [op for op in work.body if op.name in ("add", "sub", "mul", "fma", "neg")]
    assert len(arithmetic) == t.operations[name]


@pytest.mark.parametrize(("m", "r", "most"), [(2, 3, 4), (4, 3, 12), (2, 5, 12), (3, 3, 10)])
def test_pairs_of_points_share_their_sums(m: int, r: int, most: int) -> None:
    t: Transform = transform(m, r)
    entries = [entry for row in t.bt for entry in row if entry]
    assert t.operations["bt"] <= most < len(entries)
