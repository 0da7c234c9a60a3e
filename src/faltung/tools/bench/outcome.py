"""What came of a case: the times of everyone whose result is right, and what they mean.

    executed GF/s   2 · multiply-adds that are not on zero padding / seconds
    of peak         that, over what this machine's threads were measured to do at most
    of copying      bytes of operands and result, over those a copy moves in the same time
    ratio           seconds of the fastest peer / seconds of ours: above 1 we are faster

Of the two fractions the larger one is what bounds the case. Ours is what a user gets: the planner's
choice, on the layout where that is faster, as it is for PyTorch.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from ...machine import Rates
from ...ops.conv.spec import ConvSpec
from ..budget import Budget, assert_within
from .cases import Case
from .contestants import Contestant, contestants
from .rounds import Effort, Timing, interleaved
from .truth import Operands, budget_of

Field = tuple[list[Contestant], list[str]]
Gather = Callable[[ConvSpec, Operands, int], Field]
Time = Callable[..., dict[str, Timing]]


@dataclass(frozen=True)
class Entry:
    """A contestant with its timing."""

    who: Contestant
    timing: Timing

    @property
    def seconds(self) -> float:
        """The median of its rounds."""
        return self.timing.median


@dataclass(frozen=True)
class Outcome:
    """A case with everyone's times, or with the reasons why it has none.

    `complaints` are wrong results of ours: then nobody is timed. `notes` say which peer is missing.
    """

    case: Case
    spec: ConvSpec
    entries: tuple[Entry, ...] = ()
    notes: tuple[str, ...] = ()
    complaints: tuple[str, ...] = ()

    @property
    def ours(self) -> Entry | None:
        """The planner's choice, on its faster layout."""
        return _fastest([e for e in self.entries if e.who.planned])

    @property
    def best_peer(self) -> Entry | None:
        """The fastest of the others."""
        return _fastest([e for e in self.entries if e.who.is_peer])

    @property
    def overlooked(self) -> Entry | None:
        """An algorithm of ours that was faster than the planner's choice, beyond the noise."""
        if self.ours is None:
            return None
        best = _fastest([e for e in self.entries if not e.who.is_peer])
        assert best is not None
        noise = 1 + best.timing.spread + self.ours.timing.spread
        return best if best.seconds * noise < self.ours.seconds else None

    @property
    def ratio(self) -> float | None:
        """How many times faster than the fastest peer we are."""
        if self.ours is None or self.best_peer is None:
            return None
        return self.best_peer.seconds / self.ours.seconds

    def flops(self, entry: Entry) -> float:
        """Executed operations a second."""
        return 2 * self.spec.executed_macs / entry.seconds

    def of_peak(self, entry: Entry, rates: Rates) -> float:
        """Executed operations as a fraction of what the machine does at most."""
        return self.flops(entry) / rates.peak

    def of_copying(self, entry: Entry, rates: Rates) -> float:
        """Bytes of operands and result as a fraction of what a copy moves."""
        return self.spec.bytes / entry.seconds / rates.bandwidth


def outcome_of(
    case: Case,
    effort: Effort,
    threads: int,
    gather: Gather = contestants,
    time: Time = interleaved,
) -> Outcome:
    """Check everyone's result, then time those who are right."""
    spec = case.spec
    operands = Operands.of(spec)
    with torch.no_grad():
        everyone, notes = gather(spec, operands, threads)
        budget = budget_of(spec, operands)
        right, complaints = [], []
        for one in everyone:
            wrong = complaint(one, budget)
            if not wrong:
                right.append(one)
            elif one.is_peer:
                notes = [*notes, f"{one.name} is left out: {wrong}"]
            else:
                complaints.append(f"{one.name}: {wrong}")
        if complaints:
            return Outcome(case, spec, (), tuple(notes), tuple(complaints))
        timings = time({one.name: one.run for one in right}, effort)
    entries = tuple(Entry(one, timings[one.name]) for one in right)
    return Outcome(case, spec, entries, tuple(notes))


def complaint(one: Contestant, budget: Budget) -> str:
    """What is wrong with a contestant's result; empty if nothing is."""
    try:
        assert_within(one.run(), replace(budget, error_factor=one.error_factor))
    except Exception as wrong:
        said = " ".join(str(wrong).split())
        return said if isinstance(wrong, AssertionError) else f"{type(wrong).__name__}: {said}"
    return ""


def means(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """The geometric mean of the ratios of each family that has any."""
    ratios: dict[str, list[float]] = {}
    for outcome in outcomes:
        if outcome.ratio is not None:
            ratios.setdefault(outcome.case.family, []).append(outcome.ratio)
    return {family: geometric_mean(values) for family, values in ratios.items()}


def geometric_mean(values: Sequence[float]) -> float:
    """The mean of factors.

    >>> geometric_mean([0.5, 2.0, 8.0])
    2.0
    """
    return math.exp(sum(map(math.log, values)) / len(values))


def losses(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The cases where a peer is faster, the worst first."""
    lost = [(o.ratio, o) for o in outcomes if o.ratio is not None and o.ratio < 1]
    return [outcome for _, outcome in sorted(lost, key=lambda pair: pair[0])]


def _fastest(entries: Sequence[Entry]) -> Entry | None:
    return min(entries, key=lambda e: e.seconds, default=None)
