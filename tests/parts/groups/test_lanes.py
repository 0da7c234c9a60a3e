"""Small groups side by side in a vector."""

import numpy as np
import pytest

from faltung.lang.interpret import interpret
from faltung.lang.routine import Routine
from faltung.parts.groups.lanes import GroupLanes

LANES = [
    GroupLanes(groups, inputs, outputs, lanes)
    for groups, inputs, outputs, lanes in [
        (32, 4, 4, 16), (32, 8, 8, 16), (8, 2, 2, 16), (2, 4, 4, 16), (5, 3, 3, 16),
        (7, 6, 5, 16), (16, 1, 2, 16), (9, 1, 1, 8), (4, 12, 4, 16), (3, 20, 7, 16),
        (6, 2, 4, 8), (2, 5, 2, 4), (10, 8, 2, 16), (3, 0, 2, 8),
    ]
]  # fmt: skip


@pytest.mark.parametrize("of", LANES, ids=str)
def test_each_lane_gets_each_input_of_its_group_once(of: GroupLanes) -> None:
    for lane in range(of.used):
        group = lane // of.outputs
        read = sorted(of.places[turn][lane] for turn in range(of.inputs))
        assert read == list(range(group * of.inputs, (group + 1) * of.inputs))
        for turn in range(of.inputs):
            assert of.places[turn][lane] == group * of.inputs + of.input(turn, lane)


@pytest.mark.parametrize("of", LANES, ids=str)
def test_blocks_cover_all_groups(of: GroupLanes) -> None:
    firsts = [of.first(block) for block in range(of.blocks)]
    covered = {first + n for first in firsts for n in range(of.together)}
    assert covered == set(range(of.groups))
    assert of.used <= of.lanes and of.read <= of.vectors * of.lanes


@pytest.mark.parametrize("of", [of for of in LANES if of.inputs], ids=str)
def test_picks_find_the_inputs(of: GroupLanes) -> None:
    r = Routine("picks")
    size = of.vectors * of.lanes
    x, y = r.reads("x", "float32", size), r.writes("y", "float32", of.inputs * of.lanes)
    with r.work():
        pixel = [r.load(x, v * of.lanes, of.lanes) for v in range(of.vectors)]
        for turn in range(of.inputs):
            r.store(y, turn * of.lanes, of.picked(r, pixel, turn))
    memory = {
        "x": np.arange(size, dtype=np.float32),
        "y": np.zeros(of.inputs * of.lanes, np.float32),
    }
    interpret(r, memory)
    picked = memory["y"].reshape(of.inputs, of.lanes)
    for turn in range(of.inputs):
        assert picked[turn, : of.used].tolist() == list(of.places[turn][: of.used])


@pytest.mark.parametrize("of", [of for of in LANES if of.most_sets > 1], ids=str)
def test_parted_sums_are_those_of_all_turns(of: GroupLanes) -> None:
    lanes, most = np.arange(of.lanes), of.most_sets
    assert most == of.inputs == of.outputs
    for sets in [2**n for n in range(most.bit_length())]:
        r, size = Routine("parted"), of.turns(sets)
        p, x = (r.reads(name, "float32", of.inputs * of.lanes) for name in "px")
        y = r.writes("y", "float32", 2 * of.lanes)
        with r.work():
            pixel = [r.load(x, 0, of.lanes)]
            parts = []
            for n in range(sets):
                turns = range(size)
                at = [(n * size + turn) * of.lanes for turn in turns]
                products = [of.picked(r, pixel, turn) * r.load(p, a, of.lanes)
                            for turn, a in zip(turns, at, strict=True)]  # fmt: skip
                total = products[0]
                for product in products[1:]:
                    total = total + product
                parts += [total, total + total]  # two outputs
            for n, total in enumerate(of.merged(r, parts, sets)):
                r.store(y, n * of.lanes, total)
        w = np.random.default_rng(1).integers(-9, 9, (of.inputs, of.lanes)).astype(np.float32)
        moved = np.stack([w[turn][lanes ^ (turn // size * size)] for turn in range(of.inputs)])
        numbers = np.zeros(of.inputs * of.lanes, np.float32)
        numbers[: of.lanes] = np.random.default_rng(2).integers(-9, 9, of.lanes)
        memory = {"p": moved.ravel(), "x": numbers, "y": np.zeros(2 * of.lanes, np.float32)}
        interpret(r, memory)
        expected = sum(w[turn] * numbers[list(of.places[turn])] for turn in range(of.inputs))
        found = memory["y"].reshape(2, of.lanes)[:, : of.used]
        assert np.array_equal(found, np.stack([expected, 2 * expected])[:, : of.used])


@pytest.mark.parametrize(
    ("of", "picks"),
    [(LANES[0], 3), (LANES[1], 7), (LANES[2], 1), (LANES[6], 1), (LANES[8], 24)],
    ids=str,
)
def test_no_pick_where_lanes_are_in_place(of: GroupLanes, picks: int) -> None:
    assert of.picks == picks
