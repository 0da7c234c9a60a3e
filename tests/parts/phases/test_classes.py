"""One axis of a transposed convolution: every result gets exactly the products that are its own."""

from itertools import product

import numpy as np
import pytest

from faltung.lang.interpret import interpret
from faltung.lang.routine import Routine
from faltung.ops.geometry import Axis
from faltung.parts.phases.classes import PhaseAxis

ARGUMENTS = product((1, 2, 3, 5), (1, 2, 3, 4, 6), (-2, 0, 1, 5), (1, 2, 3, 4))
AXES = [
    PhaseAxis(results, kernel, stride, low, dilation, sources)
    for kernel, stride, low, dilation in ARGUMENTS
    for results, sources in ((1, 1), (7, 4), (20, 5), (13, 9))
]


def pairs(axis: PhaseAxis) -> dict[int, list[tuple[int, int]]]:
    """Which (source, tap) each result gets, by its definition."""
    found: dict[int, list[tuple[int, int]]] = {i: [] for i in range(axis.results)}
    for q, t in product(range(axis.sources), range(axis.kernel_size)):
        i = q * axis.stride - axis.low + t * axis.dilation
        if i in found:
            found[i].append((q, t))
    return found


def test_the_definition_is_that_of_the_geometry() -> None:
    axis = PhaseAxis(results=9, kernel_size=3, stride=2, low=1, dilation=2, sources=4)
    same = Axis(9, 3, 2, (1, 1), 2, output_size=4)
    assert pairs(axis) == {i: sorted(some) for i, some in enumerate(same.readers)}


def test_phases_have_the_products_of_their_results() -> None:
    for axis in AXES:
        found: dict[int, list[tuple[int, int]]] = {i: [] for i in range(axis.results)}
        for first in range(axis.phases):
            phase = axis.phase(first)
            for k, j in product(range(axis.count(first)), range(phase.begin, axis.turns)):
                tap = phase.residue + axis.period * (axis.turns - 1 - j)
                source = k + phase.base + axis.step * j
                assert 0 <= tap < axis.kernel_size, axis
                assert axis.reads[0] <= source - k <= axis.reads[1], axis
                if 0 <= source < axis.sources:
                    found[first + k * axis.stride].append((source, tap))
        assert {i: sorted(some) for i, some in found.items()} == pairs(axis), axis


@pytest.mark.parametrize("size", [1, 2, 5])
def test_turns_of_tiles_are_counted(size: int) -> None:
    for axis in AXES:
        tiles = turns = 0
        for first in range(axis.phases):
            phase = axis.phase(first)
            for k in range(0, axis.count(first), size):
                reads = [n + phase.base for n in range(k, k + size)]
                reached = [
                    j
                    for j in range(phase.begin, axis.turns)
                    if any(0 <= at + axis.step * j < axis.sources for at in reads)
                ]
                tiles += 1
                turns += reached[-1] - reached[0] + 1 if reached else 0
        found = axis.sums(size)
        assert found[0] == tiles
        # where a tile is narrower than the gaps of its reads, turns between two may reach nothing
        assert turns <= found[1] <= tiles * axis.turns
        if axis.step <= size:
            assert found[1] == turns, axis
        assert found[2] == (found[1] < tiles * axis.turns)


@pytest.mark.parametrize("axis", AXES[::37])
def test_a_routine_finds_the_same(axis: PhaseAxis) -> None:
    r = Routine("phase", axis.phases)
    y = r.writes("y", "float64", 5 * axis.phases)
    with r.work() as first:
        phase = axis.phase(first)
        inside = axis.inside(r, phase, r.const(1), r.const(2))
        for n, value in enumerate((phase.residue, phase.begin, phase.base, *inside)):
            # an index as a number: so many ones
            with r.loop(0, value + 99, carried=[r.const(0, "f64")]) as loop:
                loop.carry(loop.carried[0] + 1)
            r.store(y, first * 5 + n, loop.results[0])
    memory = {"y": np.full(5 * axis.phases, np.nan)}
    interpret(r, memory)
    for first, got in enumerate(memory["y"].reshape(-1, 5) - 99):
        phase = axis.phase(first)
        assert got[:2].tolist() == [phase.residue, phase.begin]
        assert got[2] == phase.base
        assert max(0, got[4] - got[3]) == axis.turns_inside(phase, 1, 2)
