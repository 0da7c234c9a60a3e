"""Routines for gradients of weights, run by the interpreter: every access is checked."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from faltung.lang.interpret import interpret
from faltung.lang.routine import Routine
from faltung.parts.gemm.problem import Span

Numbers = np.ndarray[Any, np.dtype[Any]]


def by_definition(x: Numbers, gy: Numbers, spans: Sequence[Span]) -> Numbers:
    """gw [G, O, C, taps of three axes] from x [N, G, C, …] and gy [N, G, O, …]."""
    kernel = [span.kernel_size for span in spans]
    gw = np.zeros((x.shape[1], gy.shape[2], x.shape[2], *kernel))
    sizes = [range(span.outputs) for span in spans]
    for d, h, w in itertools.product(*map(range, kernel)):
        for output in itertools.product(*sizes):
            i, j, k = (s.place(q, t) for s, q, t in zip(spans, output, (d, h, w), strict=True))
            if all(0 <= p < s.inputs for p, s in zip((i, j, k), spans, strict=True)):
                seen, came = x[:, :, :, i, j, k], gy[:, :, :, output[0], output[1], output[2]]
                gw[:, :, :, d, h, w] += np.einsum("ngo,ngc->goc", came, seen)
    return gw


def run(
    routine: Routine, channels: tuple[int, int, int, int], spans: Sequence[Span], *, last: bool,
    then: Sequence[Routine] = (), c: Numbers | None = None,
) -> tuple[Numbers, Numbers]:  # fmt: skip
    """What a routine, and those after it, make of whole numbers, and what the definition does.

    `channels` are images, groups, and inputs and outputs of a group, `c` factors of transforms.
    """
    batch, groups, inputs, outputs = channels
    numbers = np.random.default_rng(batch)
    x, gy = (
        numbers.integers(-2, 3, (batch, groups, c, *size)).astype(np.float32)
        for c, size in (
            (inputs, [span.inputs for span in spans]), (outputs, [span.outputs for span in spans])
        )
    )  # fmt: skip
    order = (0, 3, 4, 5, 1, 2) if last else range(6)
    buffers = [buffer for one in (routine, *then) for buffer in one.buffers]
    memory = {buffer.name: np.full(buffer.count, np.nan, np.float32) for buffer in buffers}
    memory["x"] = x.transpose(order).reshape(-1).copy()
    memory["gy"] = gy.transpose(order).reshape(-1).copy()
    if c is not None:
        memory["c"] = c
    for one in (routine, *then):
        interpret(one, {buffer.name: memory[buffer.name] for buffer in one.buffers})
    if "gb" in memory:
        sums = memory["gb"].reshape(-1, groups * outputs).sum(0)
        assert (sums == gy.sum((0, 3, 4, 5)).reshape(-1)).all()
    return memory["gw"], by_definition(x, gy, spans)
