"""Interleaving: who runs when, what is timed and what is not, and when it ends."""

import itertools

import pytest

from faltung.tools.bench.rounds import FULL, QUICK, Effort, Timing, interleaved
from tools.bench.pretend import World

BRIEF = Effort(rounds=4, least_rounds=2, limit=1e9, turn=1.0, warm_up=0.5, pause=10.0)


def timings(world: World, effort: Effort = BRIEF, **calls: float) -> dict[str, Timing]:
    runs = {name: world.call(name, seconds) for name, seconds in calls.items()}
    return interleaved(runs, effort, world.clock, world.sleep)


def turns(world: World) -> list[str]:
    """Who ran between one pause and the next."""
    groups = itertools.groupby(world.happened, lambda event: event == "pause")
    found = []
    for is_pause, group in groups:
        if not is_pause:
            names = set(group)
            assert len(names) == 1, "two contestants without a pause between them"
            found += names
    return found


def test_a_call_costs_what_it_costs(world: World) -> None:
    found = timings(world, a=0.25, b=0.125)
    assert found == {"a": Timing((0.25,) * 4), "b": Timing((0.125,) * 4)}


def test_everyone_runs_once_a_round_after_a_pause(world: World) -> None:
    timings(world, a=0.25, b=0.5, c=1.0)
    timed = "".join(turns(world)[3:])  # the first three calibrate
    assert [sorted(timed[at : at + 3]) for at in range(0, 12, 3)] == [["a", "b", "c"]] * 4


def test_nobody_always_follows_the_same_one_and_runs_repeat(world: World) -> None:
    effort = Effort(rounds=12, limit=1e9, turn=1.0, warm_up=0.0, pause=10.0)
    timings(world, effort, a=1.0, b=1.0, c=1.0, d=1.0)
    timed = "".join(turns(world)[4:])
    assert len(timed) == 48
    for name in "abcd":
        before = [timed[at - 1] for at in range(1, 48) if timed[at] == name]
        assert all(before.count(other) >= 2 for other in "abcd" if other != name)
    again = World()
    timings(again, effort, a=1.0, b=1.0, c=1.0, d=1.0)
    assert again.happened == world.happened


def test_short_calls_are_repeated_to_fill_a_turn(world: World) -> None:
    timings(world, Effort(rounds=1, turn=1.0, warm_up=0.0, pause=1.0), a=1 / 16)
    calibrating, timed = 4, 16
    assert world.happened.count("a") == calibrating + 1 + timed


def test_a_warm_up_lasts_as_long_as_it_should_and_is_not_timed(world: World) -> None:
    calibrating = [0.125] * 4
    warm, timed = [0.125 + 1, 0.125], [0.125] * 4
    run = world.call("a", *calibrating, *warm[:1], *timed)
    effort = Effort(rounds=1, turn=0.5, warm_up=1.0, pause=1.0)
    assert interleaved({"a": run}, effort, world.clock, world.sleep)["a"].rounds == (0.125,)
    assert world.happened.count("a") == 4 + 1 + 4


def test_a_long_call_is_neither_repeated_nor_warmed_up(world: World) -> None:
    timings(world, Effort(rounds=3, turn=1e-3, warm_up=0.5, pause=1.0), a=60.0)
    assert world.happened.count("a") == 1 + 3


def test_no_round_begins_after_the_limit_but_a_few_always_run(world: World) -> None:
    effort = Effort(rounds=100, least_rounds=3, limit=35.0, turn=1e-3, pause=0.0)
    assert len(timings(world, effort, a=10.0)["a"].rounds) == 4
    assert len(timings(world, effort, a=1000.0)["a"].rounds) == 3


def test_a_call_too_short_to_see_is_repeated_so_often_and_not_more(world: World) -> None:
    effort = Effort(rounds=1, turn=1.0, warm_up=0.0, pause=1.0)
    assert timings(world, effort, a=0.0) == {"a": Timing((0.0,))}
    assert world.happened.count("a") == 4 + 1 + 10_000


def test_nobody_takes_no_time(world: World) -> None:
    assert interleaved({}, BRIEF, world.clock, world.sleep) == {}


def test_median_and_spread() -> None:
    assert Timing((5.0, 1.0, 100.0)).median == 5.0
    assert Timing((1.0, 2.0)).median == 1.5
    assert Timing((2.0, 4.0, 4.0, 4.0, 8.0)).spread == 0.0
    assert Timing((3.0, 4.0, 5.0)).spread == pytest.approx(0.125, rel=0, abs=0)
    assert Timing((3.0,)).spread == Timing((0.0, 0.0)).spread == 0.0


def test_quick_is_less_and_both_pause() -> None:
    assert QUICK.rounds < FULL.rounds and QUICK.limit < FULL.limit
    assert FULL.pause == QUICK.pause == 10e-3
