"""What is special to generated depthwise routines: every width, both ends of memory, threads."""

import re
import signal
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

import faltung
import forked
from faltung import functional as FF
from faltung.lang.interpret import interpret
from faltung.lang.ops import Buffer
from faltung.lang.routine import Routine, Value
from faltung.lang.text import text as text_of
from faltung.ops.activations import activate
from faltung.ops.conv.algorithms import depthwise_cpu
from faltung.ops.conv.algorithms.depthwise_cpu import ALGORITHM
from faltung.ops.conv.spec import ConvSpec
from faltung.ops.naming import ACTIVATIONS
from forked import run_guarded

# each with every width modulo the widest vector, and some past one and two of them
WIDTHS = (*range(1, 18), 31, 32, 33)
SHAPES = [
    "k3x3 p1 g2 float32", "k3x3 s2 p1 g2 float32", "k5x2 p2x1 d1x2 g2 float32",
    "k1x7 p0x3 g2 bias float64", "k3x4 s1x2 p1x2+0 g2 bfloat16", "k2x3 g2 bias float16",
    "k3x3 p1 g2 bias gelu float32", "k2x2 p1 g2 silu bfloat16",
]  # fmt: skip
WIDE = [
    # wider than a tile, so that borders and the loop between them are apart
    "forward n1 c1 o1 i3x170 k2x31 p1x15 float32 cpu",
    "forward n1 c1 o1 i4x173 k3x9 s1x2 p1x4 bias float32 cpu",
    "forward n1 c2 o4 i300 k17 p16+0 g2 float32 cpu",
    "forward n1 c2 o2 i3x3x100 k3x3x5 s2x1x1 p1x1x2 g2 bias float64 cpu",
    "forward n1 c2 o2 i9x130 k5x5 p8 d4 g2 float32 cpu",
    # so large that later tiles are asked for
    "forward n1 c140 o140 i1030 k4 p3 g140 float32 cpu",
    "forward n1 c3 o3 i150x350 k3x3 s2x1 p1 g3 bias float64 cpu",
]


def problems(words: str) -> list[str]:
    spelled = []
    for width in WIDTHS:
        *numbers, dtype = words.split()
        text = f"forward n1 c2 o2 i4x{width} {' '.join(numbers)} {dtype} cpu"
        try:
            ConvSpec.parse(text)
        except faltung.ArgumentError:
            continue  # the kernel is wider than so small an image
        spelled.append(text)
    assert len(spelled) >= 16
    return spelled


@pytest.mark.parametrize("words", SHAPES)
def test_every_width_stays_inside_its_memory(words: str) -> None:
    run_guarded(ALGORITHM.name, problems(words))


def test_wide_images_stay_inside_their_memory() -> None:
    run_guarded(ALGORITHM.name, WIDE)


def test_the_guard_ends_a_process_that_reads_on() -> None:
    script = (
        "import ctypes, guard, torch; t = guard.filled((5,), torch.float32, at_end=True); "
        "print(len(ctypes.string_at(t.data_ptr(), 20)), flush=True); "
        "ctypes.string_at(t.data_ptr(), 24); print('survived')"
    )
    done = forked.run(script)
    assert done.stdout == "20\n" and done.returncode == -signal.SIGSEGV


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_in_every_dtype(
    name: str, dtype: str, check_algorithm: Callable[..., None]
) -> None:
    text = f"forward n1 c1 o2 i3x21 k2x2 bias {name} {dtype} cpu"
    check_algorithm(ALGORITHM, ConvSpec.parse(text))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_sums_are_rounded_after_the_activation_only(dtype: torch.dtype) -> None:
    name = str(dtype).removeprefix("torch.")
    spec = ConvSpec.parse(f"forward n1 c6 o6 i9x20 k3x3 p1 g6 bias silu {name} cpu")
    x, w = (torch.randn(shape).to(dtype) for shape in spec.operand_shapes)
    b = torch.randn(spec.out_channels).to(dtype)
    sums = torch.nn.functional.conv2d(x.double(), w.double(), b.double(), padding=1, groups=6)
    once = activate("silu", sums).to(dtype)
    twice = activate("silu", sums.to(dtype))
    # sums so close to the middle of two numbers that float32's own error decides are rare
    assert (ALGORITHM.build(spec)(x, w, b) != once).double().mean() < 0.01
    assert (twice != once).double().mean() > 0.1


@pytest.mark.parametrize("text", WIDE)
def test_wide_images_are_right(text: str, check_algorithm: Callable[..., None]) -> None:
    check_algorithm(ALGORITHM, ConvSpec.parse(text))


@pytest.mark.parametrize(
    "text",
    [
        "forward n1 c1 o1 i37x70 k5x5 p2 float32 cpu",
        "forward n3 c4 o4 i11x9 k7x7 p3 g4 bias float32 cpu",
        "forward n1 c2 o2 i5x6x7 k3x3x3 p1 g2 float32 cpu",
    ],
)
def test_same_bits_for_any_number_of_threads(text: str) -> None:
    spec = ConvSpec.parse(text)
    operands = [torch.randn(shape) for shape in spec.operand_shapes]
    if spec.bias:
        operands.append(torch.randn(spec.out_channels))
    run, before, results = ALGORITHM.build(spec), torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 5):
            torch.set_num_threads(threads)
            results.append(run(*operands))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(result, results[0]) for result in results)


@pytest.mark.parametrize(
    "text",
    ["n1 c5 o5 i900 k4 p3 g5", "n1 c3 o3 i16x150 k3x3 p1 g3", "n2 c2 o2 i24x70 k2x5 s2x1 g2"],
)
def test_what_a_large_layer_reads_and_writes_was_asked_for(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ConvSpec.parse(f"forward {text} float32 cpu")
    monkeypatch.setattr(depthwise_cpu, "_FAR_BYTES", 0)
    monkeypatch.setattr(depthwise_cpu, "_AHEAD", 160)
    monkeypatch.setattr(Routine, "prefetch", _note_place)
    routine = depthwise_cpu._Recording(spec).r
    memory = {b.name: np.zeros(b.count, np.float32) for b in routine.buffers}
    interpret(routine, memory)
    for name in "xy":
        lines = memory[f"asked {name}"][_MARGIN:-_MARGIN]
        lines = lines[: memory[name].size // 16 * 16].reshape(-1, 16).any(1)
        first = next(n for n in range(lines.size) if lines[n:].mean() > 0.8)
        assert lines.mean() > 0.5
        assert first < lines.size / 3, f"{name}: only from line {first} of {lines.size} on"


_MARGIN = 5000  # numbers before and behind a buffer that may be asked for


def _note_place(r: Routine, buffer: Buffer, at: Value, cache: int = 1) -> None:
    """Instead of asking for an element, write where it is."""
    name, count = f"asked {buffer.name}", buffer.count + 2 * _MARGIN
    asked = next((b for b in r.buffers if b.name == name), None) or r.writes(name, "float32", count)
    r.store(asked, at + _MARGIN, r.const(1, "f32"))


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("n1 c140 o140 i1030 k4 p3 g140", True),
        ("n1 c100 o100 i1030 k4 p3 g100", False),
        ("n1 c140 o140 i1030 k40 p3 g140", False),
        ("n1 c64 o64 i56x56 k3x3 s2 p1 g64", False),
        ("n1 c64 o64 i56x56 k3x3 p1 g64", True),
    ],
)
def test_only_large_layers_of_few_taps_ask_for_memory(text: str, asks: bool) -> None:
    routine = depthwise_cpu._Recording(ConvSpec.parse(f"forward {text} float32 cpu")).r
    assert ("prefetch" in text_of(routine)) == asks


def test_the_planner_takes_it_and_says_so() -> None:
    x, w = torch.randn(1, 64, 56, 56), torch.randn(64, 1, 3, 3)
    plan = faltung.plan(x, w, padding=1, groups=64)
    assert plan.algorithm == "depthwise_cpu"
    assert "native_torch" in [c.name for c in plan.candidates]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("forward n1 c4 o4 i9x9 k3x3 g2 float32 cpu", "one group per channel, has 2 groups"),
        ("forward n1 c2 o2 i9x9 k3x3 g2 complex64 cpu", "needs one of float32, .*has complex64"),
        ("forward n1 c2 o2 i9x9 k3x3 g2 channels_last float32 cpu", "has channels_last"),
        ("forward n1 c2 o2 i9x9 k3x3 p1 g2 reflect float32 cpu", "with zeros only, not reflect"),
        ("forward n1 c2 o2 i9x9 k3x3 s3 g2 float32 cpu", "stride 1 or 2 along a row, has 3"),
        ("forward n1 c2 o2 i99 k70 g2 float32 cpu", "up to 64 taps of a row, has 70"),
    ],
)  # fmt: skip
def test_what_it_refuses(text: str, reason: str) -> None:
    (said,) = ALGORITHM.unsupported(ConvSpec.parse(text))
    assert re.search(reason, said)


def test_operands_that_are_views(whole: Callable[..., Tensor]) -> None:
    x = whole(2, 6, 9, 20, dtype=torch.float32)[:, ::2, :, 3:17]
    w = whole(3, 3, 3, 1, dtype=torch.float32).permute(0, 3, 1, 2)
    y = FF.conv2d(x, w, padding=1, groups=3)
    expected = torch.nn.functional.conv2d(x, w, padding=1, groups=3)
    assert torch.equal(y, expected)
