"""What tests of measuring share: algorithms that take the time they say, on a clock of ours."""

import itertools
from collections.abc import Sequence
from typing import Any

from faltung.machine import Machine
from faltung.ops.conv.spec import ConvSpec
from faltung.planning import Algorithm, Run

SPEC = ConvSpec.parse("forward n1 c2 o2 i9x9 k3x3 float32 cpu")


class Clock:
    """A clock that runs move on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Pretend(Algorithm):
    """An algorithm that says how long it takes, as an estimate and on the clock."""

    tasks = frozenset({"forward"})

    def __init__(self, name: str, estimate: float, *taken: float) -> None:
        self._name, self._estimate, self.clock = name, estimate, Clock()
        self._taken = itertools.cycle(taken or (estimate,))
        self.runs, self.operands = 0, ()  # type: tuple[int, Any]

    @property
    def name(self) -> str:
        return self._name

    def unsupported(self, spec: Any) -> list[str]:
        return []

    def seconds(self, spec: Any, machine: Machine) -> float:
        return self._estimate

    def build(self, spec: Any) -> Run:
        def run(*operands: Any) -> str:
            self.runs, self.operands = self.runs + 1, operands
            self.clock.now += next(self._taken)
            return self._name

        return run


class Broken(Pretend):
    """One that cannot run what it said it can."""

    def build(self, spec: Any) -> Run:
        raise RuntimeError("no")


def rivals() -> list[Pretend]:
    return [Pretend("hopeful_cpu", 1e-4, 3e-4), Pretend("modest_torch", 2e-4)]


def runs(algorithms: Sequence[Pretend]) -> int:
    return sum(algorithm.runs for algorithm in algorithms)
