"""Which algorithm is fastest, found out by running them: what `measure=True` does.

    in the order of their estimates:  build, warm up, run a few times   the first figure of each
    those within twice the best:      take turns of about a millisecond, a figure is a median

Estimates order algorithms that lie far apart; where they lie close, only a run can tell. The
operands are made up from the spec: the right shapes, layouts and dtype, every number 1/2 (the time
does not depend on numbers). A candidate whose estimate is more than ten times the best figure so
far is not run at all. Runs take 0.2 to 0.3 s together; where a single one takes longer than 0.02 s,
each candidate has two, and a few more while there is time.

Figures are kept in `trials.json` beside `machine.json`, apart for each kind of computer, number of
threads, version of this package's sources and of PyTorch, so that a later process plans at once.
Only processes that measure read them. See docs/design/005-measuring.md.
"""

import hashlib
import itertools
import math
import os
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from . import kept
from .machine import this_machine
from .ops.operands import watched

Clock = Callable[[], float]
Figures = dict[str, float | None]
"""Seconds of a run by the name of an algorithm; None where it was not run."""

_TOO_SLOW = 10.0  # an estimate this many times the best figure: not run; estimates err by less
_CONTENDING = 2.0  # a first figure this many times the best: out of the race
_LONG = 0.02  # seconds; a run this long needs no further warm-up and is not repeated at once
_WARM_UP = 4e-3  # seconds; a core takes some to reach its clock, and memory to be mapped
_TURN = 1e-3  # seconds for which a turn repeats a run
_MOST_ROUNDS = 15
_RACE = 0.15  # seconds after which no further round begins
_MOST_SECONDS = 2.0  # of all runs, after which no further candidate has its first
_MOST_MEMORY = 0.25  # of the computer's, for operands and result

_MOST_BYTES = 4 << 20  # of the file
_MOST_FIGURES = 4096  # specs in it; each has some two hundred bytes

_FILE = "trials.json"
_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
_lock = threading.RLock()  # two trials at once would disturb each other
_found: dict[str, dict[str, Figures]] = {}  # of this process, by where it was found and by spec


@dataclass(frozen=True)
class Contestant:
    """A candidate: its name, the seconds it is estimated to take, and how to build its run."""

    name: str
    estimate: float
    build: Callable[[], Callable[..., Any]]


def possible() -> bool:
    """Whether runs would be runs: not while something traces, transforms or watches the calls."""
    return not (
        torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active() or watched()
    )


def threads() -> int:
    """The number of threads that a run would have now."""
    return torch.get_num_threads()


def figures(
    spec: Any,
    family: str,
    contestants: Sequence[Contestant],
    memory_limit: int | None = None,
    clock: Clock = time.perf_counter,
) -> Figures:
    """Seconds of a run of each contestant, remembered or measured now; empty where that cannot be.

    `contestants` stand in the order of their estimates. Nothing is run on other devices than the
    CPU, nor if operands and result exceed `memory_limit` or a quarter of the computer's memory.
    """
    room = _MOST_MEMORY * this_machine().memory
    room = room if memory_limit is None else min(room, memory_limit)
    if spec.device != "cpu" or spec.bytes > room:
        return {}
    where, name = _where(threads()), f"{family} {spec}"
    with _lock:
        own = _found.setdefault(where, {})
        known = own.get(name)
        if known is None or not _answers(known, contestants):
            known = _read(where).get(name)
        if known is None or not _answers(known, contestants):
            known = _tried(spec, contestants, clock)
            own[name] = known
            _keep(where)
        own[name] = known
        return {c.name: known.get(c.name) for c in contestants}


def forget() -> None:
    """Remove what is kept, of every kind of computer."""
    with _lock:
        _found.clear()
        kept.remove(trials_file())


def trials_file() -> Path | None:
    """Where figures are kept; None where the user wants nothing kept, or has no home."""
    return kept.path_of(_FILE)


def _after_fork() -> None:
    """In a child, the thread that held the lock may not exist."""
    global _lock  # noqa: PLW0603  (a fork changes the whole process)
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _answers(known: Figures, contestants: Sequence[Contestant]) -> bool:
    """Whether figures settle a race: of each contestant, or it would not have been run either."""
    measured = [figure for c in contestants if (figure := known.get(c.name)) is not None]
    return bool(measured) and all(
        known.get(c.name) is not None
        or (c.name in known and c.estimate > _TOO_SLOW * min(measured))
        for c in contestants
    )


def _tried(spec: Any, contestants: Sequence[Contestant], clock: Clock) -> Figures:
    """Figures measured now, whatever the caller has set for its own calls."""
    # a weight that was made in inference mode would be packed again at every run
    with torch.inference_mode(mode=False), torch.no_grad(), torch.autocast("cpu", enabled=False):
        return race(contestants, [operand(spec, given) for given in spec.run_operands], clock)


def operand(spec: Any, given: tuple[Sequence[int], str] | None) -> torch.Tensor | None:
    """A tensor of the right shape, layout and dtype, written so that its memory is really there."""
    if given is None:
        return None
    (*most, last), layout = given
    dtype: torch.dtype = getattr(torch, spec.dtype)
    number = 0.5 if dtype.is_floating_point or dtype.is_complex else 1
    if layout == "strided":
        return torch.full((*most, 2 * last), number, dtype=dtype, device="cpu")[..., ::2]
    tensor = torch.full((*most, last), number, dtype=dtype, device="cpu")
    if layout == "channels_last":
        return tensor.contiguous(memory_format=_CHANNELS_LAST[tensor.dim()])
    return tensor


def race(
    contestants: Sequence[Contestant], operands: Sequence[Any], clock: Clock = time.perf_counter
) -> Figures:
    """Seconds of a run by name; None for those that were not run, or failed."""
    found: Figures = {c.name: None for c in contestants}
    runs: dict[str, Callable[[], Any]] = {}
    best, spent = math.inf, 0.0
    for c in contestants:
        if c.estimate > _TOO_SLOW * best or spent > _MOST_SECONDS:
            continue
        try:
            run = partial(c.build(), *operands)
            begin = clock()
            found[c.name] = figure = _first_figure(run, clock)
        except (RuntimeError, MemoryError):  # the call that wants it will say so
            continue
        runs[c.name] = run
        best, spent = min(best, figure), spent + clock() - begin
    # the first to run found memory that the system had to clear: a long run is not repeated above
    for name, again in runs.items():
        if len(runs) > 1 and (found[name] or 0.0) > _LONG and spent < _MOST_SECONDS:
            begin = clock()
            found[name] = min(found[name] or math.inf, _turn(again, 1, clock))
            spent += clock() - begin
    first = {name: figure for name, figure in found.items() if figure is not None}
    best = min(first.values(), default=math.inf)
    racing = [name for name, figure in first.items() if figure <= _CONTENDING * best]
    if len(racing) > 1:
        found |= _rounds({name: (runs[name], first[name]) for name in racing}, clock)
    return found


def _first_figure(run: Callable[[], Any], clock: Clock) -> float:
    """Seconds of a run that is not the first: that one compiles and packs the weight.

    Nor the second, which moves what was packed; but a run that takes long is told by two.
    """
    begin = clock()
    if _turn(run, 1, clock) > _LONG and (second := _turn(run, 1, clock)) > _LONG:
        return second
    while clock() - begin < _WARM_UP:
        run()
    repeats = _repeats(_turn(run, 1, clock))
    return min(_turn(run, repeats, clock) for _ in range(3))


def _rounds(
    racing: Mapping[str, tuple[Callable[[], Any], float]], clock: Clock
) -> dict[str, float]:
    """Median seconds of runs that take turns, each round beginning with another."""
    names = list(racing)
    repeats = {name: _repeats(first) for name, (_, first) in racing.items()}
    taken: dict[str, list[float]] = {name: [] for name in names}
    begin = clock()
    for number in range(_MOST_ROUNDS):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            taken[name].append(_turn(racing[name][0], repeats[name], clock))
        if clock() - begin > _RACE:
            break
    return {name: statistics.median(times) for name, times in taken.items()}


def _repeats(seconds: float) -> int:
    """Runs in a turn, of that many seconds each."""
    return max(1, round(_TURN / seconds)) if seconds > 0 else 1


def _turn(run: Callable[[], Any], repeats: int, clock: Clock) -> float:
    begin = clock()
    for _ in range(repeats):
        run()
    return (clock() - begin) / repeats


def _where(threads: int) -> str:
    """What figures are kept under: they hold for nothing else."""
    return f"{this_machine().kind}, {threads} threads, torch {torch.__version__}, {_sources()}"


@cache
def _sources() -> str:
    """A digest of this package as it is now, but for the tools, which no run needs."""
    folder = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        name = path.relative_to(folder).as_posix()
        if not name.startswith("tools/"):
            digest.update(name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _read(where: str) -> dict[str, Figures]:
    """The kept figures; what makes no sense is as good as not there."""
    path = trials_file()
    return {} if path is None else _sensible(kept.read_table(path, _MOST_BYTES).get(where))


def _sensible(section: Any) -> dict[str, Figures]:
    def is_figure(value: Any) -> bool:
        return value is None or (isinstance(value, float) and 0 < value < math.inf)

    return {
        name: figures
        for name, figures in (section.items() if isinstance(section, dict) else ())
        if isinstance(figures, dict) and all(map(is_figure, figures.values()))
    }


def _keep(where: str) -> None:
    """Add what this process has found to what others have kept meanwhile.

    If two write at the same moment, what the one adds is lost until it writes again.
    """
    path = trials_file()
    if path is None:
        return
    table = {key: _sensible(s) for key, s in kept.read_table(path, _MOST_BYTES).items()}
    ours = table.pop(where, {}) | _found[where]
    table[where] = dict(itertools.islice(reversed(ours.items()), _MOST_FIGURES))
    table[where] = dict(reversed(table[where].items()))  # the latest stay, and stay last
    while sum(map(len, table.values())) > _MOST_FIGURES:
        table.pop(next(iter(table)))  # of an old version, or another computer that shares the home
    kept.write_table(path, table)
