"""What making a routine costs: cold from an empty folder, warm from a full one."""

import os
from pathlib import Path
from typing import Any

import pytest

from faltung import planning
from faltung.lang.cache import ObjectCache
from faltung.lang.target import unavailable
from faltung.tools.bench.cases import CASES, Case
from faltung.tools.bench.overhead import makings
from tools.bench.pretend import CASE, World

TWO_D = Case("dense", "dense", "forward n1 c4 o4 i8x8 k3x3 float32 cpu", "none")


class Building(planning.Algorithm):
    """Compiles for 3 s where the folder is empty, loads in 0.5 s where it is not."""

    tasks = frozenset({"forward"})
    name = "building_cpu"  # type: ignore[assignment]

    def __init__(self, world: World) -> None:
        self.world, self.folders = world, []  # type: ignore[var-annotated]

    def unsupported(self, spec: Any) -> list[str]:
        return [] if spec.groups == 4 and spec.layout == "channels_last" else ["not mine"]

    def seconds(self, spec: Any, machine: Any) -> float:
        return 1.0

    def build(self, spec: Any) -> Any:
        folder = ObjectCache.default().folder
        self.folders.append(folder)
        empty = not folder.exists() or not list(folder.iterdir())
        self.world.now += 3.0 if empty else 0.5
        if folder.exists():
            (folder / "object").touch()
        return None


@pytest.fixture
def building(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Building:
    monkeypatch.setenv("FALTUNG_CACHE", str(tmp_path))
    found = Building(world)
    monkeypatch.setattr(planning, "_algorithms", lambda family, device: (found,))
    return found


def test_cold_and_warm(building: Building, world: World, tmp_path: Path) -> None:
    (made,) = makings([TWO_D, CASE], tries=3, clock=world.clock)
    assert (made.algorithm, made.case) == ("building_cpu", CASE)
    assert (made.compile_seconds, made.load_seconds) == (3.0, 0.5)
    own, *temporary = building.folders
    assert own == tmp_path and own not in temporary
    assert len(temporary) == 6 and len(set(temporary)) == 3
    assert not any(folder.exists() for folder in temporary)
    assert os.environ["FALTUNG_CACHE"] == str(tmp_path)


def test_a_few_cases_of_an_algorithm_are_enough(building: Building, world: World) -> None:
    assert len(makings([CASE] * 9, tries=1, clock=world.clock)) == 3
    assert makings([TWO_D], tries=1, clock=world.clock) == []


def test_the_users_folder_is_named_again_even_if_it_was_not(
    building: Building, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FALTUNG_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(building.folders))
    building.folders.clear()
    makings([CASE], tries=1, clock=world.clock)
    assert "FALTUNG_CACHE" not in os.environ


@pytest.mark.skipif(unavailable() is not None, reason="routines cannot run here")
def test_real_routines_are_compiled_and_kept(tmp_path: Path) -> None:
    small = [case for case in CASES if case.name == "call dw 4 6"]
    made = makings(small, tries=1)
    assert {m.algorithm for m in made} >= {"depthwise_cpu"}
    assert all(m.compile_seconds > 0 and m.load_seconds > 0 for m in made)
