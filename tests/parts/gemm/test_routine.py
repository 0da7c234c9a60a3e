"""Whole convolutions as matrix products, by the interpreter, which checks every index."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from faltung.lang.interpret import interpret
from faltung.parts.gemm import layout as gemm_layout
from faltung.parts.gemm.layout import GemmLayout
from faltung.parts.gemm.problem import GemmProblem, Span
from faltung.parts.gemm.routine import gemm_routine
from faltung.parts.gemm.tiling import Block, Tile

PROBLEM = GemmProblem(
    batch=1, groups=1, inputs=3, outputs=5, depth=Span(),
    rows=Span(outputs=4, inputs=4, kernel_size=3, low=1),
    columns=Span(outputs=5, inputs=5, kernel_size=3, low=1),
    channels_last=False, dtype="float32", bias=True, activation=None, lanes=4, registers=16,
    cache=1 << 20, cores=2,
)  # fmt: skip
PROBLEMS = {
    "plain": PROBLEM,
    "channels last": replace(PROBLEM, channels_last=True),
    "groups": replace(PROBLEM, batch=2, groups=2, outputs=4, bias=False),
    "groups, channels last": replace(PROBLEM, groups=2, inputs=4, channels_last=True),
    "stride and dilation": replace(
        PROBLEM, channels_last=True,
        rows=Span(outputs=3, inputs=7, kernel_size=2, stride=3, low=1, dilation=2),
        columns=Span(outputs=4, inputs=6, kernel_size=3, stride=2, low=3, dilation=2),
    ),
    "far taps": replace(
        PROBLEM, inputs=2, rows=Span(outputs=5, inputs=5, kernel_size=3, low=4, dilation=4),
        columns=Span(outputs=6, inputs=6, kernel_size=3, low=4, dilation=4),
    ),
    "depth": replace(
        PROBLEM, batch=1, inputs=2, depth=Span(outputs=3, inputs=3, kernel_size=2, low=1),
        rows=Span(outputs=2, inputs=3, kernel_size=2),
    ),
    "pointwise": replace(PROBLEM, rows=Span(), columns=Span(outputs=11, inputs=11)),
    "pointwise, channels last": replace(
        PROBLEM, batch=1, rows=Span(), columns=Span(outputs=11, inputs=11), channels_last=True
    ),
    "float16": replace(PROBLEM, dtype="float16", channels_last=True),
    "float64": replace(PROBLEM, dtype="float64", outputs=8),
    "relu": replace(PROBLEM, activation="relu"),
}  # fmt: skip


def tile(
    channels: int, columns: int, *, rows: int = 1, along_row: bool = False, apart: bool = True
) -> Tile:
    return Tile(channels, rows, columns, 4, along_row=along_row, columns_apart=apart)


TILES = {
    "one vector": tile(4, 2),
    "two vectors": tile(8, 3),
    "a whole row": tile(4, 5),
    "padding is read": tile(4, 2, apart=False),
    "along the row": tile(2, 4, along_row=True, apart=False),
    "two vectors along the row": tile(3, 8, along_row=True, apart=False),
}


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> Callable[..., GemmLayout]:
    def layout(problem: GemmProblem, tile: Tile, block: tuple[int, int, int]) -> GemmLayout:
        monkeypatch.setattr(gemm_layout, "best_tile", lambda _: tile)
        monkeypatch.setattr(
            gemm_layout, "best_block", lambda *_: Block(*block, cycles=1.0, last=1.0)
        )
        return GemmLayout(problem)

    return layout


def places(p: GemmProblem) -> list[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]:
    """Every (output, tap, input) in three dimensions that is not padding."""
    found = []
    spans = (p.depth, p.rows, p.columns)
    for output in itertools.product(*(range(s.outputs) for s in spans)):
        for tap in itertools.product(*(range(s.kernel_size) for s in spans)):
            source = tuple(s.place(o, t) for s, o, t in zip(spans, output, tap, strict=True))
            if all(0 <= i < s.inputs for i, s in zip(source, spans, strict=True)):
                found.append((output, tap, source))
    return found


def check(p: GemmProblem, layout: GemmLayout) -> None:
    rng = np.random.default_rng(0)
    spans = (p.depth, p.rows, p.columns)
    kind = {"float16": np.float16, "float64": np.float64}.get(p.dtype, np.float32)
    wide = np.float64 if p.dtype == "float64" else np.float32
    x = rng.integers(-2, 3, (p.batch, p.groups, p.inputs, *(s.inputs for s in spans)))
    w = rng.integers(-2, 3, (p.groups, p.outputs, p.inputs, *(s.kernel_size for s in spans)))
    b = rng.integers(-2, 3, (p.groups, p.outputs)) * p.bias
    y = np.zeros((p.batch, p.groups, p.outputs, *(s.outputs for s in spans)))
    y += b[None, :, :, None, None, None]
    for output, tap, source in places(p):
        part = np.einsum("ngc,goc->ngo", x[:, :, :, *source], w[:, :, :, *tap])
        y[:, :, :, *output] += part
    if p.activation:
        y = np.maximum(y, 0)

    def in_memory(image: Any) -> Any:
        if p.channels_last:
            image = np.moveaxis(image, (1, 2), (-2, -1))
        return np.ascontiguousarray(image).reshape(-1).astype(kind)

    memory = {"x": in_memory(x), "y": np.full(y.size, np.nan, kind), "w": packed(layout, w, wide)}
    for name, count in (("panel", layout.panel_numbers), ("waiting", layout.waiting_numbers)):
        if count:
            memory[name] = np.full(count, np.nan, wide)
    if p.bias:
        memory["b"] = b.reshape(-1).astype(kind)
    routine = gemm_routine("product", layout)
    interpret(routine, memory)
    assert {buffer.name for buffer in routine.buffers} == set(memory)
    assert np.array_equal(memory["y"], in_memory(y))


def packed(layout: GemmLayout, w: Any, wide: type) -> Any:
    p = layout.problem
    axes = {"c": 2, "d": 3, "h": 4, "w": 5}
    terms = np.transpose(w, (0, *(axes[name] for name in layout.order), 1))
    terms = terms.reshape(p.groups, p.terms, p.outputs)
    terms = np.pad(terms, ((0, 0), (0, 0), (0, layout.channels - p.outputs)))
    inside = layout.full * layout.tile.channels
    whole = [
        terms[g, :, first : first + layout.tile.channels].reshape(-1)
        for g in range(p.groups)
        for first in range(0, inside, layout.tile.channels)
    ]
    return np.concatenate([*whole, terms[:, :, inside:].reshape(-1)]).astype(wide)


@pytest.mark.parametrize("shape", TILES.values(), ids=TILES)
@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_what_is_made_is_the_convolution(
    problem: GemmProblem, shape: Tile, cut: Callable[..., GemmLayout]
) -> None:
    if shape.along_row and (problem.channels_last or problem.columns.stride > 1):
        pytest.skip("pixels do not lie side by side")
    if shape.channels >= problem.outputs + shape.unit:
        pytest.skip("there are not so many channels")
    columns = problem.columns.outputs
    for block in ((problem.rows.outputs, columns, 1), (1, shape.columns, 2)):
        check(problem, cut(problem, shape, (block[0], min(block[1], columns), block[2])))


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("rows", [2, 3])
def test_tiles_of_several_rows(rows: int, last: bool, cut: Callable[..., GemmLayout]) -> None:
    problem = replace(PROBLEM, channels_last=last)
    for block in (4, rows):
        layout = cut(problem, tile(4, 5, rows=rows), (block, 5, 1))
        assert layout.pads_rows and layout.has_panel
        check(problem, layout)
    inside = replace(problem, rows=Span(outputs=4, inputs=6, kernel_size=3))
    layout = cut(inside, tile(4, 5, rows=rows), (4, 5, 1))
    assert layout.has_panel != (last or layout.order == "dhwc")
    check(inside, layout)


def test_a_long_activation_is_written_down_once(cut: Callable[..., GemmLayout]) -> None:
    problem = replace(PROBLEM, activation="gelu", channels_last=True)
    layout = cut(problem, tile(8, 3), (4, 5, 1))
    assert layout.waiting_numbers >= 24
    routine = gemm_routine("product", layout)

    def powers(ops: list[Any]) -> int:
        return sum((op.name == "pow2") + powers(op.body) for op in ops)

    assert powers(routine.body) == 2  # for each of the two widths of tiles
