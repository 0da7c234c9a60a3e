"""Channels in vectors."""

import numpy as np
import pytest
import torch

from faltung.lang.interpret import interpret
from faltung.lang.routine import Routine
from faltung.lang.target import host_target
from faltung.parts.channels.blocks import ChannelBlocks


@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("channels", [1, 3, 4, 5, 8, 13, 16, 17, 31, 32])
def test_blocks_cover_all_channels(channels: int, lanes: int) -> None:
    blocks = ChannelBlocks(channels, lanes)
    r = Routine("firsts", blocks.count)
    c = r.reads("c", "float32", channels)
    y = r.writes("y", "float32", blocks.count * lanes)
    with r.work() as block:
        r.store(y, block * lanes, blocks.load(r, c, blocks.first(r, block)))
    memory = {
        "c": np.arange(1, channels + 1, dtype=np.float32),
        "y": np.empty(r.items * lanes, "f"),
    }
    interpret(r, memory)
    found = memory["y"].reshape(blocks.count, lanes)
    for block in range(blocks.count):
        numbers = blocks.first_of(block) + np.arange(1, lanes + 1)
        assert (found[block] == np.where(np.arange(lanes) < blocks.real, numbers, 0)).all()
    assert set(found.ravel()) - {0} == set(range(1, channels + 1))


@pytest.mark.parametrize("channels", [1, 3, 4, 5, 8, 21])
def test_packs_tap_by_tap(channels: int) -> None:
    blocks = ChannelBlocks(channels, 8)
    w = torch.randn(channels, 1, 2, 3)
    packed = blocks.pack(w, torch.float64)
    assert packed.shape == (blocks.count, 6, 8)
    for block in range(blocks.count):
        first = blocks.first_of(block)
        for lane in range(blocks.real):
            assert torch.equal(packed[block, :, lane], w[first + lane].flatten().double())
    assert not packed[:, :, blocks.real :].any()


def test_few_channels_take_short_vectors() -> None:
    widest = host_target().lanes(4)
    assert ChannelBlocks.of(1000, 4).lanes == widest
    assert ChannelBlocks.of(3, 4).lanes == 4
    assert ChannelBlocks.of(widest // 2, 4).lanes == max(4, widest // 2)
