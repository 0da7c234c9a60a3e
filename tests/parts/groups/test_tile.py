"""Which tile of small groups × outputs a row, or a pair of rows, is cut into."""

from collections.abc import Iterator

import pytest

from faltung.lang.target import AVX2, AVX512, NEON, Target
from faltung.ops.geometry import Axis
from faltung.parts.groups import tile as module
from faltung.parts.groups.lanes import GroupLanes
from faltung.parts.groups.tile import MOST_CODE, GroupTile, best_tile, readers

RESNEXT = GroupLanes(32, 4, 4, 16)


@pytest.fixture(params=[AVX512, AVX2, NEON], ids=["avx512", "avx2", "neon"])
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    chosen: Target = request.param
    monkeypatch.setattr(module, "host_target", lambda: chosen)
    best_tile.cache_clear()
    yield chosen
    best_tile.cache_clear()


@pytest.mark.parametrize("width", [1, 7, 56, 300])
@pytest.mark.parametrize("numbers", [(3, 1, 1), (3, 2, 1), (5, 1, 2), (31, 1, 1)])
@pytest.mark.parametrize("groups", [(32, 4, 4), (8, 8, 8), (20, 1, 2), (4, 30, 3)])
def test_a_tile_fits(
    machine: Target, groups: tuple[int, int, int], numbers: tuple[int, int, int], width: int
) -> None:
    kernel_size, stride, dilation = numbers
    lanes = GroupLanes(*groups, machine.lanes(4))
    if 2 * lanes.outputs > lanes.lanes:
        pytest.skip("not two groups to a vector")
    wide = Axis(width + 80, kernel_size, stride, (1, 1), dilation)
    tile = best_tile(lanes, (Axis(1, 1), wide, wide))
    registers = 32 if machine.vector_bits == 512 else 16
    assert tile.sums * (2 if tile.pairs else 1) < registers
    assert 1 <= tile.some < registers // 2 and tile.sets <= lanes.most_sets
    assert 1 <= tile.taps <= kernel_size
    assert tile.code(lanes, wide) <= 2 * MOST_CODE or tile.columns == 1


@pytest.mark.parametrize("width", [1, 7, 56, 300])
@pytest.mark.parametrize("groups", [(32, 4, 4), (8, 8, 8), (4, 30, 3)])
def test_a_tile_of_four_rows_fits(
    machine: Target, groups: tuple[int, int, int], width: int
) -> None:
    lanes = GroupLanes(*groups, machine.lanes(4))
    if 2 * lanes.outputs > lanes.lanes:
        pytest.skip("not two groups to a vector")
    axis = Axis(width, 3, 1, (1, 1))
    tile = best_tile(lanes, (Axis(1, 1), axis, axis), four=True)
    registers = 32 if machine.vector_bits == 512 else 16
    assert (tile.down, tile.products, tile.pairs, tile.sets) == (4, 6, None, 1)
    # the sums of twins, the weights of a turn, and a pixel; others' sums wait in memory
    assert 2 * tile.columns + tile.taps + 1 < registers


def test_four_rows_take_fewer_cycles_where_groups_have_four_channels(machine: Target) -> None:
    lanes, axis = GroupLanes(32, 4, 4, machine.lanes(4)), Axis(56, 3, 1, (1, 1))
    if machine.lanes(4) < 8:
        pytest.skip("not two groups to a vector")
    axes = Axis(1, 1), axis, axis
    assert best_tile(lanes, axes, four=True).cycles(lanes, axes) < best_tile(lanes, axes).cycles(
        lanes, axes
    )


def test_pairs_where_they_save_products() -> None:
    for numbers, paired in (((3, 1, 1), True), ((3, 2, 1), False), ((3, 1, 2), False)):
        kernel_size, stride, dilation = numbers
        axis = Axis(56, kernel_size, stride, (1, 1), dilation)
        assert (best_tile(RESNEXT, (Axis(1, 1), axis, axis)).pairs is not None) == paired


def test_sums_are_parted_where_that_saves_picks(machine: Target) -> None:
    near = 1 if machine.vector_bits == 512 else 2  # seen: pairs of rows need few picks
    for inputs, outputs, stride, sets in (
        (8, 8, 1, 2), (8, 8, 2, 2), (4, 4, 1, near), (4, 4, 2, 2), (2, 2, 2, 1), (4, 2, 2, 1),
        (3, 3, 2, 1), (1, 1, 2, 1),
    ):  # fmt: skip
        lanes, axis = GroupLanes(32, inputs, outputs, 16), Axis(56, 3, stride, (1, 1))
        tile = best_tile(lanes, (Axis(1, 1), axis, axis))
        assert tile.sets == sets
        assert lanes.set_picks(sets) < lanes.picks or sets == 1


def test_cycles_count_what_is_done() -> None:
    axis = Axis(56, 3, 1, (1, 1))
    axes = Axis(1, 1), axis, axis
    one, two = (GroupTile(None, columns, 3).cycles(RESNEXT, axes) for columns in (14, 2))
    products = 8 * axis.executed * 56 * 3 * 4 / 2  # two a cycle
    assert products < one < 1.7 * products
    assert two > 1.3 * one  # picks are used by fewer outputs
    assert best_tile(RESNEXT, axes).cycles(RESNEXT, axes) < one


def test_readers_are_all_pairs() -> None:
    axis = Axis(40, 5, 2, (0, 0), 3)
    found = readers(4, 5, axis)
    pairs = sorted((output, tap) for some in found.values() for output, tap in some)
    assert pairs == [(output, tap) for output in range(4) for tap in range(5)]
    for place, some in found.items():
        assert all(output * 2 + tap * 3 == place for output, tap in some)
    assert list(found) == sorted(found)
