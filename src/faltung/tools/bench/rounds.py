"""Interleaved timing: every round gives each contestant one turn, and a time is a median of rounds.

A machine drifts: its clock, its neighbours, its temperature. Whoever is timed first and whoever is
timed last would be timed on two machines. So all contestants of a case run in every round, in an
order drawn anew each time (the same in every run of the program): whoever always came after the
same one would find the caches as that one leaves them. Threads of a pool spin for a while after a
call and disturb whoever comes next, hence the pause; caches then hold someone else's data, hence
the warm-up.
"""

import math
import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Clock = Callable[[], float]
Sleep = Callable[[float], None]


@dataclass(frozen=True)
class Effort:
    """How much time a case may take; times in seconds."""

    rounds: int = 15
    least_rounds: int = 3
    limit: float = 20.0
    """No further round begins after this."""
    turn: float = 2e-3
    """A turn repeats its call for about as long."""
    warm_up: float = 4e-3
    """As long as 25 MB take to be read at full speed again after someone else's turn."""
    pause: float = 10e-3


FULL = Effort()
QUICK = Effort(rounds=3, least_rounds=1, limit=3.0)

_LONG = 0.25  # a call of that many seconds warms itself
_MOST_REPEATS = 10_000


@dataclass(frozen=True)
class Timing:
    """Seconds a call took, one number a round."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The time to report."""
        return statistics.median(self.rounds)

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles, as a fraction of the median."""
        if len(self.rounds) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.rounds, n=4, method="inclusive")
        return (high - low) / 2 / self.median if self.median else 0.0


def interleaved(
    runs: Mapping[str, Callable[[], object]],
    effort: Effort = FULL,
    clock: Clock = time.perf_counter,
    sleep: Sleep = time.sleep,
) -> dict[str, Timing]:
    """The timing of each run, all of them taking turns."""
    names = list(runs)
    calls = {}
    for name in names:
        sleep(effort.pause)
        calls[name] = _one_call(runs[name], clock)
    repeats = {name: _repeats(call, effort.turn) for name, call in calls.items()}
    taken: dict[str, list[float]] = {name: [] for name in names}
    begin = clock()
    for number in range(effort.rounds):
        if number >= effort.least_rounds and clock() - begin > effort.limit:
            break
        for name in random.Random(number).sample(names, len(names)):
            sleep(effort.pause)
            if calls[name] < _LONG:
                _warm_up(runs[name], effort.warm_up, clock)
            taken[name].append(_turn(runs[name], repeats[name], clock))
    return {name: Timing(tuple(seconds)) for name, seconds in taken.items()}


def _repeats(call: float, turn: float) -> int:
    return min(max(math.ceil(turn / call), 1), _MOST_REPEATS) if call else _MOST_REPEATS


def _one_call(run: Callable[[], object], clock: Clock) -> float:
    """Seconds of a call that is not the first; of a long one, that one has to do."""
    first = _turn(run, 1, clock)
    return first if first >= _LONG else min(_turn(run, 1, clock) for _ in range(3))


def _warm_up(run: Callable[[], object], seconds: float, clock: Clock) -> None:
    begin = clock()
    run()
    while clock() - begin < seconds:
        run()


def _turn(run: Callable[[], object], repeats: int, clock: Clock) -> float:
    begin = clock()
    for _ in range(repeats):
        run()
    return (clock() - begin) / repeats
