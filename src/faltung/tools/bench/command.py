"""The command `faltung bench`: measure the machine, run the cases, print and keep the results."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from ... import measure
from ...errors import ArgumentError
from ...machine import Rates, this_machine
from ...planning import readable_bytes
from ..printing import show
from . import planner
from .cases import Case, selected
from .outcome import Outcome, outcome_of
from .overhead import Making, makings
from .record import Run, write, write_document
from .rounds import FULL, QUICK, Effort
from .table import makings_table, remarks, tables

T = TypeVar("T")
R = TypeVar("R")

_BUSY = 0.5  # of a core taken by others, on average


def run(words: Sequence[str], *, json: Path | None, threads: int | None, quick: bool) -> int:
    """The command; returns the exit status, 1 if a result of ours was wrong."""
    cases = selected(words)
    for case in cases:
        _ = case.spec  # whatever is wrong with a problem is said before any time is spent
    effort = QUICK if quick else FULL
    with _with_threads(threads) as used:
        date = datetime.now(UTC).isoformat(timespec="seconds")
        rates = _measured(used)
        show(
            f"{this_machine().processor}, threads: {used}, measured peak {rates.peak / 1e9:.0f} "
            f"GF/s, copying {readable_bytes(rates.bandwidth)}/s"
        )
        if (load := _others()) > _BUSY * this_machine().cores:
            show(f"this machine is busy (load {load:.1f}): times are rough")
        outcomes = _outcomes(cases, effort, used)
        made: list[Making] = [] if any(o.complaints for o in outcomes) else makings(cases)
        method = {
            k: v for k, v in asdict(effort).items() if k in ("rounds", "pause", "turn", "limit")
        }
        found = Run(this_machine(), rates, used, method, date, outcomes, made)
    show(*tables(outcomes, rates))
    if made:
        show(makings_table(made))
    show(*remarks(outcomes))
    if json is not None:
        show(f"written: {write(found, json)}")
    return 1 if any(outcome.complaints for outcome in outcomes) else 0


def judge(words: Sequence[str], *, json: Path | None, threads: int | None) -> int:
    """The command under `--planner`: how good our choices are; always 0, for no choice is wrong."""
    wanted = list(planner.layers(selected(words)))
    with _with_threads(threads) as used:
        rates = _measured(used)
        show(f"{this_machine().processor}, threads: {used}, {len(wanted)} layers")
        found = list(
            _progress(wanted, lambda layer: layer[0], lambda layer: planner.judged(*layer))
        )
    show(*planner.report(found))
    if json is not None:
        document = {"threads": used, "rates": asdict(rates), "layers": planner.facts(found)}
        show(f"written: {write_document(document, json, this_machine(), 'planner')}")
    return 0


def _others() -> float:
    """Processes that ran or wanted to, on average over the last minute."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def _measured(threads: int) -> Rates:
    """Fresh figures, so that a fraction of them is of the machine as it is today."""
    try:
        return measure.measure(threads)
    except RuntimeError as reason:
        raise ArgumentError(f"this machine cannot be measured: {reason}") from reason


@contextmanager
def _with_threads(wanted: int | None) -> Iterator[int]:
    """PyTorch, and with it our routines, on that many threads for a while."""
    before = torch.get_num_threads()
    if wanted is not None and wanted < 1:
        raise ArgumentError(f"--threads must be at least 1, got {wanted}")
    torch.set_num_threads(wanted or before)
    try:
        yield wanted or before
    finally:
        torch.set_num_threads(before)


def _outcomes(cases: Sequence[Case], effort: Effort, threads: int) -> list[Outcome]:
    return list(
        _progress(cases, lambda case: case.name, lambda case: outcome_of(case, effort, threads))
    )


def _progress(
    things: Sequence[T], named: Callable[[T], str], done: Callable[[T], R]
) -> Iterator[R]:
    """What is done with each thing, under a bar that tells which one it is."""
    columns = (
        TextColumn("{task.description:<32}"), BarColumn(), MofNCompleteColumn(),
    )  # fmt: skip
    screen = Console(stderr=True)
    # drawn between things only: a thread that draws would disturb what is timed
    with Progress(
        *columns, console=screen, transient=True, disable=not screen.is_terminal,
        auto_refresh=False,
    ) as progress:  # fmt: skip
        task = progress.add_task("", total=len(things))
        for thing in things:
            progress.update(task, description=named(thing), refresh=True)
            yield done(thing)
            progress.advance(task)
