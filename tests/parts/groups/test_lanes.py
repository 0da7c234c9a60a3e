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


@pytest.mark.parametrize(
    ("of", "picks"),
    [(LANES[0], 3), (LANES[1], 7), (LANES[2], 1), (LANES[6], 1), (LANES[8], 24)],
    ids=str,
)
def test_no_pick_where_lanes_are_in_place(of: GroupLanes, picks: int) -> None:
    assert of.picks == picks
