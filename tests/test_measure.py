"""Measuring: the routines do what is counted, and figures follow from the clock alone."""

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from faltung import measure
from faltung.lang.count import count
from faltung.lang.interpret import interpret
from faltung.lang.target import AVX2, AVX512, NEON, Target, unavailable
from faltung.machine import this_machine

TARGETS = pytest.mark.parametrize("target", [AVX512, AVX2, NEON], ids=["avx512", "avx2", "neon"])


class Ticks:
    """A clock that moves on by a fixed step whenever a thread looks at it."""

    def __init__(self, step: float) -> None:
        self.step, self.seen = step, threading.local()

    def __call__(self) -> float:
        self.seen.count = getattr(self.seen, "count", 0) + 1
        return self.step * self.seen.count


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("FALTUNG_CACHE", str(tmp_path))
    this_machine.cache_clear()
    yield
    this_machine.cache_clear()


@TARGETS
def test_multiplying_does_what_is_counted(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "_TURNS", 3)
    routine = measure.multiplying(target)
    lanes, chains = target.lanes(), measure._CHAINS[target.vector_bits]
    adding = (chains - 1) * lanes
    assert count(routine).flops == chains * lanes * 2 * measure._STEPS * 3 + adding
    memory = {"x": np.repeat(np.float32([0.5, 0.5]), lanes), "y": np.zeros(lanes, np.float32)}
    interpret(routine, memory)
    turns = 3 * measure._STEPS
    assert (memory["y"] == chains * (1 - 0.5 ** (turns + 1))).all()


@TARGETS
def test_chains_leave_registers_for_the_factors(target: Target) -> None:
    registers = 16 if target is AVX2 else 32
    assert 8 <= measure._CHAINS[target.vector_bits] <= registers - 2


@TARGETS
def test_copying_copies(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "_PIECE", 512)
    x = np.arange(512, dtype=np.float32)
    memory = {"x": x, "y": np.zeros(512, np.float32)}
    routine = measure.copying(target)
    interpret(routine, memory)
    assert (memory["y"] == x).all()
    assert (count(routine).read, count(routine).written) == (2048, 2048)


@pytest.mark.skipif(unavailable() is not None, reason="routines cannot run here")
@pytest.mark.usefixtures("own_folder")
@pytest.mark.parametrize("threads", [1, 2])
def test_figures_follow_from_the_clock(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "_COPIED", 1 << 20)
    monkeypatch.setattr("faltung.machine._cores", lambda: 2)
    step = 1 / 64
    found = measure.measure(threads, Ticks(step))
    target = measure.host_target()
    done = measure._CHAINS[target.vector_bits] * target.lanes() * 2 * measure._STEPS
    assert found.peak == threads * done * measure._TURNS / step
    assert found.bandwidth == threads * 8 * measure._PIECE / step
    assert this_machine().rates(threads) == found
    this_machine.cache_clear()
    assert this_machine().rates(threads) == found


@pytest.mark.skipif(unavailable() is not None, reason="routines cannot run here")
@pytest.mark.usefixtures("own_folder")
def test_more_threads_than_cores_do_what_the_cores_can(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("faltung.machine._cores", lambda: 2)
    monkeypatch.setattr(measure, "_medians", lambda runs, clock: asked.append(len(runs)) or [1.0])
    found = measure.measure(64)
    assert asked == [2, 2]
    assert this_machine().rates(64) == found


def test_every_run_is_repeated_and_the_median_taken() -> None:
    turns = [0, 0]
    late = iter([5.0, 1.0, 9.0] * 3)  # what each timed run of the first takes
    now = threading.local()

    def first() -> None:
        if turns[0]:
            now.time = getattr(now, "time", 0.0) + next(late)
        turns[0] += 1

    def second() -> None:
        turns[1] += 1
        now.time = getattr(now, "time", 0.0) + 2.0

    found = measure._medians([first, second], lambda: getattr(now, "time", 0.0))
    assert found == [5.0, 2.0]
    assert turns == [1 + measure._LEAST_RUNS] * 2


def test_neither_importing_nor_a_call_measures() -> None:
    import subprocess

    code = (
        "import sys, torch, faltung\n"
        "faltung.functional.conv2d(torch.ones(1, 4, 6, 6), torch.ones(4, 1, 3, 3), groups=4)\n"
        "print('faltung.measure' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
