"""The command `faltung bench`: measure the machine, run the cases, print and keep the results."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from ... import measure
from ...errors import ArgumentError
from ...machine import Rates, this_machine
from ...planning import readable_bytes
from ..printing import show
from .cases import Case, selected
from .outcome import Outcome, outcome_of
from .overhead import Making, makings
from .record import Run, write
from .rounds import FULL, QUICK, Effort
from .table import makings_table, remarks, tables

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
    columns = (
        TextColumn("{task.description:<32}"), BarColumn(), MofNCompleteColumn(),
    )  # fmt: skip
    screen = Console(stderr=True)
    found = []
    # drawn between cases only: a thread that draws would disturb what is timed
    with Progress(
        *columns, console=screen, transient=True, disable=not screen.is_terminal,
        auto_refresh=False,
    ) as progress:  # fmt: skip
        task = progress.add_task("", total=len(cases))
        for case in cases:
            progress.update(task, description=case.name, refresh=True)
            found.append(outcome_of(case, effort, threads))
            progress.advance(task)
    return found
