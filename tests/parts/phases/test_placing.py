"""All phases as channels of one convolution: weights, places, and writing them to where they go."""

from itertools import product

import pytest
import torch
from torch.nn import functional as F

from faltung.ops.conv.algorithms import winograd_cpu
from faltung.ops.conv.algorithms.winograd_cpu import ALGORITHM
from faltung.parts.phases.classes import PhaseAxis
from faltung.parts.phases.placing import PlacedAxis, Placing, placed
from transposed import by_torch, guarded, laid_out, parse, same_for_any_threads, whole_operands

AXES = [
    PhaseAxis(results, kernel, stride, low, dilation, sources)
    for kernel, stride, low, dilation in product((1, 2, 3, 5), (1, 2, 3, 4), (-2, 0, 1, 5), (1, 3))
    for results, sources in ((1, 1), (7, 4), (20, 5), (13, 9))
    if stride % dilation or dilation == 1
]


def test_every_result_is_one_output_of_one_phase() -> None:
    for axis in AXES:
        plain, places = placed(axis)
        found = [
            places.start + m * axis.stride + phase * axis.dilation
            for m in range(plain.outputs)
            for phase in range(axis.stride)
        ]
        assert sorted(i for i in found if 0 <= i < axis.results) == list(range(axis.results)), axis


def test_outputs_have_the_products_of_their_results() -> None:
    for axis in AXES:
        plain, places = placed(axis)
        w = torch.arange(1, axis.kernel_size + 1).double()
        gy = torch.arange(1, axis.sources + 1).double()
        right = torch.zeros(axis.results).double()
        for q, t in product(range(axis.sources), range(axis.kernel_size)):
            i = q * axis.stride - axis.low + t * axis.dilation
            if 0 <= i < axis.results:
                right[i] += w[t] * gy[q]
        one = PlacedAxis()
        placing = Placing((one, places, one), 1, 1, 1, last=True, beside=False)
        taps = placing.weight(w.view(1, 1, 1, -1, 1)).flatten(1)  # [phases, turns]
        for m, phase in product(range(plain.outputs), range(axis.stride)):
            reads = [m - plain.low + t * plain.dilation for t in range(plain.taps)]
            total = sum(
                taps[phase, t] * gy[q] for t, q in enumerate(reads) if 0 <= q < axis.sources
            )
            i = places.start + m * axis.stride + phase * axis.dilation
            if 0 <= i < axis.results:
                assert total == right[i], axis


def test_channels_in_vectors() -> None:
    axes = (PlacedAxis(), PlacedAxis(2, 1, 0, 8, 4), PlacedAxis(3, 1, 0, 9, 3))
    w = torch.arange(2 * 5 * 6.0).view(2, 5, 1, 2, 3) + 1
    apart = Placing(axes, 1, 5, 4, last=True, beside=False)
    assert apart.outputs == 2 * 2 * 3 * 4 and apart.together == 0
    made = apart.weight(w).view(2, 2, 3, 4, 2)  # phase, block, phase of a row, lane, o
    for down, c, along, o in product(range(2), range(5), range(3), range(2)):
        assert made[down, c // 4, along, c % 4, o] == w[o, c, 0, down, along]
    assert (made[:, 1, :, 1:] == 0).all()
    flat = Placing(axes, 1, 5, 4, last=True, beside=True)
    assert flat.outputs == 2 * 16
    made = flat.weight(w).view(2, 16, 2)
    assert torch.equal(made[1, :15, 1], w[1, :, 0, 1].t().flatten())
    rows = Placing(axes, 1, 5, 4, last=False, beside=True)
    made = rows.weight(w).view(2, 5, 4, 2)
    assert torch.equal(made[1, :, :3, 1], w[1, :, 0, 1])
    woven = Placing(axes, 1, 5, 4, last=False, beside=False)
    assert woven.together == 3
    b = torch.arange(5.0) + 1
    assert woven.bias(b).view(2, 2, 3, 4)[1, 0, 2].tolist() == [1, 2, 3, 4]
    assert flat.bias(b).view(2, 16)[0].tolist() == [1, 2, 3, 4, 5] * 3 + [0]


WIDTHS = (1, 2, 3, 5, 8, 15, 16, 17, 23, 31, 33, 50, 64, 99, 131)
SHAPES = [
    "n1 c17 o9 i3x* k4x4 s2 p1 float32",
    "n2 c20 o12 i6x* k4x3 s2x1 p1 bias float32",
    "n1 c33 o8 i5x* k5x6 s2x3 p2 g1 bias channels_last float32",
    "n1 c24 o18 i8x* k4x4 s2 p1 g2 bias float32",
    "n1 c24 o18 i8x* k4x4 s2 p0x3 g2 channels_last float32",
    "n1 c3 o10 i8x* k4x4 s2 p1 channels_last bias float32",
    "n1 c5 o9 i* k16 s8 p4 bias float32",
    "n1 c2 o9 i* k16 s8 p3+7 g1 bias float32",
    "n1 c1 o10 i* k30 s10 p3+20 float32",
    "n1 c16 o9 i5x4x* k4x4x4 s2 p1 float64",
    "n1 c9 o9 i5x4x* k3x4x4 s1x2x2 p1 bias channels_last float32",
    "n1 c9 o9 i7x4x* k2x4x4 s3x2x2 p1 float32",
    "n1 c18 o8 i6x* k4x4 s2 p1 bias bfloat16",
    "n1 c18 o8 i6x* k4x4 s2 p1 channels_last float16",
]
STRUCTURE = [
    # a kernel that the stride does not divide, or below it; phases that nothing reaches
    "n1 c16 o9 i19x20 k3x3 s2 p1 float32",
    "n1 c16 o9 i19x20 k5x5 s2 p2 bias float32",
    "n1 c16 o9 i19x20 k2x9 s3x4 p1 bias float32",
    "n1 c16 o9 i30x29 k3x7 s1x4 p5x0 channels_last float32",
    # dilation above a row of phases
    "n1 c16 o9 i23x20 k5x4 s2 p2x1 d3x1 bias float32",
    "n1 c16 o9 i9x23x20 k3x5x4 s4x3x2 p2x2x1 d5x4x1 channels_last float32",
    # sizes that stop early or go on; unequal padding; padding beyond the kernel, and cropping
    "n1 c16 o9 i12x11 y4x5 k4x4 s2 p1 float32",
    "n2 c16 o9 i20x21 k4x4 s2 p3+0x0+2 channels_last float32",
    "n1 c16 o9 i9x8 k4x4 s2 p5 bias float32",
    "n0 c16 o9 i8x8 k4x4 s2 p1 float32",
    # several blocks and chunks
    "n1 c130 o40 i40x38 k4x4 s2 p1 bias float32",
    "n1 c70 o300 i1000 k16 s8 p4 float32",
    "n1 c1 o66 i2560 k512 s128 float32",
]


def check(words: str) -> None:
    spec = parse(words)
    assert not ALGORITHM.unsupported(spec), (words, ALGORITHM.unsupported(spec))
    operands = whole_operands(spec)
    given = [t.to(getattr(torch, spec.dtype)) for t in operands]
    gx, right = (
        ALGORITHM.build(spec)(laid_out(spec, given[0]), *given[1:]),
        by_torch(spec, *operands),
    )
    assert gx.dtype == right.dtype and laid_out(spec, gx).data_ptr() == gx.data_ptr()
    assert torch.equal(gx.double().round(), right.double()), words
    assert not right.numel() or right.abs().max() > 3


@pytest.mark.parametrize("words", SHAPES)
def test_every_width(words: str) -> None:
    checked = 0
    for width in WIDTHS:
        try:
            spec = parse(text := words.replace("*", str(width)))
        except ValueError:
            continue
        if not ALGORITHM.unsupported(spec):
            check(text)
            checked += 1
    assert checked >= 4


@pytest.mark.parametrize("words", STRUCTURE)
def test_structure(words: str) -> None:
    check(words)


def test_the_ways_to_write_are_all_tested() -> None:
    found = set()
    for words in SHAPES:
        outlet = winograd_cpu._problem(parse(words.replace("*", "33"))).outlet
        assert isinstance(outlet, Placing)
        found.add((outlet.last, outlet.beside))
    assert len(found) == 4


@pytest.mark.parametrize("words", ["n1 c70 o30 i30x33 k4x4 s2 p1 bias float32",
                                   "n1 c9 o30 i900 k16 s8 p4 float32"])  # fmt: skip
def test_same_bits_for_any_number_of_threads(words: str) -> None:
    same_for_any_threads(ALGORITHM, words)


def test_stays_inside_its_memory() -> None:
    texts = [words.replace("*", str(width)) for words in SHAPES for width in (16, 33)]
    texts = [f"{text.rsplit(' ', 1)[0]} relu {text.rsplit(' ', 1)[1]}" for text in texts]
    guarded(ALGORITHM, [text for text in texts if not ALGORITHM.unsupported(parse(text))])


def test_activation_comes_last() -> None:
    spec = parse("n1 c20 o9 i18x17 k4x4 s2 p1 bias gelu float32")
    operands = whole_operands(spec)
    gx = ALGORITHM.build(spec)(*(t.float() for t in operands))
    right = F.gelu(by_torch(parse("n1 c20 o9 i18x17 k4x4 s2 p1 bias float64"), *operands))
    assert (gx - right).abs().max() < 1e-5 * right.abs().max()
