"""`faltung bench --planner`: how good the planner's estimates are, layer by layer.

    regret = time of the algorithm that the estimates chose / time of the fastest one

Each case is a layer for every memory layout that makes a difference. All candidates of a layer run
on the same operands and take turns, PyTorch's own among them; none is left out for its estimate,
unless those before it took seconds already. No peer takes part: this is not about who is fast, but
about whether our plans know it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
from rich.console import RenderableType
from rich.text import Text

from ... import planning, settings, trials
from ...ops.conv.spec import ConvSpec
from ..printing import new_table
from .cases import Case
from .table import number

CLOSE = 1.1
"""A regret up to this is a good choice: no one notices a tenth, and clocks hardly do."""


@dataclass(frozen=True)
class Judged:
    """One layer: what the planner estimated, and what every candidate took, in seconds."""

    name: str
    problem: str
    estimates: dict[str, float]
    measured: dict[str, float | None]

    @property
    def chosen(self) -> str:
        """The algorithm with the least estimate."""
        return next(iter(self.estimates))

    @property
    def best(self) -> str:
        """The algorithm that took the least time."""
        seen = {name: t for name, t in self.measured.items() if t is not None}
        return min(seen, key=lambda name: seen[name])

    @property
    def regret(self) -> float:
        """How many times as long the chosen one takes as the best; 1 is perfect."""
        chosen, best = self.measured[self.chosen], self.measured[self.best]
        assert chosen is not None and best is not None  # the chosen one runs before any other
        return chosen / best


def layers(cases: Sequence[Case]) -> Iterator[tuple[str, ConvSpec]]:
    """Every case in each layout that its dimensions and channels tell apart, by name."""
    for case in cases:
        spec = case.spec
        yield case.name, spec
        if spec.dims > 1 and (spec.in_channels > 1 or spec.out_channels > 1):
            yield f"{case.name}, channels-last", replace(spec, layout="channels_last")


def judged(name: str, spec: ConvSpec) -> Judged:
    """Plan a layer by estimate, then time all that could have been chosen."""
    found = planning.plan(spec, "conv", settings.by_estimate(settings.current()))
    contestants = [
        # an estimate of nothing: every candidate gets its turn
        trials.Contestant(c.name, 0.0, partial(c.algorithm.build, spec))
        for c in found.candidates
    ]
    with torch.inference_mode(mode=False), torch.no_grad():
        operands = [trials.operand(spec, given) for given in spec.run_operands]
        figures = trials.race(contestants, operands)
    return Judged(name, str(spec), {c.name: c.seconds for c in found.candidates}, figures)


def report(found: Sequence[Judged]) -> Iterator[RenderableType]:
    """The table, and how often the choice was good."""
    table = new_table("layer", "chosen", "µs", "best", "µs", "regret")
    for column in (1, 3):
        table.columns[column].justify = "left"
    for one in found:
        chosen, best = one.measured[one.chosen] or 0.0, one.measured[one.best] or 0.0
        missed = one.regret > CLOSE
        table.add_row(
            one.name, _short(one.chosen), number(chosen * 1e6),
            _short(one.best) if missed else "", number(best * 1e6) if missed else "",
            Text(f"{one.regret:.2f}", style="red" if missed else "green"),
        )  # fmt: skip
    yield table
    yield Text(summary(found), style="bold")


def summary(found: Sequence[Judged]) -> str:
    """One line: the share of good choices, and what the others cost."""
    good = sum(one.regret <= CLOSE for one in found)
    mean = torch.tensor([one.regret for one in found], dtype=torch.float64).log().mean().exp()
    return (
        f"within {CLOSE - 1:.0%} of the fastest on {good} of {len(found)} layers "
        f"({good / len(found):.0%}); regret {mean:.3f} on geometric average, "
        f"{max(one.regret for one in found):.2f} at worst"
    )


def facts(found: Sequence[Judged]) -> list[dict[str, Any]]:
    """The same for a file."""
    return [asdict(one) | {"regret": one.regret} for one in found]


def _short(name: str) -> str:
    return name.removesuffix("_cpu")
