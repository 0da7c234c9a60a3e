"""A folder of its own for what each test keeps, and plans among pretended algorithms."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from faltung import planning, trials
from faltung.ops.conv import dispatch
from faltung.planning import Plan
from faltung.settings import using
from rivals import SPEC, Clock, Pretend


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own for what is kept, not yet there, and nothing found yet."""
    monkeypatch.setenv("FALTUNG_CACHE", str(tmp_path / "kept"))
    monkeypatch.setattr(trials, "_found", {})
    monkeypatch.setattr(planning, "_plans", {})
    for table in ("_ready", "_recent"):
        monkeypatch.setattr(dispatch, table, {})
    return tmp_path / "kept"


@pytest.fixture
def plan_with(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Plan]:
    """A plan among pretended algorithms, on one clock, as a new process would make it."""

    def make(*algorithms: Pretend, spec: Any = SPEC, **knobs: Any) -> Plan:
        clock = Clock()
        for algorithm in algorithms:
            algorithm.clock, algorithm.runs = clock, 0
        monkeypatch.setattr(trials.time, "perf_counter", clock)
        monkeypatch.setattr(trials.figures, "__defaults__", (None, clock))
        monkeypatch.setattr(planning, "_algorithms", lambda family, device: algorithms)
        monkeypatch.setattr(planning, "_plans", {})
        monkeypatch.setattr(trials, "_found", {})
        with using(**{"measure": True, **knobs}) as settings:
            return planning.plan(spec, "conv", settings)

    return make
