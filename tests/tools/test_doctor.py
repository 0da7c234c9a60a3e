"""`faltung doctor` on how fast the machine is: on paper and measured."""

import json

import pytest

from faltung.machine import this_machine
from faltung.tools.cli import main


def test_nominal_and_measured_figures(capsys: pytest.CaptureFixture[str]) -> None:
    cores = this_machine().cores
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["nominal"] == vars(this_machine().nominal)
    assert found["measured"].keys() == {"1", str(cores)}
    assert found["measured"]["1"] == {"peak": 1e11, "bandwidth": 2e10}
    assert main(["doctor"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "measured, 1 thread 100 GF/s float32, copying 20.0 GB/s" in lines
    assert any(line.startswith("nominal ") for line in lines)


def test_a_machine_that_cannot_be_measured_is_healthy(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(threads: int) -> None:
        raise RuntimeError("routines need fused multiply-add")

    monkeypatch.setattr("faltung.measure.measure", refuse)
    assert main(["doctor"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "measured not: routines need fused multiply-add" in out
    assert main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["measured"] == {}
