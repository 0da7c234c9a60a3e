"""The spec: counts worked out on paper, the index map in several axes, and the one spelling."""

import itertools
from dataclasses import replace

import pytest

from faltung.errors import ArgumentError
from faltung.ops.conv.spec import ConvSpec
from problems import SMALL

SPECS = [ConvSpec.parse(text) for text in SMALL]


@pytest.mark.parametrize("text", SMALL)
def test_one_spelling_reads_back(text: str) -> None:
    spec = ConvSpec.parse(text)
    assert str(spec) == text
    for task in ("grad_input", "grad_weight"):
        other = replace(spec, task=task)
        assert ConvSpec.parse(str(other)) == other
    assert hash(spec) == hash(ConvSpec.parse(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("conv n1 c1 o1 i3x3 k3x3 float32 cpu", "starts with one of forward, grad_input"),
        ("forward n1 c1 o1 i3x3 float32 cpu", "does not say kernel_size"),
        ("forward n1 n2 c1 o1 i3 k3 float32 cpu", "batch is given twice"),
        ("forward n1 c1 o1 i3x k3x3 float32 cpu", "cannot read the word 'i3x'"),
        ("forward n1 c1 o1 i3x3 k3x3 q7 float32 cpu", "cannot read the word 'q7'"),
        ("forward n1 c1 o1 i3x3 k3x3 float31 cpu", "dtype must be one of .* got 'float31'"),
        ("forward n1 c1 o1 i3x3 k3 float32 cpu", "must all have 1, 2 or 3 entries"),
        ("forward n1 c1 o1 i3x3x3x3 k3x3x3x3 float32 cpu", "must all have 1, 2 or 3 entries"),
        ("forward n1 c1 o1 i3x3 k5x5 float32 cpu", r"spans \(5, 5\), larger than the padded"),
        ("forward n1 c3 o2 i3x3 k3x3 g2 float32 cpu", "groups=2 must divide both the 3 input"),
        ("forward n1 c3 o2 i3x3 k3x3 s0 float32 cpu", "must be at least 1"),
        ("forward n1 c1 o1 i9 k3 y8 float32 cpu", r"output size \(8,\) must lie between"),
        ("", "a problem reads like"),
    ],
)  # fmt: skip
def test_what_it_cannot_read(text: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        ConvSpec.parse(text)


def test_counts_of_the_texts_grouped_example() -> None:
    # C=2, O=4: eight 3×3 maps at G=1, four at G=2; parameters and work halve, the sizes stay
    whole = ConvSpec.parse("forward n1 c2 o4 i5x5 k3x3 float32 cpu")
    halved = replace(whole, groups=2)
    assert whole.parameters == 8 * 9 and halved.parameters == 4 * 9
    assert whole.macs == 8 * 9 * 9 and halved.macs == 4 * 9 * 9
    assert whole.y_shape == halved.y_shape == (1, 4, 3, 3)


def test_counts_by_paper() -> None:
    spec = ConvSpec.parse("forward n2 c3 o8 i80x60 k3x5 s2 p1x2 bias float32 cpu")
    assert spec.y_shape == (2, 8, 40, 30)
    assert spec.parameters == 8 * 3 * 15 + 8
    assert spec.macs == 2 * 8 * 40 * 30 * 3 * 15
    # rows −1 fall outside for one tap of one output; columns −2 and −1, and 60
    executed = (40 * 3 - 1) * (30 * 5 - 2 - 1)
    assert spec.executed_macs == 2 * 8 * 3 * executed
    assert spec.bytes == 4 * (2 * 3 * 80 * 60 + 8 * 3 * 15 + 2 * 8 * 40 * 30 + 8)
    assert spec.im2col_bytes == 4 * 2 * 3 * 15 * 40 * 30
    assert spec.intensity == 2 * spec.executed_macs / spec.bytes


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_counts_agree_with_the_index_map(spec: ConvSpec) -> None:
    outputs = list(itertools.product(*map(range, spec.output_size)))
    taps = list(itertools.product(*map(range, spec.kernel_size)))
    read = [(q, t, i) for q in outputs for t in taps if (i := spec.source(q, t)) is not None]
    per_pair = spec.batch * spec.out_channels * spec.in_channels // spec.groups
    assert spec.executed_macs == per_pair * len(read)
    assert spec.macs == per_pair * len(outputs) * len(taps)
    assert all(replace(spec, task=t).macs == spec.macs for t in ("grad_input", "grad_weight"))

    positions = itertools.product(*map(range, spec.input_size))
    backwards = {(q, t, i) for i in positions for q, t in spec.readers(i)}
    assert backwards == set(read)


def test_shapes_of_the_three_tasks() -> None:
    spec = ConvSpec.parse("forward n2 c4 o6 i9x7 k3x2 s2 g2 bias relu float32 cpu")
    x, w, y = (2, 4, 9, 7), (6, 2, 3, 2), (2, 6, 4, 3)
    assert (spec.operand_shapes, spec.result_shape) == ((x, w), y)
    back = spec.with_task("grad_input")
    assert (back.operand_shapes, back.result_shape) == ((y, w), x)
    assert not back.bias and back.activation is None
    across = spec.with_task("grad_weight")
    assert (across.operand_shapes, across.result_shape) == ((x, y), w)


def test_large_kernel_skips_most_of_its_work() -> None:
    spec = ConvSpec.parse("forward n1 c1024 o1024 i7x7 k13x13 p6 g1024 float32 cpu")
    assert 1 - spec.executed_macs / spec.macs == pytest.approx(1 - 49 * 49 / (49 * 169))
