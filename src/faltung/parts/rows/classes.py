"""Output channels whose rows begin at the same place of a cache line, and their packed weights.

In a contiguous signal each channel's row follows the one before. If its length is no whole number
of vectors, the rows begin at different places of a line, and a tile of neighbouring channels writes
nearly all of its vectors across two lines. Channels that are `period` apart begin alike: a tile of
those begins where their lines do.
"""

from dataclasses import dataclass
from math import gcd

import torch
from torch import Tensor

_LEAST_VECTORS = 16  # in a row: at either end one is written twice
_LEAST_MEMBERS = 8  # of a class, or each stretch of inputs is used by few


@dataclass(frozen=True)
class RowClasses:
    """`outputs` channels in `period` classes, in tiles of `channels` of a class.

    >>> RowClasses(outputs=6, period=2, channels=2).members
    3
    """

    outputs: int
    period: int
    channels: int

    @property
    def members(self) -> int:
        """Channels of a class."""
        return self.outputs // self.period

    @property
    def tiles(self) -> int:
        """Tiles of all classes; the last of a class may overlap the one before."""
        return self.period * -(-self.members // self.channels)

    def packed(self, w: Tensor) -> Tensor:
        """[groups, outputs, inputs, taps] as [groups, class, tile, inputs, taps, channels]."""
        groups, _, *rest = w.shape
        classes = w.reshape(groups, self.members, self.period, *rest).transpose(1, 2)
        starts = range(0, self.members, self.channels)
        ends = self.members - self.channels
        tiles = [classes[:, :, min(start, ends) :][:, :, : self.channels] for start in starts]
        return torch.stack(tiles, 2).permute(0, 1, 2, 4, 5, 3).contiguous()


def row_period(outputs: int, columns: int, lanes: int) -> int:
    """How far apart channels begin alike, if it is worth telling them apart; else 1.

    >>> [row_period(512, columns, lanes=16) for columns in (3199, 3200, 3198, 99)]
    [16, 1, 8, 1]
    """
    period = lanes // gcd(lanes, columns)
    worth = columns >= _LEAST_VECTORS * lanes and outputs >= _LEAST_MEMBERS * period
    return period if worth and outputs % period == 0 else 1
