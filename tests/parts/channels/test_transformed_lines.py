"""Transformed lines, against the same in NumPy: both memory orders, phases, lines of padding."""

import itertools

import numpy as np
import pytest

from faltung.lang.interpret import interpret
from faltung.lang.routine import Routine
from faltung.ops.geometry import Axis
from faltung.parts.channels.blocks import ChannelBlocks
from faltung.parts.channels.grouped_taps import PRODUCTS, TILE, GroupedTaps, matrices
from faltung.parts.channels.transformed_lines import Lines, TransformedLines

LANES = 4
AXES = [
    Axis(9, 7, padding=(3, 3)), Axis(5, 3, padding=(4, 0)), Axis(12, 5, padding=(5, 2), dilation=2),
    Axis(3, 2, padding=(9, 9), dilation=5), Axis(16, 6),
]  # fmt: skip


def expected(x: np.ndarray, cut: GroupedTaps, phase: int, u: int) -> np.ndarray:
    """V [products, inner, channels] of an image [lines, inner, channels]."""
    first = cut.place(cut.lead) + phase + TILE * u * cut.dilation
    seen = np.zeros((PRODUCTS, *x.shape[1:]))
    for j in range(PRODUCTS):
        if 0 <= (line := first + j * cut.dilation) < len(x):
            seen[j] = x[line]
    bt = np.array([[float(c) for c in row] for row in matrices().bt])
    return np.einsum("ij,jnc->inc", bt, seen)


@pytest.mark.parametrize("axis", AXES, ids=str)
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize(("channels", "inner"), [(6, 3), (3, 5), (8, 1)])
def test_they_are_the_transform(axis: Axis, last: bool, channels: int, inner: int) -> None:
    blocks, cut, images = ChannelBlocks(channels, LANES), GroupedTaps(axis), 2
    seen, kept, whole, at = cut.behind - cut.first, 2, inner + 3, 2
    kinds = list(itertools.product(range(images), range(blocks.count), range(cut.phases)))
    r = Routine("lines")
    x = r.reads("x", "float32", images * channels * axis.input_size * whole)
    every = PRODUCTS * kept * inner * LANES
    made = r.writes("made", "float32", every)
    y = r.writes("y", "float32", len(kinds) * seen * every)
    ring = TransformedLines.ring(inner, LANES) * LANES
    pixels = None if last else r.writes("pixels", "float32", ring)
    image = Lines(x, channels, axis.input_size, whole, inner, last)
    lines = TransformedLines(r, cut, blocks, "f32", image, kept, made, pixels)
    with r.work():
        for number, (n, block, phase) in enumerate(kinds):
            first = r.const(cut.first)
            lines.start(r.const(n), blocks.first(r, r.const(block)), r.const(phase), first, at)
            with r.loop(cut.first, cut.behind) as loop:
                lines.fill(loop.index)
                to = (loop.index - cut.first + number * seen) * every
                with r.loop(0, every, LANES) as copy:
                    r.store(y, to + copy.index, r.load(made, copy.index, LANES))
    values = np.random.default_rng(0).integers(-4, 5, (images, axis.input_size, whole, channels))
    given = values if last else values.transpose(0, 3, 1, 2)
    values = values[:, :, at : at + inner]
    memory = {b.name: np.full(b.count, np.nan, np.float32) for b in r.buffers}
    memory["x"] = given.astype(np.float32).ravel()
    interpret(r, memory)
    found = memory["y"].reshape(len(kinds), seen, PRODUCTS, kept, inner, LANES)
    for number, (n, block, phase) in enumerate(kinds):
        own = slice(blocks.first_of(block), blocks.first_of(block) + blocks.real)
        for u in range(cut.first, cut.behind):
            got = found[number, u - cut.first, :, (u - cut.first) % kept]
            assert (got[..., : blocks.real] == expected(values[n, ..., own], cut, phase, u)).all()


def test_where_they_lie() -> None:
    axis, blocks = Axis(40, 9), ChannelBlocks(4, LANES)
    r = Routine("places")
    x, made = r.reads("x", "float32", 480), r.writes("made", "float32", 7 * 3 * 3 * LANES)
    image = Lines(x, 4, 40, 3, 3, True)
    lines = TransformedLines(r, GroupedTaps(axis), blocks, "f32", image, 3, made, None)
    with r.work():
        places = [lines.place(i, r.const(u)).op.attr for i in range(PRODUCTS) for u in (3, 1, 2)]
    assert places == list(range(0, made.count // LANES, 3))
