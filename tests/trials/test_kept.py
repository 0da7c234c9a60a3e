"""What was measured once: for whom it is remembered, for whom not, and never an error."""

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from faltung import planning, trials
from faltung.machine import Machine
from faltung.ops.conv.spec import ConvSpec
from faltung.planning import Plan
from faltung.settings import using
from rivals import SPEC, Pretend, rivals, runs


def test_a_later_process_plans_at_once(plan_with: Callable[..., Plan], folder: Path) -> None:
    first, again = rivals(), rivals()
    plan_with(*first)
    plan = plan_with(*again)
    assert runs(first) > 0 and runs(again) == 0
    assert plan.algorithm == "modest_torch"
    assert [c.measured for c in plan.candidates] == pytest.approx([2e-4, 3e-4])
    assert [path.name for path in folder.iterdir()] == ["trials.json"]
    assert folder.stat().st_mode & 0o777 == 0o700


def test_who_does_not_measure_does_not_know(
    plan_with: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan_with(*rivals())
    monkeypatch.setattr(trials, "figures", lambda *_: 1 / 0)
    assert plan_with(*rivals(), measure=False).algorithm == "hopeful_cpu"


@pytest.mark.parametrize("what", ["threads", "computer", "sources", "torch"])
def test_figures_hold_for_nothing_else(
    plan_with: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    plan_with(*rivals())
    with monkeypatch.context() as change:
        if what == "threads":
            change.setattr(trials, "threads", lambda: 97)
        elif what == "computer":
            change.setattr(Machine, "kind", "another")
        elif what == "sources":
            change.setattr(trials, "_sources", lambda: "others")
        else:
            change.setattr(torch, "__version__", "9.9")
        other = rivals()
        plan_with(*other)
        assert runs(other) > 0
    again = rivals()
    plan_with(*again)  # and those of before are still there
    assert runs(again) == 0


def test_a_new_algorithm_makes_a_new_race(plan_with: Callable[..., Plan]) -> None:
    plan_with(*rivals())
    more = [*rivals(), Pretend("new_cpu", 1.5e-4)]
    assert plan_with(*more).algorithm == "new_cpu" and all(a.runs for a in more)
    fewer = more[:2]
    assert plan_with(*fewer).algorithm == "modest_torch" and runs(fewer) == 0


def test_who_was_not_run_is_run_where_nobody_is_so_much_faster(
    plan_with: Callable[..., Plan],
) -> None:
    fast, slow, slower = (
        Pretend(f"{n}_cpu", s) for n, s in (("a", 1e-4), ("b", 2e-3), ("c", 3e-3))
    )
    plan_with(fast, slow, slower)
    plan_with(fast, slow, slower)
    assert runs([fast, slow, slower]) == 0
    plan_with(slow, slower)  # as under settings that leave the fast one out
    assert slow.runs and slower.runs


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "7", "null", "\x00\xff", "[" * 100_000, '{"WHERE": 3}',
     '{"WHERE": {"NAME": 3}}',
     '{"WHERE": {"NAME": {}}}', '{"WHERE": {"NAME": {"hopeful_cpu": 1e-9}}}',
     '{"WHERE": {"NAME": {"hopeful_cpu": "x", "modest_torch": 1e-9}}}',
     '{"WHERE": {"NAME": {"hopeful_cpu": NaN, "modest_torch": 1e-9}}}',
     '{"WHERE": {"NAME": {"hopeful_cpu": -1.0, "modest_torch": 1e-9}}}',
     '{"WHERE": {"NAME": {"hopeful_cpu": true, "modest_torch": 1e-9}}}',
     '{"WHERE": {"NAME": {"hopeful_cpu": null, "modest_torch": null}}}',
     '{"WHERE": {"NAME": {"hopeful_cpu": null, "modest_torch": 1e-3}}}'],
)  # fmt: skip
def test_a_broken_file_is_no_file(plan_with: Callable[..., Plan], folder: Path, text: str) -> None:
    plan_with(*rivals())
    ((where, table),) = json.loads((folder / "trials.json").read_text()).items()
    (name,) = table
    text = text.replace('"WHERE"', json.dumps(where)).replace('"NAME"', json.dumps(name))
    (folder / "trials.json").write_text(text, "latin-1")
    other, again = rivals(), rivals()
    assert plan_with(*other).algorithm == "modest_torch" and runs(other) > 0
    assert plan_with(*again).algorithm == "modest_torch" and runs(again) == 0


def test_where_nothing_can_be_kept_all_is_measured(
    plan_with: Callable[..., Plan], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write_text("a file where the folder should be")
    for _ in range(2):
        assert plan_with(*rivals()).algorithm == "modest_torch"
    monkeypatch.setenv("FALTUNG_CACHE", "")
    assert plan_with(*rivals()).algorithm == "modest_torch"
    assert trials.trials_file() is None
    trials.forget()


def test_an_unfinished_file_is_removed(
    plan_with: Callable[..., Plan], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Any, target: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert plan_with(*rivals()).algorithm == "modest_torch"
    assert list(folder.iterdir()) == []


def test_what_others_have_kept_meanwhile_stays(
    plan_with: Callable[..., Plan], folder: Path
) -> None:
    plan_with(*rivals())
    table = json.loads((folder / "trials.json").read_text())
    (section,) = table.values()
    section["conv another spec"] = {"x_cpu": 1e-3}
    table["another computer"] = {"conv third": {"x_cpu": 2e-3}}
    (folder / "trials.json").write_text(json.dumps(table))
    plan_with(*rivals(), spec=ConvSpec.parse("forward n1 c1 o1 i9 k3 float32 cpu"))
    found = json.loads((folder / "trials.json").read_text())
    assert found["another computer"] == table.pop("another computer")
    ((where, section),) = table.items()
    assert found[where].items() >= section.items() and len(found[where]) == 3


def test_the_file_stays_small(
    plan_with: Callable[..., Plan], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "_MOST_FIGURES", 6)
    specs = [ConvSpec.parse(f"forward n1 c1 o1 i{n} k3 float32 cpu") for n in range(5, 15)]
    for n, spec in enumerate(specs):
        with monkeypatch.context() as change:
            change.setattr(trials, "_sources", lambda n=n: "old" if n < 3 else "new")
            plan_with(*rivals(), spec=spec)
    (section,) = json.loads((folder / "trials.json").read_text()).values()
    assert list(section) == [f"conv {spec}" for spec in specs[-6:]]


def test_forgetting(plan_with: Callable[..., Plan], folder: Path) -> None:
    plan_with(*rivals())
    trials.forget()
    assert list(folder.iterdir()) == []
    again = rivals()
    plan_with(*again)
    assert runs(again) > 0


def test_another_number_of_threads_is_another_plan(
    plan_with: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    algorithms = rivals()
    one = plan_with(*algorithms)
    with using(measure=True) as settings:
        assert planning.plan(SPEC, "conv", settings) is one
        monkeypatch.setattr(trials, "threads", lambda: 97)
        many = planning.plan(SPEC, "conv", settings)
    assert many.threads == 97 and "on 97 threads" in str(many)


def test_a_forked_child_does_not_wait_for_a_thread_that_it_has_not(
    plan_with: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "_lock", threading.RLock())
    held = threading.Thread(target=trials._lock.acquire)
    held.start()
    held.join()
    trials._after_fork()
    planned: list[str] = []
    child = threading.Thread(target=lambda: planned.append(plan_with(*rivals()).algorithm))
    child.start()
    child.join(10)
    assert planned == ["modest_torch"]
