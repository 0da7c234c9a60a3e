"""The weight of small groups in the order in which tiles read it."""

import torch
from torch import Tensor

from .lanes import GroupLanes


def ordered(lanes: GroupLanes, sets: int, w: Tensor) -> Tensor:
    """[outputs, inputs, planes, rows, columns] by blocks, plane, row, turn, column and lane.

    Where sums are parted into `sets`, lanes are those of the set. 0 in lanes that are no output.

    >>> lanes = GroupLanes(groups=4, inputs=2, outputs=2, lanes=4)
    >>> ordered(lanes, 1, torch.zeros(8, 2, 1, 3, 3)).shape
    torch.Size([2, 1, 3, 2, 3, 4])
    """
    real = [lane if lane < lanes.used else 0 for lane in range(lanes.lanes)]
    firsts = torch.tensor([lanes.first(n) * lanes.outputs for n in range(lanes.blocks)])
    size = lanes.turns(sets)
    own = [[lane ^ turn // size * size for lane in real] for turn in range(lanes.inputs)]
    turns = [[lanes.input(n, lane) for lane in of_turn] for n, of_turn in enumerate(own)]
    outputs = firsts[:, None, None] + torch.tensor(own, dtype=torch.long).view(-1, lanes.lanes)
    found = w[outputs, torch.tensor(turns, dtype=torch.long).view(-1, lanes.lanes)]
    found[:, :, lanes.used :] = 0
    return found.permute(0, 3, 4, 1, 5, 2)
