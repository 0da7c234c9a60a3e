"""What is special to transposed convolution as matrix products: phases, tiles, blocks, layouts."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

import faltung
from faltung import functional as FF
from faltung.ops.conv.algorithms import phases_cpu
from faltung.ops.conv.algorithms.phases_cpu import ALGORITHM
from faltung.ops.conv.spec import ConvSpec
from faltung.ops.scratch import scratch_bytes
from faltung.parts.phases.layout import PhaseLayout
from faltung.parts.phases.routine import PhaseRoutine
from transposed import (
    by_torch,
    check,
    guarded,
    laid_out,
    parse,
    planned,
    same_for_any_threads,
    spelled,
)

WIDTHS = (*range(1, 10), 15, 16, 17, 23, 31, 33)
EDGES = (1, 4, 9, 16, 33)  # of them, for the slower definition
SHAPES = [
    "n1 c17 o5 i3x* k3x4 s1x2 p1 float32",
    "n1 c33 o6 i4x* k2x3 s2x3 p0x1 bias channels_last float32",
    "n1 c16 o4 i* k5 s2 p5 d3 float32",
    "n2 c24 o8 i3x* k3x3 p1 g2 bias float64",
    "n1 c20 o3 i2x3x* k2x2x2 s2 p0x0x1 channels_last float64",
    "n1 c18 o7 i4x* k4x4 s2 p1 bias bfloat16",
    "n1 c18 o7 i4x* k4x4 s2 p1 channels_last float16",
    "n1 c1 o5 i* k64 s32 p31 bias float32",
    "n1 c3 o5 i3x* k4x4 s2x4 p1 bias channels_last float32",
]
STRUCTURE = [
    # phases without taps (kernel below the stride), gaps of a dilated one, both at once
    "n1 c16 o3 i9x11 k2x2 s3 float32",
    "n1 c16 o3 i23 k3 s2 d2 p1 bias float32",
    "n1 c16 o3 i40 k4 s6 d4 p2 bias float32",
    "n1 c16 o3 i41 k5 s4 d6 p5+9 float32",
    "n1 c16 o3 i31x29 k3x2 s5x3 d3x6 p4+0x0+7 bias float32",
    # every phase of a deep kernel; depth strides; sizes that stop early or go on
    "n1 c16 o2 i9x8x7 k3x2x4 s2x3x2 p1x0x2 d1x2x1 float32",
    "n2 c16 o2 i7x9x9 k4x1x3 s3x2x1 p2x0x1 channels_last float32",
    "n1 c16 o3 i12x11 y3x4 k3x3 s2 p1 float32",
    "n1 c16 o3 i14x13 k3x3 s3 p0+1x2+0 float32",
    # padding beyond the kernel: results that nothing reaches
    "n1 c16 o3 i5x6 k3x3 s2 p5 bias float32",
    "n1 c16 o3 i30 k3 s9 p11 bias float32",
    "n1 c16 o3 i1x1 k4x4 p3 float32",
    # one source, one result, no batch
    "n3 c64 o40 i4x4 k4x4 float32",
    "n0 c16 o3 i8x8 k4x4 s2 p1 float32",
]
CUT = [
    # tiles of several rows; more columns than results; blocks of rows and columns; many channels
    "n2 c96 o8 i7x7 k3x3 p1 float32",
    "n1 c40 o130 i8x8 k4x4 s2 p1 bias float32",
    "n1 c128 o9 i30x31 k3x3 p1 float32",
    "n1 c33 o700 i9x70 k3x3 p1 channels_last float32",
    "n1 c33 o700 i70x70 k3x3 s2 p1 float32",
    "n1 c32 o1100 i900 k5 s2 p2 float32",
    "n1 c32 o16 i30000 k4 s2 p1 float32",
    # so many weights that they are fetched ahead; and more than the second cache holds
    "n1 c96 o600 i24 k16 s8 p4 float32",
    "n1 c64 o512 i12x12 k4x4 s2 p1 float32",
    "n1 c300 o1024 i8x8 k4x4 s2 p1 channels_last float32",
    # pixels from beyond the second cache, one tap each: fetched ahead, block by block
    "n1 c40 o300 i64x64 k2x2 s2 bias float32",
    "n2 c20 o64 i8202 k2 s2 float32",
    "n1 c16 o64 i18x34x30 k2x2x2 s2 float32",
    # channels of a panel's pixels that would collide
    "n1 c16 o1024 i8x9 k2x2 s2 channels_last float32",
]
SIDE_BY_SIDE = [
    "n1 c1 o5 i100 k8 s8 float32",
    "n2 c1 o5 i100 k16 s8 p3 bias float32",
    "n1 c1 o37 i1025 k64 s16 p11+3 float32",
    "n1 c2 o6 i200 k40 s20 g2 p7 bias float32",
    "n1 c3 o5 i7x50 k4x4 s2 p1 channels_last bias float32",
    "n2 c3 o5 i9x51 k3x8 s2x4 p1x3 channels_last float32",
    "n1 c2 o3 i5x6x40 k2x2x4 s2x1x4 p1 bias float64",
    "n1 c1 o9 i300 k32 s32 p31 bfloat16",
    "n1 c1 o66 i2560 k512 s128 float32",
]


@pytest.mark.parametrize("words", SHAPES)
def test_every_width(words: str, between_nans: Callable[[Tensor], Tensor]) -> None:
    for text in spelled(words, WIDTHS):
        check(ALGORITHM, text, between_nans)


@pytest.mark.parametrize("words", [*STRUCTURE, *CUT, *SIDE_BY_SIDE])
def test_whole_numbers_to_the_bit(words: str, between_nans: Callable[[Tensor], Tensor]) -> None:
    check(ALGORITHM, words, between_nans)


@pytest.mark.parametrize("stride", [*range(1, 10), 16, 31])
def test_every_stride(stride: int, between_nans: Callable[[Tensor], Tensor]) -> None:
    for kernel, padding, dilation in ((3, 1, 1), (stride, 0, 1), (2 * stride, 1, 1), (5, 2, 3)):
        text = f"n1 c17 o3 i{5 * stride + 7} k{kernel} s{stride} p{padding} d{dilation} float32"
        for some in spelled(text, (0,)):
            check(ALGORITHM, some, between_nans)


def test_the_layouts_that_are_meant_are_tested() -> None:
    def layout(words: str) -> PhaseLayout:
        return PhaseLayout(phases_cpu._problem(parse(words)))

    assert all(layout(words).problem.side for words in SIDE_BY_SIDE)
    cut = [layout(words) for words in CUT]
    assert any(one.tiling.rows > 1 for one in cut)
    assert any(one.is_ragged for one in cut)
    assert any(one.row_blocks > 1 for one in cut)
    assert any(one.column_blocks > 1 for one in cut)
    assert any(one.is_large and one.tiling.strip < one.tiling.block_columns for one in cut)
    assert any(one.is_large and one.tiling.strip == one.tiling.block_columns for one in cut)
    assert any(one.panel.pixel > one.problem.terms for one in cut)
    far = [one for one in cut if one.is_far]
    assert any(one.column_blocks > 1 for one in far) and any(one.row_blocks > 1 for one in far)


@pytest.mark.parametrize("level", ["", "avx2"])
def test_stays_inside_its_memory(level: str) -> None:
    widths = EDGES[2::2] if level else EDGES
    edges = [text for words in SHAPES for text in spelled(words, widths)]
    guarded(ALGORITHM, [*edges, *STRUCTURE[:5], STRUCTURE[7], CUT[0], *SIDE_BY_SIDE[:6]], level)


@pytest.mark.parametrize(
    "words",
    [
        "n1 c100 o40 i32x30 k4x4 s2 p1 bias float32",
        "n1 c70 o30 i300 k16 s8 p4 float32",
        "n2 c36 o24 i9x10x11 k3x3x3 s2 p1 g2 channels_last float32",
        "n1 c1 o40 i4000 k256 s64 float32",
    ],
)
def test_same_bits_for_any_number_of_threads(words: str) -> None:
    same_for_any_threads(ALGORITHM, words)


@pytest.mark.parametrize("activation", ["relu", "silu", "gelu", "hardswish"])
@pytest.mark.parametrize("layout", ["", "channels_last "])
def test_activation_comes_last(
    activation: str, layout: str, check_algorithm: Callable[..., None]
) -> None:
    words = f"n1 c19 o7 i9x10 k4x4 s2 p1 bias {activation} {layout}"
    for dtype in ("float32", "float64", "bfloat16"):
        check_algorithm(ALGORITHM, parse(words + dtype))
    check_algorithm(ALGORITHM, parse(f"n1 c1 o7 i90 k32 s16 p1 bias {activation} float32"))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_sixteen_bits_are_rounded_once(dtype: str) -> None:
    # sums of ones up to 540 pass 256, from where bfloat16 counts in twos
    spec = parse(f"n1 c17 o270 i30 k4 s2 {dtype}")
    gy, w = (torch.ones(shape, dtype=getattr(torch, dtype)) for shape in spec.operand_shapes)
    w[0, :, 0] = 0
    gx = ALGORITHM.build(spec)(gy, w)
    assert torch.equal(gx, by_torch(spec, gy, w))
    assert gx.max().item() == torch.tensor(540.0).to(gx.dtype).item()


def test_code_stays_short() -> None:
    # what is written down, not what is run: compiling takes about a tenth of a second a thousand
    for words in (*CUT, *SIDE_BY_SIDE, "n1 c128 o256 i32x32 k4x4 s2 p1 float32"):
        written = _written(PhaseRoutine(PhaseLayout(phases_cpu._problem(parse(words)))).r.body)
        assert written < 2500, words


def _written(ops: list) -> int:
    return sum(1 + _written(op.body) for op in ops if op.name != "const")


def test_workspace_is_the_packed_weight_and_scratch() -> None:
    for words in ("n1 c70 o30 i20x20 k4x4 s2 p1 float32", "n1 c70 o30 i40 k3 s2 float64"):
        spec = parse(words)
        layout = PhaseLayout(phases_cpu._problem(spec))
        item_size = layout.problem.item_size
        own = scratch_bytes(item_size, layout.panel.numbers, layout.line_numbers)
        assert ALGORITHM.workspace(spec) == layout.packed_numbers * item_size + own


@pytest.mark.parametrize(
    "words",
    [
        "n1 c128 o256 i32x32 k4x4 s2 p1 float32",
        "n1 c256 o512 i1600 k16 s8 p4 float32",
        "n1 c64 o64 i32x32x32 k2x2x2 s2 float32",
    ],
)
def test_the_planner_takes_it_for_many_channels_or_phases(words: str) -> None:
    with faltung.using(accuracy="exact"):
        assert planned(words).algorithm == "phases_cpu"


@pytest.mark.parametrize(
    ("words", "algorithm"),
    [
        # phases of several taps: there are fewer multiplications to do
        ("n1 c128 o256 i32x32 k6x6 s2 p2 float32", "winograd_cpu"),
        ("n1 c256 o512 i1600 k20 s4 p8 float32", "winograd_cpu"),
        # too few pixels for the weights that would be transformed; phases of one tap
        ("n1 c128 o256 i8x8 k4x4 s2 p1 float32", "phases_cpu"),
        ("n1 c512 o512 i14x14 k2x2 s2 float32", "phases_cpu"),
        # one product of two matrices, large enough to save an eighth of it
        ("n1 c64 o64 i32x32x32 k2x2x2 s2 float32", "strassen_cpu"),
    ],
)
def test_the_planner_takes_fewer_multiplications_where_they_pay(words: str, algorithm: str) -> None:
    assert planned(words).algorithm == algorithm


def test_the_planner_leaves_matrices_of_bfloat16_to_others() -> None:
    words = "n1 c128 o256 i32x32 k4x4 s2 p1 channels_last bfloat16"
    assert planned(words).algorithm == "native_torch"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("n1 c4 o4 i9x9 k3x3 complex64", "needs one of float32, .*has complex64"),
        ("n1 c4 o4 i9x9 k3x3 strided float32", "has strided"),
        ("n1 c4 o4 i9x9 k3x3 p1 reflect float32", "with zeros only, not reflect"),
        ("n1 c0 o4 i9x9 k3x3 p1 float32", r"nothing to compute: the result is \(1, 0, 9, 9\)"),
    ],
)
def test_what_it_refuses(words: str, reason: str) -> None:
    (said,) = ALGORITHM.unsupported(parse(words))
    assert re.search(reason, said)


def test_operands_that_are_views(whole: Callable[..., Tensor]) -> None:
    x = whole(2, 6, 9, 10, dtype=torch.float32)
    w = whole(4, 4, 20, 6, dtype=torch.float32).permute(3, 2, 0, 1)
    b = whole(40, dtype=torch.float32)[::2]
    with faltung.using(algorithm="phases_cpu"):
        y = FF.conv_transpose2d(x, w, b, stride=2, padding=1, output_padding=1)
    expected = torch.nn.functional.conv_transpose2d(x, w, b, 2, 1, 1)
    assert torch.equal(y, expected)


def test_a_changed_weight_is_packed_anew(whole: Callable[..., Tensor]) -> None:
    spec = ConvSpec.parse("grad_input n1 c17 o5 i12x12 k4x4 s2 p1 float32 cpu")
    run = ALGORITHM.build(spec)
    gy, w = (whole(*shape, dtype=torch.float32) for shape in spec.operand_shapes)
    first = run(gy, w)
    w.mul_(2)
    assert torch.equal(run(gy, w), 2 * first)
    w.data = w.flip(0)
    assert torch.equal(run(gy, w), by_torch(spec, gy, w))


def test_a_gradient_of_a_strided_convolution(whole: Callable[..., Tensor]) -> None:
    spec = replace(parse("n2 c18 o20 i11x12 k3x3 s2 p1 float32"), layout="channels_last")
    gy, w = (whole(*shape, dtype=torch.float32) for shape in spec.operand_shapes)
    x = torch.zeros(spec.x_shape, requires_grad=True)
    (expected,) = torch.autograd.grad(torch.nn.functional.conv2d(x, w, None, 2, 1), x, gy)
    assert torch.equal(ALGORITHM.build(spec)(laid_out(spec, gy), w), expected)
