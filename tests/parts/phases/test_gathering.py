"""Phases of a strided convolution's input as channels: weights, and reading them into strips.

Likewise such whose phases differ in their taps, which Winograd's filtering transforms as they are.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from faltung.ops.conv.algorithms import winograd_cpu
from faltung.ops.conv.algorithms.winograd_cpu import ALGORITHM
from faltung.ops.conv.spec import ConvSpec
from faltung.parts.phases.gathering import GatheredAxis, Gathering, gathered
from forked import run_guarded

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
ORDER = {4: torch.channels_last, 5: torch.channels_last_3d}


def test_every_tap_is_one_of_one_phase() -> None:
    for inputs, kernel, stride, low in product((5, 12), (1, 2, 3, 5, 7), (1, 2, 3), (-1, 0, 2)):
        outputs = 4
        x, w = torch.arange(1.0, inputs + 1), torch.arange(1.0, kernel + 1)
        plain, axis = gathered(inputs, outputs, kernel, stride, low)
        one = GatheredAxis()
        made = Gathering((one, one, axis), 1, 1, 1, last=True).weight(w.view(1, 1, 1, 1, -1))
        taps = made.view(stride, plain.taps)
        for q in range(outputs):
            reads = [(q * stride + t - low, w[t]) for t in range(kernel)]
            right = sum(x[i] * v for i, v in reads if 0 <= i < inputs)
            total = torch.tensor(0.0)
            for phase, t in product(range(stride), range(plain.taps)):
                place = (q + t) * axis.stride + phase - axis.low
                if 0 <= place < inputs:
                    total += taps[phase, t] * x[place]
            assert total == right, (inputs, kernel, stride, low, q)


def test_channels_in_vectors() -> None:
    axes = (GatheredAxis(), GatheredAxis(2, 0, 8), GatheredAxis(3, 0, 9))
    gathering = Gathering(axes, 1, 5, 4, last=False)
    assert gathering.inputs == 2 * 3 * 8 and gathering.together == 3
    assert gathering.numbers(2) == 2 * 5 * 8 * 9
    w = torch.arange(7 * 5 * 2 * 3.0).view(7, 5, 1, 2, 3) + 1
    made = gathering.weight(w).view(7, 2, 2, 3, 4)  # o, phase, block, phase of a row, lane
    for down, c, along in product(range(2), range(5), range(3)):
        assert torch.equal(made[:, down, c // 4, along, c % 4], w[:, c, 0, down, along])
    assert (made[:, :, 1, :, 1:] == 0).all()
    assert replace(gathering, last=True).together == 0


WIDTHS = (4, 5, 6, 8, 9, 15, 16, 17, 31, 33, 34, 50, 65)
SHAPES = [
    "c9 o17 i7x* k3x3 s2 p1 float32",
    "c17 o20 i6x* k4x3 s1x2 p1 bias float32",
    "c8 o33 i9x* k5x5 s2 p2 bias channels_last float32",
    "c24 o18 i8x* k3x4 s2x3 p1 g2 bias float32",
    "c24 o6 i8x* k4x4 s2 p0x2 g2 channels_last float32",
    "c40 o9 i* k5 s2 p2+0 bias float32",
    "c9 o9 i* k9 s4 p3+7 float32",
    "c9 o16 i5x6x* k3x3x3 s2 p1 float64",
    "c9 o16 i5x6x* k3x3x3 s1x2x2 p1 bias channels_last float32",
    "c9 o12 i6x* k3x3 s2 p1 bias bfloat16",
    "c9 o12 i6x* k3x3 s2 p1 channels_last float16",
    "c9 o17 i9x* k4x4 s2 p1 bias float32",
    "c8 o33 i9x* k4x6 s2x3 p2 bias channels_last float32",
    "c24 o18 i8x* k6x2 s2x1 p1 g2 bias float32",
    "c9 o9 i* k8 s4 p3+7 float32",
    "c40 o9 i* k10 s5 p2+0 bias float32",
    "c9 o16 i5x6x* k3x4x4 s2 p1 float64",
    "c9 o16 i7x4x* k4x2x4 s3x1x2 p1 bias channels_last float32",
    "c9 o16 i7x4x* k5x3x3 s2x1x2 p2 bias channels_last float32",
    "c9 o12 i6x* k4x4 s2 p1 bias bfloat16",
    "c9 o12 i6x* k4x2 s2 p1 channels_last float16",
]
STRUCTURE = [
    # sizes that stop early; padding beyond the kernel, and cropping; several blocks and chunks
    "c16 o9 i20x21 y4x5 k3x3 s2 p1 float32",
    "c16 o9 i20x21 k3x3 s2 p5x4 bias float32",
    "c16 o9 i20x21 k5x5 s2 p2+0x0+3 channels_last float32",
    "c70 o130 i40x38 k3x3 s2 p1 bias float32",
    "c64 o100 i900 k5 s2 float32",
    "c16 o9 i20x21 y4x4 k4x4 s2 p5x4 bias float32",
    "c70 o130 i40x38 k4x4 s2 p1 bias float32",
    "c64 o100 i900 k8 s4 float32",
]


def operands(spec: ConvSpec, make: Callable[[tuple[int, ...]], Tensor]) -> list[Tensor]:
    shapes = [*spec.operand_shapes] + ([spec.result_shape[1:2]] if spec.bias else [])
    found = [make(shape) for shape in shapes]
    if spec.layout == "channels_last":
        found[0] = found[0].contiguous(memory_format=ORDER[spec.dims + 2])
    return [t.to(getattr(torch, spec.dtype)) for t in found]


def by_torch(spec: ConvSpec, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    ends = []
    for axis in reversed(spec.axes):
        reach = (axis.output_size - 1) * axis.stride + axis.kernel_size - axis.padding[0]
        ends += [axis.padding[0], reach - axis.input_size]
    padded = F.pad(x.double(), ends)
    return CONV[spec.dims](
        padded, w.double(), None if b is None else b.double(), spec.stride, 0, 1, spec.groups
    )


def check(words: str) -> None:
    spec = ConvSpec.parse(f"forward n2 {words} cpu")
    assert not ALGORITHM.unsupported(spec), (words, ALGORITHM.unsupported(spec))
    most = 1 if spec.item_size == 2 else 3
    given = operands(spec, lambda shape: torch.randint(-most, most + 1, shape).double())
    y, right = ALGORITHM.build(spec)(*given), by_torch(spec, *given)
    assert y.shape == right.shape and right.abs().max() > 3
    assert torch.equal(y.double().round(), right), words


@pytest.mark.parametrize("words", SHAPES)
def test_every_width(words: str) -> None:
    checked = 0
    for width in WIDTHS:
        try:
            spec = ConvSpec.parse(f"forward n2 {(text := words.replace('*', str(width)))} cpu")
        except ValueError:
            continue
        if not ALGORITHM.unsupported(spec):
            check(text)
            checked += 1
    assert checked >= 6


@pytest.mark.parametrize("words", STRUCTURE)
def test_structure(words: str) -> None:
    check(words)


def test_what_is_tested_is_what_is_meant() -> None:
    gathers = 0
    for words in SHAPES:
        spec = ConvSpec.parse(f"forward n2 {words.replace('*', '33')} cpu")
        problem = winograd_cpu._problem(spec)
        gathers += isinstance(problem.inlet, Gathering)
        strides = [axis.stride for axis in (problem.depth, problem.high, problem.wide)]
        assert (max(strides) == 1) == isinstance(problem.inlet, Gathering)
    assert 9 <= gathers <= len(SHAPES) - 11


@pytest.mark.parametrize("words", ["c20 o70 i30x33 k3x3 s2 p1 bias", "c20 o30 i900 k5 s2 p4"])
def test_same_bits_for_any_number_of_threads(words: str) -> None:
    spec = ConvSpec.parse(f"forward n1 {words} float32 cpu")
    given, run = operands(spec, torch.randn), ALGORITHM.build(spec)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(run(*given))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(y, results[0]) for y in results)


def test_stays_inside_its_memory() -> None:
    texts = [words.replace("*", str(width)) for words in SHAPES for width in (16, 33)]
    specs = [
        f"forward n1 {text.rsplit(' ', 1)[0]} relu {text.rsplit(' ', 1)[1]} cpu" for text in texts
    ]
    specs = [text for text in specs if not ALGORITHM.unsupported(ConvSpec.parse(text))]
    assert len(specs) > 15
    run_guarded(ALGORITHM.name, specs)
