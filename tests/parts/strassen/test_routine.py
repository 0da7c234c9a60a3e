"""Whole products by the interpreter, which checks every index."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from faltung.lang.count import count
from faltung.lang.interpret import interpret
from faltung.parts.strassen.problem import Cut, StrassenLayout, StrassenProblem
from faltung.parts.strassen.routine import StrassenRoutine

Array = NDArray[np.float32]

PLAIN = StrassenProblem(
    images=2, groups=1, inputs=6, channels=5, size=(1, 1, 21), stride=(1, 1, 1), last=False,
    dtype="float32", bias=True, activation=None, lanes=4, registers=16, item_size=4,
    cache=1 << 20, cores=2,
)  # fmt: skip
LAST = replace(PLAIN, images=1, last=True, channels=8)
PROBLEMS = {
    "contiguous": (PLAIN, Cut(1, 3)),
    "channels last": (LAST, Cut(1, 3)),
    "two vectors": (replace(PLAIN, channels=9), Cut(2, 2, blocks=2)),
    "two vectors, channels last": (replace(LAST, channels=16), Cut(2, 3, blocks=2)),
    "parts": (replace(PLAIN, channels=12), Cut(1, 2, parts=2)),
    "parts, channels last": (replace(LAST, channels=32), Cut(1, 4, parts=3)),
    "an odd channel": (replace(PLAIN, inputs=5), Cut(1, 3)),
    "an odd channel, channels last": (replace(LAST, inputs=5), Cut(1, 3)),
    "whole blocks": (replace(LAST, size=(1, 1, 24)), Cut(1, 3)),
}


def halves(layout: StrassenLayout, w: Array) -> Array:
    """The packed weight, straight from the formulas: w is [outputs, inputs]."""
    whole = np.zeros((2 * layout.outputs, 2 * layout.inputs), np.float32)
    whole[: w.shape[0], : w.shape[1]] = w
    rows, columns = layout.outputs, layout.inputs
    w11, w12 = whole[:rows, :columns], whole[:rows, columns:]
    w21, w22 = whole[rows:, :columns], whole[rows:, columns:]
    s1, s3 = w21 + w22, w11 - w21
    s2 = s1 - w11
    seven = np.stack([w11, w12, s2, s3, -w22, s1, w12 - s2])
    tiles = seven.reshape(7, layout.tiles, layout.width, columns)
    return np.ascontiguousarray(tiles.transpose(1, 0, 3, 2))


@pytest.mark.parametrize("name", PROBLEMS)
def test_seven_products_are_the_product(name: str) -> None:
    problem, cut = PROBLEMS[name]
    layout, random = StrassenLayout(problem, cut), np.random.default_rng(0)
    x = random.integers(-4, 5, (problem.images, problem.places, problem.inputs)).astype("f4")
    w = random.integers(-4, 5, (problem.channels, problem.inputs)).astype("f4")
    b = random.integers(-4, 5, problem.channels).astype("f4")
    expected = x @ w.T + b
    if not problem.last:
        x, expected = x.transpose(0, 2, 1), expected.transpose(0, 2, 1)
    memory = {
        "y": np.full(expected.size, np.nan, np.float32), "x": x.ravel(),
        "w": halves(layout, w).ravel(),
        "panel": np.full(layout.panel_numbers, np.nan, np.float32),
        "waiting": np.full(layout.waiting_numbers, np.nan, np.float32),
        "b": np.pad(b, (0, 2 * layout.outputs - problem.channels)),
    }  # fmt: skip
    interpret(StrassenRoutine("any", layout).r, memory)
    assert np.array_equal(memory["y"].reshape(expected.shape), expected)


@pytest.mark.parametrize("problem", [PLAIN, LAST], ids=["contiguous", "channels last"])
def test_seven_for_eight(problem: StrassenProblem) -> None:
    whole = replace(problem, images=1, inputs=64, channels=64, size=(1, 1, 240), bias=False)
    done = count(StrassenRoutine("any", StrassenLayout(whole, Cut(1, 4))).r).flops
    products = 7 / 8 * 2 * 64 * 64 * 240
    # 11 sums of quarters, fewer than a quarter of what is saved
    assert products < done < products * 1.07
