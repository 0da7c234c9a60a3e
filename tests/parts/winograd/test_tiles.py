"""Blocks of tiles cover every output once, and read what its taps read."""

import itertools

import numpy as np
import pytest

from faltung.lang.interpret import interpret
from faltung.lang.routine import Routine
from faltung.parts.winograd.tiles import (
    Block,
    PlainAxis,
    TiledAxis,
    block_sizes,
    sizes_of,
    tiled,
)
from faltung.parts.winograd.transforms import transform

CASES = [
    (outputs, dilation, m)
    for outputs, dilation, m in itertools.product((1, 2, 7, 12, 13, 29), (1, 2, 3, 8), (2, 4))
]


def axis_of(outputs: int, dilation: int, m: int, low: int = 0) -> TiledAxis:
    return TiledAxis(PlainAxis(outputs, outputs, 3, low, dilation), transform(m, 3))


def block_sizes_of(axis: TiledAxis) -> set[int]:
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
    for size in block_sizes_of(axis):
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
    for size in block_sizes_of(axis):
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


@pytest.mark.parametrize("low", [-2, 0, 1, 7])
@pytest.mark.parametrize(("taps", "stride"), [(3, 2), (5, 3), (1, 2), (2, 4)])
def test_pairs_with_a_stride_are_counted(low: int, taps: int, stride: int) -> None:
    axis = PlainAxis(inputs=11, outputs=4, taps=taps, low=low, stride=stride)
    read = [q * stride - low + t for q in range(4) for t in range(taps)]
    assert axis.executed == sum(0 <= i < 11 for i in read)
    assert axis.reads_all == (axis.executed == 4 * taps)
    assert axis.seen == max(read) - min(read) + 1


@pytest.mark.parametrize(("tiles", "stride"), [(1, 2), (3, 2), (5, 3)])
def test_tiles_with_a_stride_read_neighbours(tiles: int, stride: int) -> None:
    axis = tiled(PlainAxis(60, 20, 5, stride=stride), 2)
    block, size = Block(axis, tiles), axis.transform.size
    assert read_lines(block) == [2 * stride * n for n in range(tiles)]
    assert block.input_runs == (1, 2 * stride * (tiles - 1) + size)


@pytest.mark.parametrize(("taps", "m", "dilation"), [(7, 4, 1), (11, 3, 1), (8, 4, 2), (5, 3, 5)])
def test_parts_see_later_tiles(taps: int, m: int, dilation: int) -> None:
    axis = tiled(PlainAxis(90, 60, taps, 0, dilation), m)
    assert axis.parts == -(-taps // m) > 1
    assert axis.transform.taps == m and axis.noise < 3
    block = Block(axis, 2 * dilation)
    lines = read_lines(block)
    assert len(lines) == block.tiles + axis.halo
    for tile in range(block.tiles):
        for part in range(axis.parts):
            assert lines[tile + part * dilation] == lines[tile] + part * m * dilation
    (count, length), last = block.input_runs, lines[-1] + (axis.transform.size - 1) * dilation
    assert (count, length) == (1, last + 1)
    if dilation > 1:
        with pytest.raises(ValueError, match=f"in {axis.parts} parts is of whole groups"):
            Block(axis, dilation - 1)


def test_what_tiles_are_known() -> None:
    assert sizes_of(PlainAxis(9, 9, 3)) == (1, 2, 3, 4)
    assert sizes_of(PlainAxis(9, 9, 3, stride=2)) == (1, 2, 3, 4)
    assert sizes_of(PlainAxis(9, 9, 5)) == (1, 2, 4, 3)
    assert sizes_of(PlainAxis(9, 9, 15, stride=2)) == (1,)
    assert tiled(PlainAxis(9, 9, 5), 4).parts == 1
    with pytest.raises(ValueError, match="no tiles of 4 outputs are known for PlainAxis"):
        tiled(PlainAxis(9, 9, 15, stride=2), 4)


def read_lines(block: Block) -> list[int]:
    """Where the inputs of each tile begin, by running the loops that `each_read` records."""
    count = block.tiles + block.axis.halo
    r = Routine("tiles")
    y, one = r.writes("y", "float64", count), r.reads("one", "float64", 512)
    with r.work(), block.each_read(r) as (tile, line):
        r.store(y, tile, r.load(one, line))
    memory = {"y": np.full(y.count, np.nan), "one": np.arange(512.0)}
    interpret(r, memory)
    return [int(line) for line in memory["y"]]


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
