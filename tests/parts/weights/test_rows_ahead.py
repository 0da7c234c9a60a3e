"""What gradients along rows ask for ahead: every line of what is copied next, and in its cache."""

import numpy as np
import pytest

from faltung.lang.interpret import interpret
from faltung.lang.ops import Buffer
from faltung.lang.routine import Operand, Routine
from faltung.parts.gemm.problem import Span
from faltung.parts.weights.rows_ahead import Place, RowsAhead
from faltung.parts.weights.rows_layout import RowsLayout, RowsProblem, RowsTile, best_rows_layout

WIDE = Span(70, 70, 3, 1, 1)
LINE = 16  # numbers


class Noting(Routine):
    """Writes down, in a buffer of each, what is asked for."""

    def prefetch(self, buffer: Buffer, at: Operand, cache: int = 1) -> None:
        assert cache == 2
        (asked,) = (one for one in self.buffers if one.name == f"asked_{buffer.name}")
        place = self.minimum(self.maximum(at, 0), asked.count - 1)
        self.store(asked, place, self.const(1, "f32"))


def asked(layout: RowsLayout, block: int, visit: int) -> tuple[set[int], set[int]]:
    """Which numbers of x and of gy are asked for by all turns of a visit, in all channels."""
    p = layout.problem
    sizes = {
        "x": p.batch * p.groups * p.inputs * p.depth.inputs * p.rows.inputs * p.columns.inputs,
        "gy": p.batch * p.groups * p.outputs * p.depth.outputs * p.rows.outputs * p.columns.outputs,
    }
    r = Noting("asks")
    x, gy = (r.reads(name, "float32", size) for name, size in sizes.items())
    for name, size in sizes.items():
        r.writes(f"asked_{name}", "float32", size)

    def place(block: int, visit: int) -> Place:
        chunk, rest = visit % layout.chunks, visit // layout.chunks
        plane, image = rest % p.depth.outputs, rest // p.depth.outputs
        group = block // (p.outputs // p.held)
        numbers = image, block * p.held, group, plane, chunk * layout.chunk
        return Place(*(r.const(number) for number in numbers))

    with r.work():
        now = place(block, visit)
        then = place(block + (visit + 1) // layout.visits, (visit + 1) % layout.visits)
        with r.loop(0, p.inputs) as channels:
            ahead = RowsAhead(r, layout, x, gy, now, then, channels.index)
            with r.loop(0, layout.asking_turns) as turns:
                ahead.turn(turns.index)
    memory = {b.name: np.zeros(b.count, np.float32) for b in r.buffers}
    interpret(r, memory)
    found = (set(np.flatnonzero(memory[f"asked_{name}"]).tolist()) for name in sizes)
    x_asked, gy_asked = found
    return x_asked, gy_asked


def covers(found: set[int], wanted: range, size: int) -> bool:
    """Whether each of some neighbours has a number asked for that is at most a line before it."""
    return all(found & set(range(at - LINE + 1, at + 1)) for at in wanted if at < size)


@pytest.mark.parametrize("inputs", [1, 2])
@pytest.mark.parametrize("rows", [Span(12, 12, 3, 1, 1), Span(6, 12, 3, 2, 1)])
def test_the_next_channels_and_the_next_group(inputs: int, rows: Span) -> None:
    p = RowsProblem(1, 3, inputs, 2, Span(), rows, WIDE, "float32", 16, 32)
    layout = best_rows_layout(p)
    assert layout.visits == 1 and p.held == 2
    x, gy = asked(layout, 1, 0)
    plane, rest = rows.inputs * WIDE.inputs, rows.outputs * WIDE.outputs
    first = (p.inputs + 1) * plane  # in group 1 the second channel is next, or the next group's
    assert covers(x, range(first, first + p.inputs * plane), 3 * p.inputs * plane)
    assert min(x) >= first
    assert covers(gy, range(4 * rest, 6 * rest), 6 * rest) and min(gy) >= 4 * rest


def test_the_next_chunk_of_every_plane() -> None:
    rows = Span(100, 100, 3, 1, 1)
    p = RowsProblem(2, 2, 1, 2, Span(), rows, WIDE, "float32", 16, 32)
    layout = RowsLayout(p, RowsTile(2, 1, 3))
    assert layout.chunks > 1
    _, gy = asked(layout, 1, 0)
    plane = 100 * WIDE.outputs
    own = layout.chunk * WIDE.outputs
    for channel in (2, 3):
        first = channel * plane + own  # a line between two planes may be left out
        assert covers(gy, range(first + LINE, first + own), (channel + 1) * plane)
    x, _ = asked(layout, 0, layout.visits - 1)  # the last of group 0: then the first of group 1
    assert covers(x, range(plane, plane + own), 2 * plane)
