"""Output channels in blocks, and loops that carry sums; tiles are tested where they are used."""

import numpy as np
import pytest
import torch

from faltung.lang.interpret import interpret
from faltung.lang.routine import Routine
from faltung.parts.channels.sums import OutputBlocks, looped


@pytest.mark.parametrize(("outputs", "lanes"), [(64, 32), (40, 16), (5, 16), (16, 16), (17, 16)])
def test_blocks_hold_all_outputs(outputs: int, lanes: int) -> None:
    blocks = OutputBlocks(groups=2, outputs=outputs, lanes=lanes)
    w = torch.arange(2.0 * 3 * outputs).view(2, 3, outputs) + 1
    packed = blocks.packed(w)
    assert packed.shape == (2, blocks.count, 3, lanes)
    for block in range(blocks.count):
        start = min(block * blocks.size, outputs - blocks.size)
        assert torch.equal(packed[:, block, :, : blocks.size], w[..., start : start + blocks.size])
    assert not packed[..., blocks.size :].any()


@pytest.mark.parametrize(("outputs", "lanes"), [(64, 32), (40, 16), (5, 16)])
def test_the_block_of_an_output(outputs: int, lanes: int) -> None:
    blocks = OutputBlocks(groups=3, outputs=outputs, lanes=lanes)
    starts = [min(n * blocks.size, outputs - blocks.size) for n in range(blocks.count)]
    r = Routine("index", blocks.groups)
    y = r.writes("y", "float32", blocks.groups * blocks.count)
    with r.work() as group:
        for start in starts:
            r.store(y, blocks.index(group, r.const(start)), r.const(float(start + 1), "f32"))
    memory = {"y": np.zeros(blocks.groups * blocks.count, np.float32)}
    interpret(r, memory)
    assert memory["y"].tolist() == [start + 1 for start in starts] * blocks.groups


@pytest.mark.parametrize("turns", [0, 1, 3])
def test_a_loop_of_known_turns(turns: int) -> None:
    r = Routine("loop")
    y = r.writes("y", "float32", 1)
    with r.work():
        bounds = r.const(0), r.const(turns)
        (total,) = looped(r, bounds, [r.const(5.0, "f32")], lambda n, sums: [sums[0] + 2.0])
        r.store(y, 0, total)
    memory = {"y": np.zeros(1, np.float32)}
    interpret(r, memory)
    assert memory["y"][0] == 5 + 2 * turns
    names = [op.name for op in r.body[0].body]
    assert ("loop" in names) == (turns > 1)
