"""Channels in vectors: as many blocks of `lanes` channels as cover them all.

Where the channels do not fill the last block, it overlaps the one before: what both compute is the
same, and no lane has to be left out. Fewer channels than lanes are one block with idle lanes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ...lang.ops import Buffer
from ...lang.routine import Routine, Value
from ...lang.target import host_target


@dataclass(frozen=True)
class ChannelBlocks:
    """The blocks of `channels` channels.

    >>> blocks = ChannelBlocks(channels=21, lanes=8)
    >>> blocks.count, [blocks.first_of(block) for block in range(3)], blocks.real
    (3, [0, 8, 13], 8)
    """

    channels: int
    lanes: int

    @classmethod
    def of(cls, channels: int, item_size: int) -> "ChannelBlocks":
        """The machine's vectors, or halves of them while all channels fit in that."""
        lanes = host_target().lanes(item_size)
        while lanes > 4 and channels <= lanes // 2:
            lanes //= 2
        return cls(channels, lanes)

    @property
    def count(self) -> int:
        """How many blocks."""
        return -(-self.channels // self.lanes)

    @property
    def real(self) -> int:
        """Channels of a block that exist."""
        return min(self.lanes, self.channels)

    def first_of(self, block: int) -> int:
        """The first channel of a block."""
        return min(block * self.lanes, self.channels - self.real)

    def first(self, r: Routine, block: Value) -> Value:
        """The first channel of a block, while a routine runs."""
        if self.channels % self.lanes == 0:
            return block * self.lanes
        return r.minimum(block * self.lanes, self.channels - self.real)

    def mask(self, r: Routine) -> Value | None:
        """The lanes that hold a channel; None if all of them do."""
        return None if self.real == self.lanes else r.below(self.real, self.lanes)

    def load(self, r: Routine, buffer: Buffer, at: Value) -> Value:
        """The numbers of a block's channels that lie side by side."""
        return r.load(buffer, at, self.lanes, self.mask(r))

    def pack(self, w: Tensor, dtype: torch.dtype) -> Tensor:
        """A filter of taps per channel, block by block, tap by tap, channel by channel.

        w [C, 1, K…] becomes [blocks, ∏K, lanes], with 0 in lanes that hold no channel.
        """
        rows = w.reshape(self.channels, -1).to(dtype)
        if self.channels % self.real:  # the last block has some of those before once more
            whole = self.channels // self.real * self.real
            rows = torch.cat([rows[:whole], rows[-self.real :]])
        blocks = rows.view(self.count, self.real, -1).transpose(1, 2)
        return torch.nn.functional.pad(blocks, (0, self.lanes - self.real)).contiguous()
