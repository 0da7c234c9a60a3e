"""Results as files: what they hold, that wrong ones are noticed, and where they go."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import faltung
from faltung.errors import ArgumentError
from faltung.tools.bench import record
from faltung.tools.bench.overhead import Making
from faltung.tools.bench.record import Run, complaints, facts, machine_name, write
from tools.bench.pretend import CASE, MACHINE, RATES, contestant, ours, outcome, usual

METHOD = {"rounds": 15, "pause": 0.01, "turn": 0.002, "limit": 20.0}
DATE = "2026-01-31T12:00:00+00:00"


def run(*outcomes: Any) -> Run:
    made = [Making("depthwise_cpu", CASE, 0.04, 0.001)]
    return Run(MACHINE, RATES, 2, METHOD, DATE, outcomes or (usual(),), made)


def test_a_case_is_recorded_whole() -> None:
    found = facts(run())
    assert (found["version"], found["date"]) == (faltung.__version__, DATE)
    assert found["rates"] == {"peak": 1e9, "bandwidth": 1e8}
    assert found["method"] == {"threads": 2, **METHOD}
    assert found["geometric_means"] == {"depthwise": pytest.approx(1.25)}
    assert found["software"].keys() == {"python", "torch", "onnxruntime", "llvmlite", "numpy"}
    (case,) = found["cases"]
    assert (case["name"], case["problem"]) == (CASE.name, CASE.problem)
    assert case["ours"]["algorithm"] == "depthwise_cpu" and case["ours"]["seconds"] == 4e-3
    assert case["best_peer"] == {"who": "PyTorch", "layout": "channels_last", "seconds": 5e-3}
    assert case["ratio"] == 1.25
    assert [e["median"] for e in case["everyone"]] == [4e-3, 5e-3, 6e-3, 9e-3, 5e-3, 7e-3]
    assert case["everyone"][0]["rounds"] == [4e-3] * 3
    assert found["routines"][0]["compile_seconds"] == 0.04


@pytest.mark.parametrize(
    "outcomes",
    [
        (usual(),),
        (outcome(complaints=("a_cpu is off",)),),
        (outcome((ours("a_cpu"), 1.0), notes=("no peers",)),),
        (outcome((contestant("PyTorch"), 1.0)), usual()),
    ],
)
def test_what_is_written_fits_the_schema(tmp_path: Path, outcomes: Any) -> None:
    path = write(run(*outcomes), tmp_path / "found.json")
    assert complaints(json.loads(path.read_text())) == []


def changed(*path: Any, to: Any = None) -> Any:
    found = json.loads(json.dumps(facts(run())))
    place = found
    for step in path[:-1]:
        place = place[step]
    if to is KeyError:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return found


@pytest.mark.parametrize(
    ("path", "to", "complaint"),
    [
        (("version",), KeyError, "version is missing"),
        (("extra",), 1, "extra is not known"),
        (("schema",), "1", "schema is '1', not int"),
        (("schema",), True, "schema is True, not int"),
        (("machine", "cores"), None, "machine.cores is None, not int"),
        (("machine", "load"), 3, "machine.load is no list"),
        (("software", "torch"), 2.13, "software.torch is 2.13, not str | None"),
        (("rates",), [], "rates is no dictionary"),
        (("cases",), {}, "cases is no list"),
        (("cases", 0, "ratio"), "1.25", "cases[0].ratio is '1.25', not int | float | None"),
        (("cases", 0, "ours", "seconds"), KeyError, "cases[0].ours.seconds is missing"),
        (("cases", 0, "everyone", 1, "rounds", 2), "x",
         "cases[0].everyone[1].rounds[2] is 'x', not int | float"),
        (("geometric_means", "dense"), None, "geometric_means.dense is None, not int | float"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said(path: Any, to: Any, complaint: str) -> None:
    assert complaints(changed(*path, to=to)) == [complaint]


def test_a_folder_gets_a_file_per_version_and_machine(tmp_path: Path) -> None:
    path = write(run(), tmp_path)
    name = "some-processor-2-cores-256-bits"
    assert path == tmp_path / faltung.__version__ / f"{name}.json"
    assert json.loads(path.read_text())["machine"]["name"] == name
    odd = replace(MACHINE, processor="Intel(R) Xeon(R) CPU @ 2.20GHz / ü")
    assert machine_name(odd) == "intel-xeon-cpu-2-20ghz-2-cores-256-bits"


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArgumentError, match=r"--json .* cannot be written: "):
        write(run(), tmp_path / "file" / "found.json")


def test_the_commit_is_known_only_in_a_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"ls-files": "", "rev-parse": "abc1234\n", "status": ""}

    def git(command: list[str], **rest: Any) -> Any:
        return subprocess.CompletedProcess(command, 0, stdout=answers[command[3]])

    monkeypatch.setattr(record.subprocess, "run", git)
    assert record.commit() == "abc1234"
    answers["status"] = " M src/faltung/planning.py\n"
    assert record.commit() == "abc1234+"

    def not_ours(command: list[str], **rest: Any) -> Any:
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(record.subprocess, "run", not_ours)
    assert record.commit() is None

    def no_git(command: list[str], **rest: Any) -> Any:
        raise FileNotFoundError("git")

    monkeypatch.setattr(record.subprocess, "run", no_git)
    assert record.commit() is None
