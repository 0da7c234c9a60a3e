"""What the bench's tests share: a world in which calls take the time that a test says."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from faltung.machine import Machine, Rates
from faltung.tools.bench.cases import Case
from faltung.tools.bench.contestants import Contestant
from faltung.tools.bench.outcome import Entry, Outcome
from faltung.tools.bench.rounds import Timing

PROBLEM = "forward n1 c4 o4 i8x8 k3x3 p1 g4 float32 cpu"
CASE = Case("depthwise", "small dw", PROBLEM, "none")
RATES = Rates(peak=1e9, bandwidth=1e8)
MACHINE = Machine("Some Processor", "x86_64", 2, 2e9, 256, (), (), 8 << 30)


@dataclass
class World:
    """A clock, and a list of what happened; nothing in it takes real time."""

    now: float = 0.0
    happened: list[str] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.happened.append("pause")

    def call(self, name: str, *seconds: float) -> Callable[[], str]:
        """A call that takes these times one after the other, and the last one ever after."""
        left = list(seconds)

        def run() -> str:
            self.now += left.pop(0) if len(left) > 1 else left[0]
            self.happened.append(name)
            return name

        return run


def contestant(who: str, layout: str = "contiguous", **kind: Any) -> Contestant:
    """A contestant; ours if it is given an algorithm."""
    return Contestant(who, layout, lambda: torch.zeros(1), **kind)


def ours(name: str, layout: str = "contiguous", *, planned: bool = True) -> Contestant:
    return contestant(name, layout, algorithm=name, planned=planned)


def outcome(*timed: tuple[Contestant, float], case: Case = CASE, **rest: Any) -> Outcome:
    """An outcome in which everyone took the same time in each round."""
    entries = tuple(Entry(one, Timing((seconds,) * 3)) for one, seconds in timed)
    return Outcome(case, case.spec, entries, **rest)


def usual(case: Case = CASE) -> Outcome:
    """Ours on both layouts and another of ours, against three peers; we win by 1.25."""
    return outcome(
        (ours("depthwise_cpu"), 4e-3), (ours("other_cpu", planned=False), 5e-3),
        (ours("native_torch", "channels_last"), 6e-3), (contestant("PyTorch"), 9e-3),
        (contestant("PyTorch", "channels_last"), 5e-3), (contestant("ONNX Runtime"), 7e-3),
        case=case,
    )  # fmt: skip
