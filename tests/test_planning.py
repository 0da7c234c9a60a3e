"""The planner: the fastest that can, the reasons of the rest, and the errors when nobody can."""

from collections.abc import Iterator
from typing import Any

import pytest

import faltung
from faltung import planning
from faltung.errors import ArgumentError
from faltung.machine import Machine, this_machine
from faltung.ops.conv.spec import ConvSpec
from faltung.planning import Algorithm, NoAlgorithmError, Plan, Run, readable_bytes
from faltung.settings import current, for_changing_weight, using

SPEC = ConvSpec.parse("forward n1 c2 o2 i9x9 k3x3 float32 cpu")


class Pretend(Algorithm):
    """An algorithm with the properties a test needs."""

    tasks = frozenset({"forward"})

    def __init__(self, name: str, seconds: float, **properties: Any) -> None:
        self._name, self._seconds = name, seconds
        self._workspace = properties.pop("workspace", 0)
        self._reasons = properties.pop("reasons", [])
        self.__dict__.update(properties)

    @property
    def name(self) -> str:
        return self._name

    def unsupported(self, spec: ConvSpec) -> list[str]:
        return list(self._reasons)

    def seconds(self, spec: ConvSpec, machine: Machine) -> float:
        return self._seconds

    def workspace(self, spec: ConvSpec) -> int:
        return self._workspace

    def build(self, spec: ConvSpec) -> Run:
        return lambda *operands: (self._name, *operands)


SLOW = Pretend("slow_torch", 1e-3)
FAST = Pretend("fast_cpu", 1e-5, workspace=3_000_000)
ROUGH = Pretend("rough_cpu", 1e-6, error_factor=4.0)
MOODY = Pretend("moody_cpu", 1e-6, deterministic=False)
NARROW = Pretend(
    "narrow_cpu", 1e-9, reasons=["needs stride 2, has (1, 1)", "needs 8 channels, has 2"]
)
BACKWARD = Pretend("backward_cpu", 1e-9, tasks=frozenset({"grad_input"}))


@pytest.fixture
def plan_with(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    def make(*algorithms: Algorithm) -> Plan:
        monkeypatch.setattr(planning, "_algorithms", lambda family, device: algorithms)
        monkeypatch.setattr(planning, "_plans", {})
        return planning.plan(SPEC, "conv", current())

    yield make


def test_the_fastest_that_can(plan_with: Any) -> None:
    plan = plan_with(SLOW, FAST, NARROW)
    assert plan.algorithm == "fast_cpu"
    assert [c.name for c in plan.candidates] == ["fast_cpu", "slow_torch"]
    assert plan.rejected == {
        "narrow_cpu": ["needs stride 2, has (1, 1)", "needs 8 channels, has 2"]
    }
    assert plan.workspace == 3_000_000
    assert plan(1, 2) == ("fast_cpu", 1, 2)


def test_ties_break_by_name(plan_with: Any) -> None:
    assert plan_with(Pretend("b_cpu", 1.0), Pretend("a_cpu", 1.0)).algorithm == "a_cpu"


def test_prints_itself(plan_with: Any) -> None:
    assert str(plan_with(SLOW, FAST, NARROW)) == (
        "forward n1 c2 o2 i9x9 k3x3 float32 cpu\n"
        "  chosen: fast_cpu\n"
        "  fast_cpu         10.0 us (estimate)  workspace 3.0 MB\n"
        "  slow_torch     1000.0 us (estimate)  workspace 0 B\n"
        "  narrow_cpu          -     needs stride 2, has (1, 1); needs 8 channels, has 2"
    )


def test_settings_reject_with_their_reason(plan_with: Any) -> None:
    with using(memory_limit=1_000_000):
        plan = plan_with(SLOW, FAST)
        assert plan.algorithm == "slow_torch"
        assert plan.rejected["fast_cpu"] == ["needs 3.0 MB of workspace, memory_limit is 1.0 MB"]
    assert plan_with(SLOW, ROUGH).algorithm == "rough_cpu"
    with using(accuracy="exact"):
        plan = plan_with(SLOW, ROUGH)
        assert plan.rejected["rough_cpu"] == ["rounds 4 times as much as a direct sum"]
    assert plan_with(SLOW, MOODY).rejected["moody_cpu"] == ["is not deterministic"]
    with using(deterministic=False):
        assert plan_with(SLOW, MOODY).algorithm == "moody_cpu"
    assert plan_with(SLOW, BACKWARD).rejected["backward_cpu"] == ["does grad_input, not forward"]


def test_an_algorithm_by_name(plan_with: Any) -> None:
    with using(algorithm="slow_torch"):
        plan = plan_with(SLOW, FAST)
        assert plan.algorithm == "slow_torch"
        assert plan.rejected["fast_cpu"] == ["algorithm='slow_torch' was asked for"]
    with (
        using(algorithm="quick"),
        pytest.raises(
            ArgumentError,
            match="algorithm='quick' is none of the algorithms of conv on cpu: slow_torch",
        ),
    ):
        plan_with(SLOW)
    with using(algorithm="narrow_cpu"), pytest.raises(NoAlgorithmError, match="needs 8 channels"):
        plan_with(SLOW, NARROW)


def test_nobody_can(plan_with: Any) -> None:
    with pytest.raises(NoAlgorithmError) as caught:
        plan_with(NARROW, BACKWARD)
    assert str(caught.value) == (
        "no algorithm of conv can do\n"
        "  forward n1 c2 o2 i9x9 k3x3 float32 cpu\n"
        "because\n"
        "  narrow_cpu: needs stride 2, has (1, 1); needs 8 channels, has 2\n"
        "  backward_cpu: does grad_input, not forward"
    )


def test_plans_are_remembered_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "_algorithms", lambda family, device: (SLOW,))
    monkeypatch.setattr(planning, "_plans", {})
    before = planning.usage()
    monkeypatch.setattr(planning, "_MOST_PLANS", 8)
    assert planning.plan(SPEC, "conv", current()) is planning.plan(SPEC, "conv", current())
    for size in range(3, 40):
        spec = ConvSpec.parse(f"forward n1 c1 o1 i{size} k3 float32 cpu")
        planning.plan(spec, "conv", current())(0)
    assert len(planning._plans) <= 8
    assert planning.usage() - before == {"slow_torch": 37}  # what was dropped still counts


def test_debug_prints_each_plan_once(plan_with: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with using(debug=True):
        plan_with(SLOW)
        planning.plan(SPEC, "conv", current())
    assert capsys.readouterr().out.count("chosen: slow_torch") == 1


def test_the_folder_is_the_list() -> None:
    for family in ("conv", "unfold", "deform"):
        found = planning.algorithms(family, "cpu")
        assert [a.name for a in found] == sorted(a.name for a in found) and found
        assert all(a.name.rpartition("_")[2] in ("torch", "cpu") for a in found)
        assert all(not a.name.endswith("_cpu") for a in planning.algorithms(family, "cuda:0"))


def test_readable_bytes() -> None:
    assert [readable_bytes(n) for n in (0, 999, 1000, 2_500_000, 7e9)] == [
        "0 B", "999 B", "1.0 kB", "2.5 MB", "7.0 GB",
    ]  # fmt: skip


def test_public_names() -> None:
    assert faltung.Plan is Plan and faltung.NoAlgorithmError is NoAlgorithmError
    assert issubclass(NoAlgorithmError, NotImplementedError)


def test_this_machine_is_plausible() -> None:
    machine = this_machine()
    assert machine is this_machine()
    assert machine.cores >= 1 and machine.vector_bits in (128, 256, 512)
    assert machine.peak > 1e9 and machine.bandwidth > 1e8
    sizes = [size for _, size in machine.caches]
    assert sizes == sorted(sizes)


def test_what_is_made_of_a_weight_counts_where_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    packs = Pretend("packs_cpu", 1e-6, weight_seconds=(1e-5, 1e-6))
    monkeypatch.setattr(planning, "_algorithms", lambda family, device: (packs, SLOW, FAST))
    monkeypatch.setattr(planning, "_plans", {})
    kept = planning.plan(SPEC, "conv", current())
    assert kept.algorithm == "packs_cpu" and kept.chosen.preparing == 0
    changing = planning.plan(SPEC, "conv", for_changing_weight(current()))
    assert changing.algorithm == "fast_cpu"
    (found,) = (c for c in changing.candidates if c.name == "packs_cpu")
    assert found.preparing == pytest.approx(1e-5 + SPEC.parameters * 1e-6)
    assert found.seconds == pytest.approx(1e-6 + found.preparing)
