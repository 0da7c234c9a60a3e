"""The order of the weights of small groups: what a lane multiplies in each turn."""

import itertools

import pytest
import torch

from faltung.parts.groups.lanes import GroupLanes
from faltung.parts.groups.weights import ordered


@pytest.mark.parametrize(
    ("groups", "inputs", "outputs"), [(8, 4, 4), (5, 3, 3), (7, 5, 2), (3, 1, 2)]
)
def test_every_lane_meets_each_input_of_its_group_once(
    groups: int, inputs: int, outputs: int
) -> None:
    lanes = GroupLanes(groups, inputs, outputs, 8)
    w = torch.randn(groups * outputs, inputs, 2, 3, 4)
    made = ordered(lanes, 1, w)
    assert made.shape == (lanes.blocks, 2, 3, inputs, 4, 8)
    for block, lane in itertools.product(range(lanes.blocks), range(8)):
        if lane >= lanes.used:
            assert not made[block, ..., lane].any()
            continue
        output = lanes.first(block) * outputs + lane
        for turn in range(inputs):
            expected = w[output, lanes.input(turn, lane)]
            assert torch.equal(made[block, :, :, turn, :, lane], expected)


@pytest.mark.parametrize(("inputs", "sets"), [(4, 2), (4, 4), (2, 2), (8, 2), (8, 4)])
def test_a_set_has_the_products_of_other_lanes(inputs: int, sets: int) -> None:
    lanes = GroupLanes(6, inputs, inputs, 16)
    w = torch.randn(6 * inputs, inputs, 2, 3, 4)
    together, parted = ordered(lanes, 1, w), ordered(lanes, sets, w)
    size = lanes.turns(sets)
    for turn in range(inputs):
        apart = turn // size * size
        moved = [lane ^ apart if lane < lanes.used else lane for lane in range(16)]
        assert torch.equal(parted[:, :, :, turn], together[:, :, :, turn][..., moved])
