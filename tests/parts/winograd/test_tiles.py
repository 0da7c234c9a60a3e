"""Blocks of tiles cover every output once, and read what its taps read."""

import itertools

import numpy as np
import pytest

from faltung.lang.interpret import interpret
from faltung.lang.routine import Routine
from faltung.parts.winograd.tiles import Block, PlainAxis, TiledAxis, block_sizes
from faltung.parts.winograd.transforms import transform

CASES = [
    (outputs, dilation, m)
    for outputs, dilation, m in itertools.product((1, 2, 7, 12, 13, 29), (1, 2, 3, 8), (2, 4))
]


def axis_of(outputs: int, dilation: int, m: int, low: int = 0) -> TiledAxis:
    return TiledAxis(PlainAxis(outputs, outputs, 3, low, dilation), transform(m, 3))


def sizes_of(axis: TiledAxis) -> set[int]:
    """Blocks of whole groups of phases, and parts of one that do not divide it."""
    return {*block_sizes(axis, most=16), *block_sizes(axis, most=5)}


def places(block: Block) -> list[tuple[int, int]]:
    """First output and skipped lines of each block, from what is recorded."""
    r = Routine("places")
    with r.work():
        made = [block.place(r, r.const(number)) for number in range(block.count)]
    return [(first.op.attr, skip.op.attr) for first, skip in made]


@pytest.mark.parametrize(("outputs", "dilation", "m"), CASES)
def test_every_output_is_made_in_one_block(outputs: int, dilation: int, m: int) -> None:
    axis = axis_of(outputs, dilation, m)
    for size in sizes_of(axis):
        block = Block(axis, size)
        runs, length = block.output_runs
        made = [
            first + run * dilation + line
            for first, skip in places(block)
            for run in range(runs)
            for line in range(skip, length)
        ]
        assert sorted(made) == list(range(axis.groups * axis.span)), (size, made)


@pytest.mark.parametrize(("outputs", "dilation", "m"), CASES)
def test_a_tile_finds_its_taps_in_the_runs(outputs: int, dilation: int, m: int) -> None:
    axis = axis_of(outputs, dilation, m)
    t = axis.transform
    for size in sizes_of(axis):
        block = Block(axis, size)
        lines_of = [
            [run * dilation + line for run in range(runs) for line in range(length)]
            for runs, length in (block.input_runs, block.output_runs)
        ]
        inputs, outputs_of = lines_of
        for first_line in first_lines(block):
            # places of the tile's inputs and outputs, from the block's first output on
            reads = [inputs[first_line + i * block.step] for i in range(t.size)]
            makes = [outputs_of[first_line + j * block.step] for j in range(t.outputs)]
            assert reads == [makes[0] + i * dilation for i in range(t.size)]
            assert makes == reads[: t.outputs]


def first_lines(block: Block) -> list[int]:
    """The first line of each tile, by running the loops that `each` records."""
    r = Routine("tiles")
    y = r.writes("y", "float64", 2 * block.tiles)
    one = r.reads("one", "float64", 512)
    with r.work(), block.each(r) as (tile, line):
        r.store(y, tile * 2, r.load(one, line))
        r.store(y, tile * 2 + 1, r.load(one, tile))
    memory = {"y": np.full(y.count, np.nan), "one": np.arange(512.0)}
    interpret(r, memory)
    assert memory["y"][1::2].tolist() == list(range(block.tiles))
    return [int(line) for line in memory["y"][::2]]


@pytest.mark.parametrize("dilation", [1, 2, 5])
@pytest.mark.parametrize("low", [-2, 0, 1, 7])
def test_pairs_that_read_an_input_are_counted(low: int, dilation: int) -> None:
    axis = PlainAxis(inputs=9, outputs=6, taps=3, low=low, dilation=dilation)
    read = [q - low + t * dilation for q in range(6) for t in range(3)]
    assert axis.executed == sum(0 <= i < 9 for i in read)
    assert axis.reads_all == (axis.executed == 18)


def test_sizes_of_blocks() -> None:
    axis = axis_of(56, 1, 4)
    assert block_sizes(axis, most=16) == [1, 2, 3, 4, 5, 7, 14]
    assert block_sizes(axis_of(100, 8, 4), most=20) == [8, 16]
    assert block_sizes(axis_of(100, 30, 4), most=12) == [1, 2, 3, 4, 5, 6, 8, 10]


@pytest.mark.parametrize("tiles", [0, 3, 15, 44])
def test_blocks_are_of_whole_groups_or_parts_of_one(tiles: int) -> None:
    axis = axis_of(40, 2, 4)
    with pytest.raises(ValueError, match=f"a block of {tiles} tiles is no number of whole groups"):
        Block(axis, tiles)
