"""Strips hold what a block sees, with zeros around it, whatever the image's order in memory."""

import itertools
from math import prod

import numpy as np
import pytest

from faltung.lang.interpret import interpret
from faltung.lang.routine import Routine
from faltung.parts.winograd.strips import Channels, Image, Runs, Strip

LANES = 4
SIZE = (2, 5, 6)  # of the image
BATCH, GROUPS = 2, 2


def image_of(channels: int, last: bool) -> tuple[np.ndarray, np.ndarray]:
    """[N, C, D, H, W] of different numbers, and the same as it lies in memory."""
    shape = (BATCH, channels, *SIZE)
    image = np.arange(1.0, 1 + prod(shape)).reshape(shape)
    return image, (np.moveaxis(image, 1, -1) if last else image).ravel()


def lines_of(first: int, count: int, length: int, apart: int) -> list[int]:
    return [first + run * apart + line for run in range(count) for line in range(length)]


RUNS = [
    # (first, count, length, apart) of rows and of columns: inside, over all edges, in phases
    ((1, 1, 3, 1), (2, 1, 3, 1)),
    ((-1, 1, 7, 1), (-2, 1, 10, 1)),
    ((-3, 3, 1, 3), (-4, 4, 2, 3)),
    ((6, 1, 2, 1), (0, 1, 6, 1)),
]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("channels", [3, 4, 5, 8])
@pytest.mark.parametrize(("rows", "columns"), RUNS)
def test_what_a_block_reads(
    rows: tuple[int, ...], columns: tuple[int, ...], channels: int, last: bool
) -> None:
    vectors = -(-channels // LANES)
    together = vectors if last else 1
    image, memory = image_of(channels * GROUPS, last)
    lines, places = lines_of(*rows), lines_of(*columns)
    for n, group, plane, vector in itertools.product(
        range(BATCH), range(GROUPS), range(SIZE[0]), range(0, vectors, together)
    ):
        r = Routine("fill")
        x = r.reads("x", "float64", memory.size)
        with r.work():
            strip = Strip(
                r, "strip", "float64",
                lines=len(lines), columns=len(places), vectors=together, lanes=LANES,
            )  # fmt: skip
            of = Channels(*map(r.const, (n, plane, group * channels)), channels,
                          r.const(vector), r.const(together))  # fmt: skip
            high, wide = (Runs(r.const(f), c, k, apart) for f, c, k, apart in (rows, columns))
            strip.fill(Image(x, channels * GROUPS, SIZE, last), of, high, wide)
            y = r.writes("y", "float64", strip.buffer.count)
            with r.loop(0, y.count) as loop:
                r.store(y, loop.index, r.load(strip.buffer, loop.index))
        found = {"x": memory, "y": np.zeros(y.count), "strip": np.zeros(y.count)}
        interpret(r, found)
        pixels = found["y"].reshape(len(lines), -1, strip.pixel)[:, : len(places)]
        padded = np.pad(image[n, group * channels :][:channels, plane], ((0, 0), (9, 9), (9, 9)))
        seen = padded[:, [9 + i for i in lines]][:, :, [9 + i for i in places]]
        for v in range(together):
            first = min((vector + v) * LANES, max(channels - LANES, 0))
            expected = seen[first : first + LANES]
            got = np.moveaxis(pixels[..., v * LANES :][..., : len(expected)], -1, 0)
            assert np.array_equal(got, expected)


MADE = [RUNS[0], ((3, 1, 3, 1), (1, 1, 9, 1)), ((0, 2, 1, 3), (1, 3, 2, 3))]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("channels", [3, 4, 5, 8])
@pytest.mark.parametrize("skip", [0, 1])
def test_what_a_block_writes(skip: int, channels: int, last: bool) -> None:
    vectors = -(-channels // LANES)
    together = vectors if last else 1
    image, memory = image_of(channels * GROUPS, last)
    for (rows, columns), group in itertools.product(MADE, range(GROUPS)):
        lines, places = lines_of(*rows), lines_of(*columns)
        made = np.full_like(image, -1.0)
        memory = (np.moveaxis(made, 1, -1) if last else made).ravel()
        for vector in range(0, vectors, together):
            r = Routine("drain")
            y = r.writes("y", "float64", memory.size)
            with r.work():
                strip = Strip(
                    r, "strip", "float64",
                    lines=len(lines), columns=len(places), vectors=together, lanes=LANES,
                )  # fmt: skip
                x = r.reads("x", "float64", strip.buffer.count)
                with r.loop(0, x.count) as loop:
                    r.store(strip.buffer, loop.index, r.load(x, loop.index))
                of = Channels(*map(r.const, (1, 1, group * channels)), channels,
                              r.const(vector), r.const(together))  # fmt: skip
                high, wide = (
                    Runs(r.const(f), c, k, apart, r.const(min(skip, k - 1)))
                    for f, c, k, apart in (rows, columns)
                )
                strip.drain(Image(y, channels * GROUPS, SIZE, last), of, high, wide)
            pixels = np.zeros((len(lines), strip.line // strip.pixel, strip.pixel))
            for (a, i), (b, j), v in itertools.product(
                enumerate(lines), enumerate(places), range(together)
            ):
                first = min((vector + v) * LANES, max(channels - LANES, 0))
                for lane in range(min(LANES, channels)):
                    if i < SIZE[1] and j < SIZE[2]:
                        number = image[1, group * channels + first + lane, 1, i, j]
                        pixels[a, b, v * LANES + lane] = number
            interpret(r, {"x": pixels.ravel(), "y": memory, "strip": np.zeros(x.count)})
        done = memory.reshape(np.moveaxis(image, 1, -1).shape if last else image.shape)
        done = np.moveaxis(done, -1, 1) if last else done
        expected = np.full_like(image, -1.0)
        kept = [
            [p for n, p in enumerate(found) if n % length >= min(skip, length - 1) and p < size]
            for found, (_, _, length, _), size in (
                (lines, rows, SIZE[1]), (places, columns, SIZE[2])
            )
        ]  # fmt: skip
        some = np.ix_([1], range(group * channels, (group + 1) * channels), [1], *kept)
        expected[some] = image[some]
        assert np.array_equal(done, expected), (rows, columns, group)


def test_every_vector_can_be_changed() -> None:
    r = Routine("change")
    y = r.writes("y", "float64", 8)
    with r.work():
        strip = Strip(r, "strip", "float64", lines=1, columns=2, vectors=1, lanes=LANES)
        for n in (0, LANES):
            r.store(strip.buffer, n, r.const(n + 1, "f64", LANES))
        strip.each_vector(lambda value: value * 3.0)
        for n in (0, LANES):
            r.store(y, n, r.load(strip.buffer, n, LANES))
    memory = {"y": np.zeros(8), "strip": np.zeros(strip.buffer.count)}
    interpret(r, memory)
    assert memory["y"].tolist() == [3.0] * 4 + [15.0] * 4
