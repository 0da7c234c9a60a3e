"""What is special to seven products for eight: halves, pairs of places, phases side by side."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import faltung
from exact import assert_result
from faltung.lang.count import count
from faltung.machine import this_machine
from faltung.ops.conv.algorithms import strassen_cpu
from faltung.ops.conv.algorithms.strassen_cpu import ALGORITHM
from faltung.ops.conv.spec import ConvSpec
from faltung.parts.strassen.problem import StrassenLayout
from faltung.parts.strassen.routine import StrassenRoutine
from forked import run_guarded
from transposed import planned

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
LAYOUTS = pytest.mark.parametrize("layout", ["contiguous", "channels_last"])

WIDTHS = (*range(1, 18), 27, 28, 29, 31, 33, 48, 49)
EDGES = (1, 7, 15, 16, 33, 49)  # of them, for the memory beyond
# a width, and twice as many results
SHAPES = [
    "forward n1 c4 o6 i3x{0} k1x1 float32",
    "forward n1 c3 o40 i3x{0} k1x1 bias channels_last float32",
    "forward n2 c10 o35 i3x{0} k1x1 g5 bias float64",
    "forward n1 c5 o33 i3x{0} k1x1 channels_last bfloat16",
    "grad_input n1 c6 o4 i6x{1} k2x2 s2 bias float32",
    "grad_input n1 c20 o5 i6x{1} k2x2 s2 channels_last float32",
    "grad_input n2 c12 o6 i6x{1} k2x2 s2 g2 bias channels_last float16",
]  # fmt: skip
CHANNELS = [
    # both halves of channels and outputs, even and odd, around vectors and tiles
    *[f"forward n1 c{c} o9 i4x40 k1x1 float32 cpu" for c in (1, 2, 7, 16, 33)],
    *[f"forward n1 c{c} o9 i4x11 k1x1 channels_last float32 cpu" for c in (1, 2, 7, 33)],
    *[f"forward n1 c5 o{o} i5x9 k1x1 bias float32 cpu" for o in (1, 4, 15, 32, 50)],
    *[f"forward n1 c5 o{o} i5x9 k1x1 bias channels_last float32 cpu" for o in (1, 16, 33, 80)],
]
OTHERS = [
    # many blocks; parts of the outputs; images beside each other; places that collide
    "forward n1 c64 o64 i28x28 k1x1 float32 cpu",
    "forward n1 c64 o64 i28x28 k1x1 channels_last float32 cpu",
    "forward n3 c40 o300 i9x9 k1x1 bias float32 cpu",
    "forward n1 c1024 o20 i6x6 k1x1 channels_last float32 cpu",
    "forward n2 c15 o21 i50 k1 g3 bias float32 cpu",
    "forward n2 c15 o21 i5x7x3 k1x1x1 g3 bias channels_last float64 cpu",
    # phases along each axis by itself, and of a row that is no whole vector
    "grad_input n1 c64 o128 i56x56 k2x2 s2 float32 cpu",
    "grad_input n1 c64 o128 i56x56 k2x2 s2 channels_last float32 cpu",
    "grad_input n2 c10 o14 i18x22 k2x2 s2 g2 bias float32 cpu",
    "grad_input n2 c10 o14 i6x10x20 k3x2x2 s3x2x2 g2 bias float32 cpu",
    "grad_input n2 c10 o14 i6x10x20 k3x2x2 s3x2x2 bias channels_last float32 cpu",
    "grad_input n1 c6 o9 i44 k4 s4 bias float32 cpu",
    "grad_input n1 c6 o9 i36x22 k3x1 s3x1 bias float32 cpu",
    "grad_input n1 c6 o9 i36x21 k1x3 s1x3 bias channels_last float32 cpu",
]


def whole_operands(spec: ConvSpec) -> list[Tensor]:
    shapes = [*spec.operand_shapes] + ([(spec.result_shape[1],)] if spec.bias else [])
    # few enough ones that sums of quarters are numbers of bfloat16
    most = 1 if spec.item_size == 2 else 4
    return [torch.randint(-most, most + 1, shape).double() for shape in shapes]


def by_torch(spec: ConvSpec, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    if spec.task == "forward":
        y = CONV[spec.dims](x, w, b, groups=spec.groups)
    else:
        y = TRANSPOSED[spec.dims](x, w, b, spec.stride, groups=spec.groups)
    return y.to(getattr(torch, spec.dtype))


def check(text: str, between_nans: Callable[[Tensor], Tensor]) -> None:
    spec = ConvSpec.parse(text)
    operands = whole_operands(spec)
    assert_result(ALGORITHM, spec, operands, by_torch(spec, *operands), between_nans)


def spelled(words: str, widths: tuple[int, ...]) -> list[str]:
    texts = [f"{words.format(width, 2 * width)} cpu" for width in widths]
    found = [text for text in texts if not ALGORITHM.unsupported(ConvSpec.parse(text))]
    assert len(found) >= len(texts) - 7, words  # rows of phases fill a vector
    return found


@pytest.mark.parametrize("words", SHAPES)
def test_every_width(words: str, between_nans: Callable[[Tensor], Tensor]) -> None:
    for text in spelled(words, WIDTHS):
        check(text, between_nans)


@pytest.mark.parametrize("text", [*CHANNELS, *OTHERS])
def test_whole_numbers_to_the_bit(text: str, between_nans: Callable[[Tensor], Tensor]) -> None:
    check(text, between_nans)


@pytest.mark.parametrize("level", ["", "avx2"])
def test_stays_inside_its_memory(level: str) -> None:
    texts = [text for words in SHAPES for text in spelled(words, EDGES[:4] if level else EDGES)]
    run_guarded(ALGORITHM.name, [*texts, *CHANNELS[3:8], *OTHERS[4:6]], level)


@pytest.mark.parametrize("text", [OTHERS[0], OTHERS[2], OTHERS[3], OTHERS[7], OTHERS[9]])
def test_same_bits_for_any_number_of_threads(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ConvSpec.parse(text)
    x, *rest = [torch.randn(t.shape) for t in whole_operands(spec)]
    if spec.layout == "channels_last":
        x = x.contiguous(memory_format=CHANNELS_LAST[x.dim()])
    before, results = torch.get_num_threads(), []
    try:
        for cores in (1, 5):  # cut for so many
            machine = replace(this_machine(), cores=cores)
            monkeypatch.setattr(strassen_cpu, "this_machine", lambda found=machine: found)
            run = ALGORITHM.build(spec)
            for threads in (1, 2, 5):
                torch.set_num_threads(threads)
                results.append(run(x, *rest))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(result, results[0]) for result in results)
    assert not results[0].isnan().any()


def test_blocks_for_a_small_cache_are_right(
    between_nans: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = replace(this_machine(), caches=(("L1", 4 << 10), ("L2", 16 << 10)))
    monkeypatch.setattr(strassen_cpu, "this_machine", lambda: machine)
    for text in OTHERS[:4] + OTHERS[6:8]:
        check(text, between_nans)


@LAYOUTS
def test_an_eighth_of_the_multiplications_is_saved(layout: str) -> None:
    spec = ConvSpec.parse(f"forward n1 c64 o64 i28x28 k1x1 {layout} float32 cpu")
    layouts = StrassenLayout(strassen_cpu._problem(spec))
    done = count(StrassenRoutine("any", layouts).r).flops
    # sums and what fills up tiles are less than what is saved
    assert 0.87 < done / (2 * spec.macs) < 1


@LAYOUTS
@pytest.mark.parametrize("activation", ["relu", "gelu", "hardswish"])
def test_activation_comes_last(activation: str, layout: str) -> None:
    text = f"grad_input n1 c20 o4 i10x40 k2x2 s2 bias {activation} {layout} float32 cpu"
    spec = ConvSpec.parse(text)
    x, w, b = (t.float() for t in whole_operands(spec))
    if layout == "channels_last":
        x = x.contiguous(memory_format=torch.channels_last)
    y = ALGORITHM.build(spec)(x, w, b)
    sums = by_torch(replace(spec, activation=None), x.double(), w.double(), b.double())
    expected = getattr(F, activation)(sums.double()).float()
    ulp = torch.finfo(torch.float32).eps * expected.abs().max()
    assert (y - expected).abs().max() <= (0 if activation == "relu" else 4 * ulp)
    assert (y == 0).any() and (y > 0).any()


def test_a_weight_that_changes_is_packed_anew(whole: Callable[..., Tensor]) -> None:
    x, w = whole(1, 4, 9, 20, dtype=torch.float32), whole(6, 4, 1, 1, dtype=torch.float32)
    run = ALGORITHM.build(ConvSpec.parse("forward n1 c4 o6 i9x20 k1x1 float32 cpu"))
    before = run(x, w)
    w.add_(1)
    assert torch.equal(run(x, w), F.conv2d(x, w))
    assert not torch.equal(run(x, w), before)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("forward n1 c4 o4 i9x9 k1x1 complex64", "needs one of float32, .*has complex64"),
        ("forward n1 c4 o4 i9 k1 channels_last float32", "needs 2 or 3 dimensions .*has 1"),
        ("forward n1 c4 o4 i9x9 k3x3 p1 float32", "one tap and stride 1, has 3×3 taps"),
        (
            "forward n1 c4 o4 i9x9 k1x1 s2 float32",
            "one tap and stride 1, has 1×1 taps and stride 2",
        ),
        ("grad_input n1 c4 o4 i8x8 k4x4 s2 p1 float32", "a kernel as large as the stride, has 4×4"),
        ("grad_input n1 c4 o4 i9x9 k2x2 s2 float32", "a result for each tap, has 9×9"),
        ("grad_input n1 c4 o4 i9x9 k3x3 s3 float32", "weaves rows .* 3 phases do not fill"),
        ("grad_input n1 c4 o4 i8x4 k2x2 s2 float32", r"needs rows of \d+ numbers, has 2"),
        ("forward n1 c0 o4 i9x9 k1x1 float32", "nothing to multiply"),
    ],
)
def test_what_it_refuses(text: str, reason: str) -> None:
    said = ALGORITHM.unsupported(ConvSpec.parse(f"{text} cpu"))
    assert any(re.search(reason, one) for one in said), said


def test_the_planner_takes_it_where_results_are_many_and_weights_few() -> None:
    for layout in ("", "channels_last "):
        words = f"n1 c64 o128 i112x112 k2x2 s2 {layout}float32"
        assert planned(words).algorithm == "strassen_cpu"
        with faltung.using(accuracy="exact"):
            assert planned(words).algorithm == "phases_cpu"
    assert planned("n1 c512 o512 i14x14 k2x2 s2 float32").algorithm != "strassen_cpu"


def test_what_it_prepares_is_the_packed_weight() -> None:
    spec = ConvSpec.parse("forward n1 c64 o64 i28x28 k1x1 float32 cpu")
    layout = StrassenLayout(strassen_cpu._problem(spec))
    assert layout.weight_numbers >= 7 * 32 * 32
    assert strassen_cpu._packing(spec, layout)(torch.ones(spec.w_shape)).numel() == (
        layout.weight_numbers
    )
    assert ALGORITHM.workspace(spec) > 4 * layout.weight_numbers
    twice = ConvSpec.parse("forward n1 c64 o128 i28x28 k1x1 float32 cpu")
    machine = this_machine()
    assert ALGORITHM.preparing(twice, machine) > ALGORITHM.preparing(spec, machine)
