"""What times mean: right before fast, ratios, bounds, means and losses."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
import torch

from faltung.ops.conv.spec import ConvSpec
from faltung.tools.bench.contestants import Contestant
from faltung.tools.bench.outcome import (
    Entry,
    Outcome,
    geometric_mean,
    losses,
    means,
    outcome_of,
)
from faltung.tools.bench.rounds import QUICK, Effort, Timing
from faltung.tools.bench.truth import Operands, by_taps
from tools.bench.pretend import CASE, RATES, contestant, ours, outcome, usual


def field(*everyone: Contestant, notes: tuple[str, ...] = ()) -> Callable[..., object]:
    return lambda spec, operands, threads: (list(everyone), list(notes))


def one_second(runs: Mapping[str, object], effort: Effort) -> dict[str, Timing]:
    assert effort is QUICK
    return {name: Timing((1.0,)) for name in runs}


def never(runs: object, effort: object) -> dict[str, Timing]:
    raise AssertionError("nobody may be timed")


def right_result() -> torch.Tensor:
    operands = Operands.of(CASE.spec)
    return by_taps(CASE.spec, operands.a, operands.w, operands.b)


def giving(who: Contestant, y: torch.Tensor) -> Contestant:
    return replace(who, run=lambda: y)


def test_who_is_right_is_timed() -> None:
    y = right_result()
    everyone = [giving(ours("depthwise_cpu"), y), giving(contestant("PyTorch"), y)]
    found = outcome_of(CASE, QUICK, 1, field(*everyone, notes=("someone is ill",)), one_second)
    assert [entry.who for entry in found.entries] == everyone
    assert found.notes == ("someone is ill",) and found.complaints == ()
    assert found.ratio == 1.0


@pytest.mark.parametrize("factor", [0.0, -1.0, 1 + 1e-4, float("nan")])
def test_a_wrong_result_of_ours_means_that_nobody_is_timed(factor: float) -> None:
    y = right_result()
    everyone = [
        giving(ours("depthwise_cpu"), y), giving(ours("other_cpu", planned=False), y * factor),
        giving(contestant("PyTorch"), y),
    ]  # fmt: skip
    found = outcome_of(CASE, QUICK, 1, field(*everyone), never)
    assert found.entries == () and found.ours is None and found.ratio is None
    (complaint,) = found.complaints
    assert complaint.startswith("other_cpu, contiguous: error of")


def test_one_that_fails_is_wrong_too() -> None:
    def fail() -> torch.Tensor:
        raise RuntimeError("out of\nregisters")

    found = outcome_of(CASE, QUICK, 1, field(replace(ours("a_cpu"), run=fail)), never)
    assert found.complaints == ("a_cpu, contiguous: RuntimeError: out of registers",)
    found = outcome_of(CASE, QUICK, 1, field(giving(ours("a_cpu"), right_result()[:, :1])), never)
    assert found.complaints == ("a_cpu, contiguous: has shape (1, 1, 8, 8), not (1, 4, 8, 8)",)


def test_a_peer_that_is_wrong_is_left_out() -> None:
    y = right_result()
    everyone = [
        giving(ours("depthwise_cpu"), y), giving(contestant("PyTorch"), y),
        giving(contestant("PyTorch", "channels_last"), y.roll(1)),
    ]  # fmt: skip
    found = outcome_of(CASE, QUICK, 1, field(*everyone), one_second)
    assert [e.who.layout for e in found.entries] == ["contiguous", "contiguous"]
    (note,) = found.notes
    assert note.startswith("PyTorch, channels-last is left out: error of")


def test_who_rounds_more_is_allowed_its_factor() -> None:
    y = right_result()
    rough = giving(ours("winograd_cpu"), y + 1e-5)
    assert outcome_of(CASE, QUICK, 1, field(rough), never).complaints
    allowed = replace(rough, error_factor=1000.0)
    assert not outcome_of(CASE, QUICK, 1, field(allowed), one_second).complaints


def test_contestants_run_without_gradients() -> None:
    seen = []
    y = right_result()

    def run() -> torch.Tensor:
        seen.append(torch.is_grad_enabled())
        return y

    outcome_of(CASE, QUICK, 1, field(replace(ours("a_cpu"), run=run)), one_second)
    assert seen == [False]


def test_ours_is_the_planned_one_and_both_sides_have_their_faster_layout() -> None:
    found = usual()
    assert found.ours is not None and found.best_peer is not None
    assert (found.ours.who.who, found.ours.seconds) == ("depthwise_cpu", 4e-3)
    assert (found.best_peer.who.name, found.best_peer.seconds) == ("PyTorch, channels-last", 5e-3)
    assert found.ratio == 5e-3 / 4e-3
    faster = outcome(
        (ours("a_cpu", planned=False), 1e-3), (ours("b_cpu"), 4e-3),
        (ours("c_cpu", "channels_last"), 3e-3), (contestant("PyTorch"), 6e-3),
    )  # fmt: skip
    assert faster.ours is not None and faster.ours.who.who == "c_cpu"
    assert faster.ratio == 2.0


def test_without_a_peer_there_is_no_ratio() -> None:
    assert outcome((ours("a_cpu"), 1e-3)).ratio is None
    assert outcome((contestant("PyTorch"), 1e-3)).ratio is None
    assert means([outcome((ours("a_cpu"), 1e-3))]) == {}


def test_speed_counts_what_is_executed_and_moved() -> None:
    spec = ConvSpec.parse(CASE.problem)
    found = usual()
    assert found.ours is not None
    taps = (8 * 3 - 2) ** 2  # of one channel, those on padding left out
    assert found.flops(found.ours) == 2 * 4 * taps / 4e-3
    assert found.of_peak(found.ours, RATES) == 2 * 4 * taps / 4e-3 / 1e9
    moved = 4 * (4 * 64 + 4 * 9 + 4 * 64)
    assert spec.bytes == moved
    assert found.of_copying(found.ours, RATES) == moved / 4e-3 / 1e8


def test_a_choice_that_was_not_the_best_is_noticed_beyond_the_noise() -> None:
    def steady(who: Contestant, *seconds: float) -> Entry:
        return Entry(who, Timing(seconds))

    chosen = steady(ours("a_cpu"), 1.0, 1.0, 1.0)
    better = ours("b_cpu", planned=False)
    quiet = Outcome(CASE, CASE.spec, (chosen, steady(better, 0.9, 0.9, 0.9)))
    assert quiet.overlooked is not None and quiet.overlooked.who is better
    noisy = Outcome(CASE, CASE.spec, (chosen, steady(better, 0.6, 0.9, 1.2)))
    assert noisy.overlooked is None
    assert usual().overlooked is None
    assert outcome((contestant("PyTorch"), 1.0)).overlooked is None


def test_means_by_family_and_losses_worst_first() -> None:
    def case(family: str, ratio: float | None) -> Outcome:
        peers = [] if ratio is None else [(contestant("PyTorch"), ratio)]
        return outcome((ours("a_cpu"), 1.0), *peers, case=replace(CASE, family=family))

    found = [case("a", 2.0), case("a", 8.0), case("b", 0.5), case("a", 0.25), case("c", None),
             case("b", 1.0)]  # fmt: skip
    assert means(found) == {"a": geometric_mean([2.0, 8.0, 0.25]), "b": geometric_mean([0.5, 1.0])}
    assert geometric_mean([4.0, 4.0, 4.0]) == pytest.approx(4.0)
    assert [o.ratio for o in losses(found)] == [0.25, 0.5]
