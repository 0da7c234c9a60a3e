"""`faltung bench --planner`: which layers, what a regret is, and what is said about it."""

import json
from pathlib import Path

import pytest

from faltung.tools.bench import command, planner
from faltung.tools.bench.cases import CASES, Case
from faltung.tools.bench.planner import Judged
from faltung.tools.cli import main

GOOD = Judged("one", "p", {"a_cpu": 1e-6, "b_cpu": 2e-6}, {"a_cpu": 1.05e-5, "b_cpu": 1e-5})
BAD = Judged("two", "q", {"a_cpu": 1e-6, "c_cpu": 2e-6}, {"a_cpu": 4e-5, "c_cpu": 1e-5})
UNRUN = Judged("three", "r", {"a_cpu": 1e-6, "d_cpu": 9.0}, {"a_cpu": 1e-5, "d_cpu": None})


def test_the_regret_is_of_the_choice_against_the_best() -> None:
    assert (GOOD.chosen, GOOD.best) == ("a_cpu", "b_cpu")
    assert GOOD.regret == pytest.approx(1.05)
    assert BAD.regret == pytest.approx(4.0)
    assert (UNRUN.best, UNRUN.regret) == ("a_cpu", 1.0)


def test_the_summary_counts_and_averages() -> None:
    assert planner.summary([GOOD, BAD]) == (
        "within 10% of the fastest on 1 of 2 layers (50%); regret 2.049 on geometric average, "
        "4.00 at worst"
    )


def test_more_than_a_hundred_real_layers_are_judged() -> None:
    names = [name for name, _ in planner.layers(CASES)]
    assert len(names) == len(set(names)) > 100


def test_layouts_that_are_the_same_are_judged_once() -> None:
    cases = [
        Case("image", "grey", "forward n1 c1 o1 i9x9 k3x3 float32 cpu", ""),
        Case("1-d", "signal", "forward n1 c4 o4 i9 k3 float32 cpu", ""),
        Case("dense", "colour", "forward n1 c3 o4 i9x9 k3x3 float32 cpu", ""),
    ]
    assert [(name, spec.layout) for name, spec in planner.layers(cases)] == [
        ("grey", "contiguous"), ("signal", "contiguous"), ("colour", "contiguous"),
        ("colour, channels-last", "channels_last"),
    ]  # fmt: skip


def test_a_layer_is_planned_and_every_candidate_is_run() -> None:
    ((name, spec),) = planner.layers(
        [Case("depthwise", "small", "forward n1 c4 o4 i12 k3 g4 float32 cpu", "")]
    )
    found = planner.judged(name, spec)
    assert {"native_torch", "depthwise_cpu"} <= set(found.measured) == set(found.estimates)
    assert all(seconds is not None and seconds > 0 for seconds in found.measured.values())
    assert found.regret >= 1
    assert list(found.estimates.values()) == sorted(found.estimates.values())


def test_the_command_prints_a_row_a_layer_and_writes_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = {"sobel": GOOD, "sobel, channels-last": BAD}
    monkeypatch.setattr(planner, "judged", lambda name, spec: found[name.split(" 3x3")[0]])
    monkeypatch.setattr(
        command, "selected",
        lambda words: [Case("image", "sobel 3x3", "forward n1 c1 o1 i9x9 k3x3 float32 cpu", "")],
    )  # fmt: skip
    target = tmp_path / "planner.json"
    assert main(["bench", "sobel", "--planner", "--threads", "1", "--json", str(target)]) == 0
    printed = capsys.readouterr().out
    assert "threads: 1, 1 layers" in printed
    assert "within 10% of the fastest on 1 of 1 layers (100%)" in printed
    (layer,) = json.loads(target.read_text())["layers"]
    assert layer["regret"] == pytest.approx(1.05)
    assert layer["measured"] == GOOD.measured
