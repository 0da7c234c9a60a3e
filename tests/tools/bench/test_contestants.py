"""Who takes part, that each computes the case, and that a missing peer is said to be missing."""

import sys
from collections.abc import Iterator

import pytest
import torch

from faltung import planning
from faltung.ops.conv.spec import ConvSpec
from faltung.planning import usage
from faltung.tools.bench import contestants as module
from faltung.tools.bench.contestants import (
    NO_ONNX_RUNTIME,
    Contestant,
    contestants,
    has_onnx_runtime,
)
from faltung.tools.bench.outcome import complaint
from faltung.tools.bench.truth import Operands, budget_of
from faltung.tools.verification.convolution import able

PROBLEMS = [
    "forward n1 c8 o8 i9x10 k3x3 s2x1 p1 d1x2 g8 float32 cpu",
    "forward n2 c8 o12 i9x10 k3x5 p1x2 g4 bias float32 cpu",
    "forward n1 c4 o6 i9x8 k3x2 p1+2x0+1 float32 cpu",
    "forward n1 c3 o5 i5x6x7 k3x2x3 s1x2x1 p1x0x1 float32 cpu",
    "forward n1 c4 o4 i40 k4 p3 g4 float32 cpu",
    "grad_input n1 c4 o6 i9x10 k4x3 s2 p1 g2 bias float32 cpu",
    "grad_input n1 c6 o4 i17 k4 s3 p1 float32 cpu",
    "grad_input n1 c4 o4 i7x8x9 k3x3x3 s2x1x2 p1 g4 float32 cpu",
    "forward n2 c12 o20 i9x10 k1x1 relu residual float32 cpu",
    "forward n1 c6 o4 i9x8 k3x2 p1+2x0+1 bias relu residual float32 cpu",
    "forward n1 c4 o4 i21 k3 p1 residual float32 cpu",
    "grad_input n1 c6 o4 i9x7 k3x3 s2 p1 bias relu residual float32 cpu",
]


@pytest.fixture
def without_onnx_runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def find_spec(name: str) -> object:
        return None if name == "onnxruntime" else object()

    has_onnx_runtime.cache_clear()
    monkeypatch.setattr(module.util, "find_spec", find_spec)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    yield
    has_onnx_runtime.cache_clear()


def everyone(problem: str) -> tuple[list[Contestant], list[str]]:
    spec = ConvSpec.parse(problem)
    return contestants(spec, Operands.of(spec), threads=1)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_everyone_computes_the_case(problem: str) -> None:
    spec = ConvSpec.parse(problem)
    budget = budget_of(spec, Operands.of(spec))
    found, _ = everyone(problem)
    names = [one.name for one in found]
    assert len(set(names)) == len(names)
    layouts = {"contiguous", "channels_last"} if spec.dims > 1 else {"contiguous"}
    assert {one.layout for one in found if one.planned} == layouts
    assert {one.layout for one in found if one.who == "PyTorch"} == layouts
    assert ("ONNX Runtime" in {one.who for one in found}) == has_onnx_runtime()
    for one in found:
        assert complaint(one, budget) == "", one.name


def test_each_of_our_algorithms_takes_part_once() -> None:
    spec = ConvSpec.parse(PROBLEMS[0])
    found, _ = everyone(PROBLEMS[0])
    ours = [one for one in found if one.layout == "contiguous" and not one.is_peer]
    able_ones = {algorithm.name for algorithm in able(spec)}
    assert {one.who for one in ours} | {"native_torch"} == able_ones
    assert len(able_ones) > 1
    assert [one.planned for one in ours] == [True] + [False] * (len(ours) - 1)
    for one in ours:
        before = usage()
        one.run()
        assert usage() - before == {one.algorithm: 1}


def test_pytorch_runs_as_a_fallback_only_where_the_planner_says_so() -> None:
    found, _ = everyone(PROBLEMS[6])
    chosen = planning.plan(
        ConvSpec.parse(PROBLEMS[6]), "conv", planning.Settings()
    ).algorithm  # fmt: skip
    assert [one.who for one in found if one.planned] == [chosen]


def test_channels_last_means_the_image_and_the_weight() -> None:
    seen = {}

    class Spy(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            if func is torch.conv2d:
                seen[layout] = [t.is_contiguous() for t in args[:2]]
            return func(*args, **(kwargs or {}))

    found, _ = everyone("forward n1 c8 o8 i9x10 k3x3 float32 cpu")
    for one in found:
        if one.who == "PyTorch":
            layout = one.layout
            with Spy():
                one.run()
    assert seen == {"contiguous": [True, True], "channels_last": [False, False]}


def test_a_residual_lies_as_the_images_of_its_contestant_do() -> None:
    seen = {}
    for one in everyone("forward n1 c8 o8 i9x10 k1x1 relu residual float32 cpu")[0]:
        if one.who == "PyTorch":
            y, again = one.run(), one.run()
            assert y.data_ptr() != again.data_ptr() and torch.equal(y, again)
            seen[one.layout] = y.is_contiguous()
        elif one.planned:
            seen[f"ours, {one.layout}"] = one.run().is_contiguous()
    assert seen == {
        "contiguous": True, "channels_last": False,
        "ours, contiguous": True, "ours, channels_last": False,
    }  # fmt: skip


def test_an_image_that_lies_one_way_only_is_ours_once() -> None:
    found, _ = everyone("forward n1 c1 o2 i9x10 k3x3 float32 cpu")
    assert [one.layout for one in found if one.planned] == ["contiguous"]
    assert len([one for one in found if one.who == "PyTorch"]) == 2


@pytest.mark.usefixtures("without_onnx_runtime")
def test_onnx_runtime_is_missed_aloud() -> None:
    found, notes = everyone(PROBLEMS[0])
    assert notes == [NO_ONNX_RUNTIME]
    assert "pip install 'faltung[bench]'" in NO_ONNX_RUNTIME
    assert {one.who for one in found if one.is_peer} == {"PyTorch"}


@pytest.mark.skipif(not has_onnx_runtime(), reason="the extra `bench` is not installed")
def test_onnx_runtime_does_float32_and_says_what_it_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    _, notes = everyone("forward n1 c2 o2 i9 k3 float64 cpu")
    assert notes == ["ONNX Runtime is not compared: the graph is float32, not float64"]

    def refuse(*given: object) -> None:
        raise ValueError("no such\n operator")

    monkeypatch.setattr(module, "_by_onnx", refuse)
    found, notes = everyone(PROBLEMS[0])
    assert notes == ["ONNX Runtime is not compared: no such operator"]
    assert "ONNX Runtime" not in {one.who for one in found}


@pytest.mark.skipif(not has_onnx_runtime(), reason="the extra `bench` is not installed")
def test_onnx_runtime_is_told_how_to_behave(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    asked = []
    real = onnxruntime.InferenceSession

    def session(model: bytes, options: object, **rest: object) -> object:
        asked.append(options)
        return real(model, options, **rest)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    spec = ConvSpec.parse(PROBLEMS[0])
    contestants(spec, Operands.of(spec), threads=3)
    (options,) = asked
    assert options.intra_op_num_threads == 3
    assert options.get_session_config_entry("session.force_spinning_stop") == "1"
