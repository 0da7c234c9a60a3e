"""The layers that are timed, and how they are asked for."""

import pytest

from faltung.errors import ArgumentError
from faltung.ops.conv.spec import ConvSpec
from faltung.tools.bench.cases import CASES, FAMILIES, selected
from faltung.tools.demo.layers import LAYERS


def test_every_case_is_a_layer_with_a_name_of_its_own() -> None:
    assert len({case.name for case in CASES}) == len({case.problem for case in CASES}) == len(CASES)
    assert {case.family for case in CASES} == set(FAMILIES)
    for case in CASES:
        assert str(case.spec) == case.problem
        assert case.network
        assert (case.spec.batch, case.spec.dtype, case.spec.bias) == (1, "float32", False)
        assert len(case.name) <= 32  # what a table's first column has room for


def test_families_hold_what_they_say() -> None:
    for case in CASES:
        spec = case.spec
        assert (spec.task == "grad_input") == (case.family == "transposed")
        if case.family == "depthwise":
            assert spec.groups == spec.in_channels == spec.out_channels > 1
        if case.family == "dense":
            assert spec.groups == 1 and spec.in_channels > 8
        assert spec.activation is None or spec.residual
        assert spec.residual == case.name.endswith("residual")
        if case.family == "1-d":
            assert spec.dims == 1
        if case.family == "grouped":
            assert spec.groups > 1 or spec.in_channels <= 3
    for family in ("depthwise", "grouped"):
        assert sum(case.family == family for case in CASES) >= 14
    assert {c.spec.activation for c in CASES if c.spec.residual} == {None, "relu"}


def test_the_layers_of_the_demo_that_are_not_made_smaller_are_timed_too() -> None:
    timed = {case.problem for case in CASES}
    for layer in LAYERS:
        if not layer.reduced and "Mamba" not in layer.name:
            assert str(layer.spec) in timed, layer.name


def test_asking_for_cases() -> None:
    assert selected([]) == selected([""]) == list(CASES)
    assert {case.family for case in selected(["dense"])} == {"dense"}
    assert [case.name for case in selected(["DW13x13"])] == ["replknet dw13x13 1024 7"]
    assert [c.name for c in selected(["resnet", "stem"])] == ["resnet stem 7x7s2"]
    problem = "grad_input n2 c4 o6 i9x8 k3x3 s2 bias float64 cpu"
    for words in (problem.split(), [problem]):
        (case,) = selected(words)
        assert (case.family, case.spec) == ("problem", ConvSpec.parse(problem))


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        ("resnet19", "'resnet19' is no family (depthwise, grouped, image, 1-d, dense, transposed,"),
        ("forward n1 c4", "does not say"),
        ("grad_weight n1 c2 o2 i9 k3 float32 cpu", "bench times forward and grad_input"),
        ("forward n1 c2 o2 i9 k3 float32 cuda", "bench times the CPU"),
        ("forward n1 c2 o2 i9 k3 p1 reflect float32 cpu", "bench times zero padding"),
        ("forward n1 c2 o2 i9 k3 relu float32 cpu", "no activation but relu, behind a residual"),
        ("forward n1 c2 o2 i9 k3 elu residual float32 cpu", "no activation but relu, behind a"),
        (
            "forward n1 c2 o2 i9 k3 residual residual_apart float32 cpu",
            "a residual that lies as the result does",
        ),
        ("forward n1 c2 o2 i9x9 k3x3 channels_last float32 cpu", "every memory layout by itself"),
        ("forward n1 c2 o2 i9 k3 y3 float32 cpu", "outputs of the formula's size"),
        ("grad_input n1 c2 o2 i9 k3 p1+0 float32 cpu", "transposed with equal padding"),
        ("forward n1 c2 o2 i9 k3 bfloat16 cpu", "float32 and float64, not forward n1 c2 o2 i9"),
    ],
)
def test_what_is_not_timed_is_said(problem: str, message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        _ = [case.spec for case in selected(problem.split())]
    assert message in str(caught.value)
