"""`faltung bench` from the command line, with contestants that take no time."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from faltung.tools.bench import command
from faltung.tools.bench.cases import CASES
from faltung.tools.bench.outcome import Outcome
from faltung.tools.bench.record import complaints
from faltung.tools.cli import main
from tools.bench.pretend import outcome, usual


class Pretended:
    """Stands for the timing: notes what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.wrong = ""

    def __call__(self, case: Any, effort: Any, threads: int) -> Outcome:
        self.asked.append((case.name, effort, threads, torch.get_num_threads()))
        if case.name == self.wrong:
            return outcome(case=case, complaints=("a_cpu: error of 7 budgets",))
        return usual(case)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Pretended:
    found = Pretended()
    monkeypatch.setattr(command, "outcome_of", found)
    monkeypatch.setattr(command, "makings", lambda cases: [])
    return found


def test_all_cases_and_some(bench: Pretended, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench"]) == 0
    assert [name for name, *_ in bench.asked] == [case.name for case in CASES]
    printed = capsys.readouterr().out
    assert "measured peak 100 GF/s, copying 20.0 GB/s" in printed
    assert f"losses, 0 of {len(CASES)}:\n  none" in printed
    bench.asked.clear()
    assert main(["bench", "dense", "--quick", "--threads", "2"]) == 0
    before = torch.get_num_threads()
    assert {ask[1:] for ask in bench.asked} == {(command.QUICK, 2, 2)}
    assert torch.get_num_threads() == before == 1
    assert "measured peak 200 GF/s" in capsys.readouterr().out


def test_a_red_case_is_status_1_and_no_number(
    bench: Pretended, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    bench.wrong = "vgg 3x3 64 224"
    made = tmp_path / "found.json"
    assert main(["bench", "dense", "--json", str(made)]) == 1
    printed = capsys.readouterr().out
    assert "WRONG vgg 3x3 64 224: a_cpu: error of 7 budgets" in printed
    found = json.loads(made.read_text())
    assert complaints(found) == []
    (case,) = [case for case in found["cases"] if case["name"] == bench.wrong]
    assert case["ours"] is None and case["ratio"] is None and case["everyone"] == []
    assert case["complaints"] == ["a_cpu: error of 7 budgets"]
    assert found["method"]["threads"] == 1


def test_a_busy_machine_is_mentioned(
    bench: Pretended, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for load, busy in ((900.0, True), (0.0, False)):
        monkeypatch.setattr("os.getloadavg", lambda load=load: (load,) * 3)
        assert main(["bench", "image"]) == 0
        assert ("this machine is busy" in capsys.readouterr().out) is busy


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("bench nothing", "'nothing' is no family"),
        ("bench dense --threads 0", "--threads must be at least 1, got 0"),
        ("bench grad_weight n1 c2 o2 i9 k3 float32 cpu", "bench times forward and grad_input"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    bench: Pretended, capsys: pytest.CaptureFixture[str], line: str, message: str
) -> None:
    assert main(line.split()) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("faltung: ") and message in printed.err
    assert printed.err.count("\n") == 1
    assert bench.asked == []


def test_a_machine_that_cannot_be_measured(
    bench: Pretended, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(threads: int) -> None:
        raise RuntimeError("routines need fused multiply-add")

    monkeypatch.setattr("faltung.measure.measure", refuse)
    assert main(["bench"]) == 2
    assert "cannot be measured: routines need fused" in capsys.readouterr().err


def test_a_real_small_case(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    problem = "forward n1 c4 o4 i6x6 k3x3 g4 float32 cpu"
    assert main(["bench", problem, "--quick", "--json", str(tmp_path)]) == 0
    assert "losses, " in capsys.readouterr().out
    (path,) = tmp_path.rglob("*.json")
    found = json.loads(path.read_text())
    assert complaints(found) == []
    (case,) = found["cases"]
    assert case["problem"] == problem and case["ours"]["seconds"] > 0
    assert {e["who"] for e in case["everyone"]} >= {"PyTorch", "depthwise_cpu"}
    assert all(len(e["rounds"]) == 3 for e in case["everyone"])
