"""What all routines refuse, in the words that people read."""

import pytest

from faltung import planning
from faltung.ops.conv import refusals as module
from faltung.ops.conv.refusals import depthwise_refusals, refusals, weight_refusals
from faltung.ops.conv.spec import ConvSpec


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("i5x5 k3x3 int64", "needs one of float32, float64, bfloat16, float16, has int64"),
        ("i5x5 k3x3 strided float32", "needs a contiguous or channels-last image, has strided"),
        ("i5x5 k3x3 p1 reflect float32", "pads with zeros only, not reflect"),
    ],
)
def test_each_reason_has_its_numbers(text: str, reason: str) -> None:
    spec = ConvSpec.parse(f"forward n1 c2 o2 {text} cpu")
    assert refusals(spec, ["contiguous", "channels_last"]) == [reason]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("n1 c2 i5x5 k3x3 int64", "needs one of float32, float64, bfloat16, float16, has int64"),
        ("n1 c2 i5x5 k3x3 p1 reflect float32", "pads with zeros only, not reflect"),
        ("n1 c0 i5x5 k3x3 float32", "needs something to sum up, has x of (1, 0, 5, 5)"),
    ],
)
def test_what_no_gradient_of_weights_does(text: str, reason: str) -> None:
    batch, channels, *rest = text.split()
    spec = ConvSpec.parse(" ".join(["grad_weight", batch, channels, "o2", *rest, "cpu"]))
    assert weight_refusals(spec) == [reason]
    some = ConvSpec.parse("grad_weight n1 c2 o2 i5x5 k3x3 p1 channels_last bfloat16 cpu")
    assert weight_refusals(some) == []


def test_what_can_be_done_is_not_refused() -> None:
    for text in (
        "i5x5 k3x3 p1 float32",
        "i5x5x5 k3x3x3 channels_last bfloat16",
        "i5x5 k3x3 reflect float32",
    ):
        spec = ConvSpec.parse(f"forward n1 c2 o2 {text} cpu")
        assert refusals(spec, ["contiguous", "channels_last"]) == []


@pytest.mark.parametrize("task", ["forward", "grad_input", "grad_weight"])
def test_signals_are_never_channels_last(task: str) -> None:
    spec = ConvSpec.parse(f"{task} n1 c2 o2 i5 k3 g2 channels_last float32 cpu")
    for algorithm in planning.algorithms("conv", "cpu"):
        if algorithm.name.endswith("_cpu") and task in algorithm.tasks:
            assert algorithm.unsupported(spec), algorithm.name


def test_one_layout_may_be_all_that_is_wanted() -> None:
    spec = ConvSpec.parse("forward n1 c2 o2 i5x5 k3x3 channels_last float32 cpu")
    assert refusals(spec, ["contiguous"]) == ["needs a contiguous image, has channels_last"]


def test_without_a_compiler_nothing_can_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "unavailable", lambda: "needs llvmlite")
    spec = ConvSpec.parse("forward n1 c2 o2 i5x5 k3x3 float32 cpu")
    assert refusals(spec, ["contiguous"]) == ["needs llvmlite"]


def test_depthwise_is_one_group_and_one_output_a_channel() -> None:
    assert depthwise_refusals(ConvSpec.parse("forward n1 c4 o4 i5 k3 g4 float32 cpu")) == []
    wide = ConvSpec.parse("forward n1 c4 o8 i5 k3 g4 float32 cpu")
    assert depthwise_refusals(wide) == [
        "needs one group and one output per channel, has 4 groups, 4 channels and 8 outputs"
    ]
