"""What is special to matrix products without a matrix: every width, channel count and layout."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import exact
import faltung
from exact import by_torch, spelled, whole_operands
from faltung import functional as FF
from faltung.lang.ops import Op
from faltung.machine import this_machine
from faltung.ops.conv.algorithms import implicit_gemm_cpu
from faltung.ops.conv.algorithms.implicit_gemm_cpu import ALGORITHM
from faltung.ops.conv.spec import ConvSpec
from faltung.parts.gemm.layout import GemmLayout
from faltung.parts.gemm.routine import gemm_routine
from forked import run_guarded

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}

# every width up to the widest tiles, and some past one and two vectors
WIDTHS = (*range(1, 18), 27, 28, 29, 31, 33, 48, 49)
EDGES = (1, 7, 15, 16, 33, 49)  # of them, for the slower definition
SHAPES = [
    "c4 o6 k3x3 p1 float32", "c3 o40 k3x3 p1 bias channels_last float32",
    "c20 o17 k1x1 float32", "c16 o35 k1x1 bias channels_last float32",
    "c6 o20 k3x3 s2 p1 g2 channels_last float32", "c5 o33 k2x3 s1x2 p0x1+2 d1x2 bias float64",
    "c4 o18 k1x5 p0x4 d1x2 bias bfloat16", "c4 o10 k3x3 p1 bias channels_last float16",
]  # fmt: skip
CHANNELS = [
    # output channels around one and two vectors, and tiles of several; input channels around loops
    *[f"forward n1 c5 o{o} i5x9 k3x3 p1 bias float32 cpu" for o in (1, 4, 5, 15, 16, 31, 32, 50)],
    *[f"forward n1 c5 o{o} i5x9 k3x3 p1 channels_last float32 cpu" for o in (1, 7, 16, 33, 80)],
    *[f"forward n1 c{c} o9 i4x40 k1x1 float32 cpu" for c in (1, 2, 7, 16, 33)],
    *[f"forward n1 c{c} o9 i4x11 k3x3 p1 channels_last float32 cpu" for c in (1, 2, 7, 33)],
    *[f"forward n2 c{4 * g} o{6 * g} i5x9 k3x3 p1 g{g} bias float32 cpu" for g in (2, 5)],
    *[f"forward n2 c{3 * g} o{17 * g} i5x9 k3x3 g{g} channels_last float32 cpu" for g in (2, 5)],
]
OTHERS = [
    # 1-D: long, with panels in pieces; dilated beyond a tile; strided; causal
    "forward n1 c40 o33 i3000 k3 p1 bias float32 cpu",
    "forward n1 c16 o24 i5000 k3 p32 d32 float32 cpu",
    "forward n2 c20 o70 i1500 k5 s3 p2+0 float32 cpu",
    "forward n2 c9 o12 i700 k4 p12+0 d4 g3 bias float32 cpu",
    # pointwise: pixels from beyond the second cache, the last block narrower; planes that collide
    "forward n1 c64 o70 i50x53 k1x1 bias float32 cpu",
    "forward n2 c150 o41 i30x30 k1x1 float32 cpu",
    "forward n1 c330 o20 i2100 k1 g2 bias float32 cpu",
    "forward n1 c140 o50 i32x32 k1x1 bias float32 cpu",
    # 3-D: every axis padded, strided or dilated by itself
    "forward n2 c5 o20 i5x6x7 k3x3x3 p1 bias float32 cpu",
    "forward n1 c6 o36 i4x5x9 k2x3x3 s1x2x1 p1x0x2 d2x1x1 g2 channels_last float32 cpu",
    "forward n1 c3 o16 i3x9x17 k3x3x3 s2 p1+0x2x0+1 float64 cpu",
    # taps that see nothing but padding; windows larger than the image; a kernel of one size only
    "forward n1 c8 o40 i13x13 k3x3 p12 d12 float32 cpu",
    "forward n1 c8 o40 i13x33 k3x3 p12 d12 channels_last float32 cpu",
    "forward n1 c3 o5 i2x2 k7x7 p6 channels_last float32 cpu",
    "forward n1 c4 o20 i9x30 k9x1 p4x0 channels_last float32 cpu",
    "forward n1 c4 o20 i9x30 k1x9 p0x4 float32 cpu",
    # so many taps at the borders of a row that all tiles are alike
    "forward n1 c6 o40 i30x30 k25x25 p12 float32 cpu",
    "forward n1 c6 o40 i30x30 k25x25 p12 channels_last float32 cpu",
    # pointwise with a stride, with padding, and pixels that collide in the near cache
    "forward n2 c10 o20 i9x9 k1x1 s2 channels_last float32 cpu",
    "forward n1 c10 o20 i9x20 k1x1 p1x2 bias float32 cpu",
    "forward n1 c1024 o20 i6x6 k1x1 channels_last float32 cpu",
    "forward n1 c1024 o20 i6x20 k3x3 p1 channels_last float32 cpu",
    # patches; fewer outputs than there could be
    "forward n1 c3 o50 i48x48 k16x16 s16 float32 cpu",
    "forward n1 c5 o20 i12x33 k3x3 y5x25 d2 float32 cpu",
]


def check(text: str, between_nans: Callable[[Tensor], Tensor]) -> None:
    exact.check(ALGORITHM, text, between_nans)


@pytest.mark.parametrize("words", SHAPES)
def test_every_width(words: str, between_nans: Callable[[Tensor], Tensor]) -> None:
    for text in spelled(words, WIDTHS):
        check(text, between_nans)


@pytest.mark.parametrize("text", [*CHANNELS, *OTHERS])
def test_whole_numbers_to_the_bit(text: str, between_nans: Callable[[Tensor], Tensor]) -> None:
    check(text, between_nans)


def test_stays_inside_its_memory() -> None:
    texts = [text for words in SHAPES for text in spelled(words, EDGES)]
    run_guarded(ALGORITHM.name, [*texts, *CHANNELS[5:9], OTHERS[4]])


_ELSEWHERE = """
import sys, torch
from faltung.lang.target import host_target
from faltung.ops.conv.algorithms.implicit_gemm_cpu import ALGORITHM
from faltung.ops.conv.spec import ConvSpec

assert host_target().vector_bits == 256
for text in sys.argv[2:]:
    spec = ConvSpec.parse(text)
    given = torch.load(f"{sys.argv[1]}/{text}.pt")
    torch.save(ALGORITHM.build(spec)(*given), f"{sys.argv[1]}/{text}.y.pt")
"""


def test_with_half_as_wide_vectors_and_half_as_many(tmp_path: Path) -> None:
    texts = [*CHANNELS[3:9], *OTHERS[:1], *OTHERS[4:9], *spelled(SHAPES[1], EDGES)]
    expected = {}
    for text in texts:
        spec = ConvSpec.parse(text)
        operands = whole_operands(spec)
        expected[text] = by_torch(spec, *operands)
        given = [t.to(getattr(torch, spec.dtype)) for t in operands]
        if spec.layout == "channels_last":
            given[0] = given[0].contiguous(memory_format=CHANNELS_LAST[given[0].dim()])
        torch.save(given, tmp_path / f"{text}.pt")
    done = subprocess.run(
        [sys.executable, "-c", _ELSEWHERE, str(tmp_path), *texts],
        capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "FALTUNG_CPU": "avx2", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    if "routines need fused multiply-add" in done.stderr:
        pytest.skip("this machine has no AVX2")
    assert done.returncode == 0, done.stderr[-2000:]
    for text in texts:
        assert torch.equal(torch.load(tmp_path / f"{text}.y.pt"), expected[text]), text


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
@pytest.mark.parametrize("layout", ["", "channels_last "])
@pytest.mark.parametrize(
    "words", ["c8 o40 i9x30 k3x3 p1 g2 bias", "c3 o20 i20x21 k7x7 s2 p3", "c17 o20 i6x9 k1x1 bias"]
)
def test_dtypes(
    words: str, layout: str, dtype: str, between_nans: Callable[[Tensor], Tensor]
) -> None:
    check(f"forward n2 {words} {layout}{dtype} cpu", between_nans)


@pytest.mark.parametrize("layout", ["", "channels_last "])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_sixteen_bits_are_rounded_once(dtype: str, layout: str) -> None:
    # sums of ones up to 2·3·90 = 540 pass 256, from where bfloat16 counts in twos
    spec = ConvSpec.parse(f"forward n1 c2 o3 i3x100 k3x90 {layout}{dtype} cpu")
    kind = getattr(torch, dtype)
    x, w = (torch.ones(shape, dtype=kind) for shape in spec.operand_shapes)
    if layout:
        x = x.contiguous(memory_format=torch.channels_last)
    w[:, 0, 0, 0] = 0
    expected = by_torch(spec, x.double(), w.double())
    assert expected.unique().item() == torch.tensor(539.0).to(kind).item()
    assert torch.equal(ALGORITHM.build(spec)(x, w), expected)


@pytest.mark.parametrize(
    "text",
    [
        # blocks of rows, of columns, of output channels; whole images
        "forward n1 c30 o40 i70x37 k3x3 s2 p1 float32 cpu",
        "forward n1 c20 o131 i3000 k5 bias float32 cpu",
        "forward n1 c100 o200 i7x7 k3x3 p1 channels_last float32 cpu",
        "forward n3 c16 o24 i11x9 k3x3 p1 g4 bias float32 cpu",
        "forward n1 c64 o200 i14x14 k1x1 float32 cpu",
        "forward n2 c2 o6 i5x6x7 k3x3x3 p1 g2 channels_last bfloat16 cpu",
    ],
)
def test_same_bits_for_any_number_of_threads(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ConvSpec.parse(text)
    x, *rest = [torch.randn(t.shape).to(getattr(torch, spec.dtype)) for t in whole_operands(spec)]
    if spec.layout == "channels_last":
        x = x.contiguous(memory_format=CHANNELS_LAST[x.dim()])
    before, results = torch.get_num_threads(), []
    try:
        for cores in (1, 5):  # cut for so many
            machine = replace(this_machine(), cores=cores)
            monkeypatch.setattr(implicit_gemm_cpu, "this_machine", lambda found=machine: found)
            run = ALGORITHM.build(spec)
            for threads in (1, 2, 3, 5):
                torch.set_num_threads(threads)
                results.append(run(x, *rest))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(result, results[0]) for result in results)
    assert not results[0].isnan().any()


def test_blocks_for_many_cores_are_right(
    between_nans: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = replace(this_machine(), cores=64)
    monkeypatch.setattr(implicit_gemm_cpu, "this_machine", lambda: machine)
    for text in (CHANNELS[7], CHANNELS[12], OTHERS[0], OTHERS[4], OTHERS[5], OTHERS[7]):
        check(text, between_nans)


def test_blocks_for_a_small_cache_are_right(
    between_nans: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = replace(this_machine(), caches=(("L1", 4 << 10), ("L2", 16 << 10)))
    monkeypatch.setattr(implicit_gemm_cpu, "this_machine", lambda: machine)
    for text in (CHANNELS[7], CHANNELS[12], *OTHERS[:5], *OTHERS[7:9], OTHERS[17]):
        check(text, between_nans)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_padding_that_is_left_out_is_not_multiplied(layout: str) -> None:
    # an infinite weight times a zero of the padding would be NaN
    spec = ConvSpec.parse(f"forward n1 c2 o3 i5x6 k3x3 p1 {layout} float32 cpu")
    assert not GemmLayout(implicit_gemm_cpu._problem(spec)).pads_columns
    x, w = torch.ones(spec.x_shape), torch.ones(spec.w_shape)
    if layout == "channels_last":
        x = x.contiguous(memory_format=torch.channels_last)
    w[:, :, 0, 0] = float("inf")
    y = ALGORITHM.build(spec)(x, w)
    if not GemmLayout(implicit_gemm_cpu._problem(spec)).pads_rows:
        assert torch.equal(y[:, :, 0], by_torch(spec, x, torch.ones_like(w))[:, :, 0])
    assert torch.equal(y[:, :, 1:, 0], by_torch(spec, x, torch.ones_like(w))[:, :, 1:, 0])
    assert y[0, :, 1:, 1:].isinf().all()


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_other_padding_is_put_around_first(mode: str, layout: str) -> None:
    spec = ConvSpec.parse(f"forward n2 c5 o17 i6x9 k3x3 s1x2 p1x2 {mode} {layout} float32 cpu")
    x, w = (t.float() for t in whole_operands(spec))
    expected = F.conv2d(F.pad(x, (2, 2, 1, 1), mode=mode), w, stride=(1, 2))
    if layout == "channels_last":
        x = x.contiguous(memory_format=torch.channels_last)
    y = ALGORITHM.build(spec)(x, w)
    assert torch.equal(y, expected)
    assert y.is_contiguous(memory_format=implicit_gemm_cpu._order(spec))
    made = 2 * 5 * 8 * 13 * 4  # bytes of the image with its padding
    assert (
        ALGORITHM.workspace(spec)
        > ALGORITHM.workspace(implicit_gemm_cpu._plain(spec))
        == (ALGORITHM.workspace(spec) - made)
    )


def test_numbers_that_lie_apart_are_put_together_first(whole: Callable[..., Tensor]) -> None:
    spec = ConvSpec.parse("forward n2 c3 o5 i9 k3 p1 strided float32 cpu")
    x = whole(2, 3, 18, dtype=torch.float32)[..., ::2]
    w = whole(5, 3, 3, dtype=torch.float32)
    assert torch.equal(ALGORITHM.build(spec)(x, w), F.conv1d(x, w, padding=1))


def test_code_stays_short() -> None:
    # what is written down, not what is run: compiling takes some thirty milliseconds a thousand
    layers = [
        "forward n1 c3 o64 i224x224 k7x7 s2 p3 float32 cpu",
        "forward n1 c64 o96 i56x56 k3x3 p1 bias gelu float32 cpu",
        "forward n1 c64 o96 i56x56 k3x3 p1 bias gelu channels_last bfloat16 cpu",
        "forward n1 c512 o256 i33x33 k3x3 p12 d12 channels_last float32 cpu",
        "forward n1 c32 o32 i128x128 k15x15 p7 channels_last float32 cpu",
        "forward n1 c24 o40 i14x14 k13x13 p6 float32 cpu",
        "forward n1 c10 o10 i100000 k300 s7 p200 float32 cpu",
        "forward n1 c1 o10 i100000 k3 p30000 d30000 float32 cpu",
    ]
    for text in (*OTHERS, *CHANNELS, *layers):
        spec = implicit_gemm_cpu._plain(ConvSpec.parse(text))
        routine = gemm_routine("any", GemmLayout(implicit_gemm_cpu._problem(spec)))
        assert _written(routine.body) < 7000, text


def _written(ops: list[Op]) -> int:
    return sum(1 + _written(op.body) for op in ops if op.name != "const")


def test_a_stride_costs_no_more_than_its_outputs() -> None:
    # a quarter of the outputs in a quarter of the time: the estimate, and what it counts
    one = ConvSpec.parse("forward n1 c64 o64 i56x56 k3x3 p1 channels_last float32 cpu")
    two = replace(one, stride=(2, 2), output_size=())
    machine = this_machine()
    assert ALGORITHM.seconds(two, machine) < 0.35 * ALGORITHM.seconds(one, machine)


def test_a_residual_that_no_cache_holds_is_waited_for() -> None:
    machine = this_machine()
    plain = ConvSpec.parse("forward n1 c64 o256 i56x56 k1x1 relu float32 cpu")
    more = ALGORITHM.seconds(replace(plain, residual=True), machine) - (
        ALGORITHM.seconds(plain, machine)
    )
    read = 256 * 56 * 56 * 4 / machine.bandwidth
    assert read / 4 < more < 2 * read


def test_padding_that_nothing_is_seen_through_costs_nothing() -> None:
    spec = ConvSpec.parse("forward n1 c512 o256 i33x33 k3x3 p24 d24 channels_last float32 cpu")
    near = replace(spec, padding=((1, 1),) * 2, dilation=(1, 1))
    machine = this_machine()
    executed = spec.executed_macs / near.executed_macs
    assert executed < 0.5
    assert ALGORITHM.seconds(spec, machine) < 1.4 * executed * ALGORITHM.seconds(near, machine)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("forward n1 c4 o4 i9x9 k3x3 complex64 cpu", "needs one of float32, .*has complex64"),
        ("forward n1 c4 o4 i9 k3 channels_last float32 cpu", "needs 2 or 3 dimensions .*has 1"),
    ],
)
def test_what_it_refuses(text: str, reason: str) -> None:
    (said,) = ALGORITHM.unsupported(ConvSpec.parse(text))
    assert re.search(reason, said)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("kernel", ["k3x3 p1", "k1x1"])
def test_no_input_channels_leave_the_bias(kernel: str, layout: str) -> None:
    spec = ConvSpec.parse(f"forward n1 c0 o3 i5x20 {kernel} bias {layout} float32 cpu")
    bias = torch.tensor([1.0, 2.0, 3.0])
    y = ALGORITHM.build(spec)(torch.empty(spec.x_shape), torch.empty(spec.w_shape), bias)
    assert torch.equal(y, bias.view(1, 3, 1, 1).expand(1, 3, 5, 20))


def test_no_images_give_none() -> None:
    for layout in ("contiguous", "channels_last"):
        spec = ConvSpec.parse(f"forward n0 c4 o20 i5x20 k3x3 p1 {layout} float32 cpu")
        y = ALGORITHM.build(spec)(torch.empty(spec.x_shape), torch.ones(spec.w_shape))
        assert y.shape == spec.y_shape


def test_operands_that_are_views(whole: Callable[..., Tensor]) -> None:
    x = whole(2, 4, 9, 20, dtype=torch.float32)
    w = whole(3, 3, 6, 4, dtype=torch.float32).permute(2, 3, 0, 1)
    b = whole(12, dtype=torch.float32)[::2]
    with faltung.using(algorithm="implicit_gemm_cpu"):
        y = FF.conv2d(x, w, b, padding=1)
    assert torch.equal(y, F.conv2d(x, w, b, padding=1))


def test_a_weight_that_changes_is_packed_anew(whole: Callable[..., Tensor]) -> None:
    x, w = whole(1, 4, 9, 20, dtype=torch.float32), whole(6, 4, 3, 3, dtype=torch.float32)
    run = ALGORITHM.build(ConvSpec.parse("forward n1 c4 o6 i9x20 k3x3 p1 float32 cpu"))
    before = run(x, w)
    assert torch.equal(before, F.conv2d(x, w, padding=1))
    w.add_(1)
    assert torch.equal(run(x, w), F.conv2d(x, w, padding=1))
    assert not torch.equal(run(x, w), before)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_activation_comes_last(activation: str, layout: str) -> None:
    text = f"forward n1 c4 o20 i5x20 k3x3 p1 bias {activation} {layout} float32 cpu"
    spec = ConvSpec.parse(text)
    x, w, b = (t.float() for t in whole_operands(spec))
    if layout == "channels_last":
        x = x.contiguous(memory_format=torch.channels_last)
    y = ALGORITHM.build(spec)(x, w, b)
    sums = by_torch(replace(spec, activation=None), x.double(), w.double(), b.double())
    expected = getattr(F, activation)(sums.double()).float()
    if activation == "relu":
        assert torch.equal(y, expected) and (y == 0).any()
    else:
        assert (y - expected).abs().max() <= 4 * torch.finfo(
            torch.float32
        ).eps * expected.abs().max()
