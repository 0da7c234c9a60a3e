"""Minimal filtering of depthwise windows: exact on whole numbers, within its budget on others."""

import re
from collections.abc import Callable
from dataclasses import replace
from math import prod

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import exact
from faltung.lang.interpret import interpret
from faltung.lang.ops import Buffer
from faltung.lang.routine import Routine, Value
from faltung.machine import this_machine
from faltung.ops.conv import filtered_lines
from faltung.ops.conv.algorithms import depthwise_winograd_cpu
from faltung.ops.conv.algorithms.depthwise_winograd_cpu import ALGORITHM
from faltung.ops.conv.filtered_lines import FilteredLines
from faltung.ops.conv.spec import ConvSpec
from faltung.tools.budget import Budget, assert_within

LAYOUTS = ("", "channels_last ")

# every rest of the rows and of the window modulo a tile, with padding on either side or none
ROWS = [
    f"i{h}x6 k{k}x3 p{k // 2}x1" for h, k in zip(range(1, 13), [7, 4, 5, 9, 1, 11] * 2, strict=True)
]
WINDOWS = [
    "i20x9 k7x3 p3+0x0+2", "i20x9 k8x5 p0+7x2", "i9x9 k9x9", "i14x5 k13x1 p6x0", "i5x7 k13x3 p9x1",
    "i30x8 k7x7 p9 d3", "i31x8 k5x3 p4x1 d2x1", "i6x9 k2x3 p5x1 d5x2", "i13x11 k6x4 s1x2 p2x1",
    "i25x40 k11x13 p5x6", "i12x30 k7x17 s1x3 p3x20", "i9x8 k7x3 y5x6 p3x1", "i11x1 k7x1 p3x0",
    "i3x5 k3x3 p20x1", "i40x33 k31x3 p15x1", "i2x3 k5x1 p9+10x0 d4x1",
]  # fmt: skip
VOLUMES = [
    "i9x5x6 k7x3x3 p3x1x1", "i6x4x5 k5x1x2 s1x2x1 p2x0x1", "i13x3x4 k4x3x3 p6x1x1 d3x1x2",
    "i8x6x19 k7x5x3 p3+2x0x1", "i1x7x7 k7x3x3 p3x1x1",
]  # fmt: skip
DTYPES = ["float32", "float64", "bfloat16", "float16"]
# whole and broken vectors of channels, and fewer than one
CHANNELS = (1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 21, 31, 32, 33)


def depthwise(channels: int, words: str, dtype: str = "float32", batch: int = 1) -> list[str]:
    """The problem in both layouts."""
    size, *rest = words.split()
    shape = f"n{batch} c{channels} o{channels} {size} {' '.join(rest)} g{channels}"
    return [f"forward {shape} {layout}{dtype} cpu" for layout in LAYOUTS]


def by_torch(spec: ConvSpec) -> Callable[[Tensor, Tensor], Tensor]:
    """The spec by PyTorch, in the dtype of what it is given."""

    def run(x: Tensor, w: Tensor) -> Tensor:
        x = F.pad(x, [size for pair in reversed(spec.padding) for size in pair])
        conv = exact.CONV[spec.dims]
        y: Tensor = conv(x, w, None, spec.stride, 0, spec.dilation, spec.groups)
        return y

    return run


@pytest.mark.parametrize("words", [*ROWS, *WINDOWS, *VOLUMES])
def test_whole_numbers_are_exact(words: str, between_nans: Callable[[Tensor], Tensor]) -> None:
    for text in depthwise(9, words):
        exact.check(ALGORITHM, text, between_nans)


@pytest.mark.parametrize("channels", CHANNELS)
def test_every_number_of_channels(channels: int, between_nans: Callable[[Tensor], Tensor]) -> None:
    for text in depthwise(channels, "i10x5 k7x3 p3x1", batch=2):
        exact.check(ALGORITHM, text.replace(" float32", " bias float32"), between_nans)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_bias_and_activation(
    activation: str, dtype: str, check_algorithm: Callable[..., None]
) -> None:
    for text in depthwise(3, "i6x4 k4x3 p2x1", dtype):
        check_algorithm(ALGORITHM, replace(ConvSpec.parse(text), bias=True, activation=activation))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "words", [WINDOWS[5], WINDOWS[9], VOLUMES[3], "i56x56 k31x31 p15", "i56x20 k51x5 p25x2"]
)
@pytest.mark.parametrize("kind", ["normal", "rectified"])
def test_errors_stay_within_the_budget(words: str, dtype: str, kind: str) -> None:
    for text in depthwise(8, words, dtype):
        spec = ConvSpec.parse(text)
        x, w = (torch.randn(shape).to(getattr(torch, dtype)) for shape in spec.operand_shapes)
        x = exact.laid(x if kind == "normal" else x.relu(), spec)
        budget = Budget.of(by_torch(spec), (x, w), ALGORITHM.error_factor)
        assert_within(ALGORITHM.build(spec)(x, w), budget)


@pytest.mark.parametrize("dtype", DTYPES)
def test_stays_inside_its_memory(dtype: str) -> None:
    sizes = ["i7x5 k7x3 p3x1", "i9x17 k5x3 p4x1 d2x1", "i5x4x3 k7x3x1 p3x1x0", "i13x16 k4x3 s1x2"]
    texts = [text for words in sizes for text in depthwise(18, words, dtype)]
    exact.guarded(ALGORITHM, texts)


def test_every_width_stays_inside_its_memory() -> None:
    texts = [text for w in range(1, 36) for text in depthwise(5, f"i6x{w} k4x3 p2x1")]
    exact.guarded(ALGORITHM, texts)


@pytest.mark.parametrize("channels", [3, 16, 18])
def test_every_number_of_channels_stays_inside_its_memory(channels: int) -> None:
    exact.guarded(ALGORITHM, depthwise(channels, "i6x7 k7x3 p3x1", batch=2))


@pytest.mark.parametrize("words", [WINDOWS[9], WINDOWS[5], VOLUMES[0]])
def test_same_bits_for_any_number_of_threads(words: str) -> None:
    for text in depthwise(18, words):
        exact.same_for_any_number_of_threads(ALGORITHM, text)


@pytest.mark.parametrize("words", [WINDOWS[9], WINDOWS[5], VOLUMES[0], "i40x5 k7x3 p3x1"])
def test_parts_change_no_bit(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in depthwise(4, words):
        spec, results, parts = ConvSpec.parse(text), [], []
        x, w = (torch.randn(shape) for shape in spec.operand_shapes)
        x = exact.laid(x, spec)
        for cores in (1, 3, 64):
            machine = replace(this_machine(), cores=cores)
            monkeypatch.setattr(filtered_lines, "this_machine", lambda m=machine: m)
            parts.append(FilteredLines(spec).parts)
            results.append(ALGORITHM.build(spec)(x, w))
        assert parts[0] == 1 < parts[-1]
        assert all(torch.equal(result, results[0]) for result in results)


@pytest.mark.parametrize("words", VOLUMES)
def test_bands_change_no_bit(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in depthwise(4, words):
        spec, results, bands = ConvSpec.parse(text), [], []
        x, w = (torch.randn(shape) for shape in spec.operand_shapes)
        x = exact.laid(x, spec)
        for wanted in (1, 2, 3, 16):

            def distance(lines: FilteredLines, count: int, wanted: int = wanted) -> int:
                lines._cut(count)
                return abs(lines.bands - wanted)

            monkeypatch.setattr(FilteredLines, "_all_bands", distance)
            bands.append(FilteredLines(spec).bands)
            results.append(ALGORITHM.build(spec)(x, w))
        assert bands[0] == 1 < bands[-1]
        assert all(torch.equal(result, results[0]) for result in results)


def test_results_of_volumes_are_asked_for_a_row_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ConvSpec.parse("forward n1 c16 o16 i8x4x5 k7x3x3 p3x1x1 g16 channels_last float32 cpu")
    behind = 2 * prod(spec.y_shape)  # results may be asked for that are not there

    def note_place(r: Routine, buffer: Buffer, at: Value, cache: int = 1) -> None:
        assert buffer.name == "y"
        known = [b for b in r.buffers if b.name == "asked"]
        asked = known[0] if known else r.writes("asked", "float32", buffer.count + behind)
        r.store(asked, at, r.const(1, "f32"))

    monkeypatch.setattr(Routine, "prefetch", note_place)
    routine = depthwise_winograd_cpu._Recording(spec).r
    memory = {b.name: np.zeros(b.count, np.float32) for b in routine.buffers}
    interpret(routine, memory)
    pixels = set(memory["asked"].nonzero()[0] // spec.out_channels)
    assert pixels == set(range(5, 8 * 4 * 5 + 5))  # but the first row, of five


def test_batches_of_none() -> None:
    for text in depthwise(5, WINDOWS[0], batch=0):
        spec = ConvSpec.parse(text)
        y = ALGORITHM.build(spec)(*(torch.empty(shape) for shape in spec.operand_shapes))
        assert y.shape == spec.y_shape


def test_the_planner_takes_it_for_the_largest_windows() -> None:
    for text in depthwise(128, "i56x56 k31x31 p15"):
        assert exact.planned(text).algorithm == ALGORITHM.name
    for text in depthwise(64, "i56x56 k3x3 p1"):
        assert exact.planned(text).algorithm != ALGORITHM.name


def test_a_changed_weight_is_seen() -> None:
    spec = ConvSpec.parse(depthwise(6, WINDOWS[0])[0])
    x, w = (torch.randn(shape) for shape in spec.operand_shapes)
    run = ALGORITHM.build(spec)
    first = run(x, w)
    w.mul_(2)
    assert torch.equal(run(x, w), 2 * first)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("c4 o4 i9x9 k3x3 g2 float32", "has 2 groups, 4 channels and 4 outputs"),
        ("c2 o4 i9x9 k3x3 g2 float32", "has 2 groups, 2 channels and 4 outputs"),
        ("c2 o2 i9x9 k3x3 g2 complex64", "needs one of float32, .*has complex64"),
        ("c2 o2 i9x9 k3x3 g2 strided float32", "or channels-last image, has strided"),
        ("c2 o2 i9 k3 g2 float32", "has a signal"),
        ("c2 o2 i9x9 k3x3 s2x1 g2 float32", "stride 1 along the outermost axis, has 2"),
        ("c2 o2 i9x9 k3x3 p1 g2 reflect float32", "with zeros only, not reflect"),
        ("c2 o2 i9x999 k3x900 p1x450 g2 float32", "would unroll .* more than"),
    ],
)
def test_what_it_refuses(text: str, reason: str) -> None:
    (said,) = ALGORITHM.unsupported(ConvSpec.parse(f"forward n1 {text} cpu"))
    assert re.search(reason, said)
