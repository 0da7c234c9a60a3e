"""`faltung verify`: every system of the library, by hand, by PyTorch and by every algorithm.

Prints a row a system: the text's row that teaches it, how many cases ran, and the largest error in
units of its budget. Adding a system is a function in `verification/` and a line in `SYSTEMS`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from .. import planning
from ..errors import ArgumentError
from .printing import new_table, show, show_json
from .verification import beyond, kinds, textbook
from .verification.checks import Row, System, run_system
from .verification.source import DataSource, Numbers, RandomSource

SYSTEMS = (
    System("1", "library convolution", textbook.library),
    System("2", "sliding window", textbook.sliding_window),
    System("3", "im2col", textbook.im2col),
    System("4", "batch and channels", textbook.batch_and_channels),
    System("5", "unfold and fold", kinds.unfold),
    System("6", "kernel matrix", textbook.kernel_matrix),
    System("6", "kernel matrix, sparse", textbook.kernel_matrix_sparse),
    System("7", "transposed: matrix", textbook.transposed_matrix),
    System("8", "transposed: gradient", textbook.transposed_gradient),
    System("9", "transposed: inserted zeros", textbook.transposed_zeros),
    System("–", "transposed: scatter", textbook.transposed_scatter),
    System("10", "dilated", textbook.dilated),
    System("11", "grouped, channel shuffle", textbook.grouped),
    System("12", "everything at once", textbook.everything),
    System("13", "pointwise", kinds.pointwise),
    System("14", "depthwise", kinds.depthwise),
    System("15", "depthwise-separable", kinds.depthwise_separable),
    System("16", "1-D", kinds.signals),
    System("16", "causal", kinds.causal),
    System("17", "deformable", kinds.deformable),
    System("18", "large kernel", kinds.large_kernel),
    System("19", "output size", kinds.sizes),
    System("20", "learned filter", kinds.learning),
    System("–", "Winograd", beyond.winograd),
    System("–", "Fourier", beyond.fourier),
    System("–", "gradients", beyond.gradients),
    System("–", "double backward", beyond.double_backward),
    System("–", "padding modes", beyond.padding_modes),
    System("–", "same with stride", beyond.same_with_stride),
    System("–", "3-D", beyond.three_d),
    System("–", "modules", beyond.modules),
    System("–", "dtypes", beyond.dtypes),
    System("–", "memory layouts", beyond.layouts),
    System("–", "edge cases", beyond.edges),
)


@dataclass(frozen=True)
class Calls:
    """How many planned calls ran in PyTorch's own convolution, and how many in ours."""

    native: int
    own: int


def verify_systems(
    source: DataSource | None = None, systems: Iterable[System] = SYSTEMS
) -> list[Row]:
    """A row for each system, on random numbers or on the images of `source`."""
    return [_row(system, source) for system in systems]


def run(only: str | None, *, as_json: bool) -> int:
    """The command: run, print, and return the exit status, 1 if anything failed."""
    systems = _selected(only)
    before = planning.usage()
    rows = _with_progress(systems)
    used = planning.usage() - before
    calls = Calls(used["native_torch"], used.total() - used["native_torch"])
    if as_json:
        show_json(facts(rows, calls))
    else:
        show(table(rows), *_failures(rows), summary(rows, calls))
    return 0 if all(row.passed for row in rows) else 1


def table(rows: Sequence[Row]) -> Table:
    """The rows for people."""
    shown = new_table("row", "system", "cases", "error in budgets", "verdict")
    shown.columns[0].justify = "right"
    shown.columns[1].justify = "left"
    for row in rows:
        error = f"{row.error:.2f}" if row.error else "exact"
        verdict = Text(_verdict(row), style="green" if row.passed else "")
        shown.add_row(
            row.number, row.system, str(row.cases), error, verdict,
            style="" if row.passed else "red",
        )  # fmt: skip
    return shown


def summary(rows: Sequence[Row], calls: Calls) -> str:
    """The last line."""
    cases = sum(row.cases for row in rows)
    failed = sum(len(row.failures) for row in rows)
    systems = "1 system" if len(rows) == 1 else f"{len(rows)} systems"
    return (
        f"{systems}, {cases} cases, {failed} failed; planned calls: "
        f"{calls.native} in native_torch, {calls.own} in our own algorithms"
    )


def facts(rows: Sequence[Row], calls: Calls) -> dict[str, Any]:
    """The rows for programs."""
    return {
        "passed": all(row.passed for row in rows),
        "systems": [
            {
                "row": row.number if row.number.isdigit() else None,
                "system": row.system,
                "cases": row.cases,
                "error_in_budgets": row.error if row.error < float("inf") else None,
                "passed": row.passed,
                "failures": [vars(failure) for failure in row.failures],
            }
            for row in rows
        ],
        "calls": vars(calls),
    }


def _selected(only: str | None) -> tuple[System, ...]:
    chosen = tuple(s for s in SYSTEMS if only is None or only.lower() in s.name.lower())
    if not chosen:
        names = "; ".join(system.name for system in SYSTEMS)
        raise ArgumentError(f"--only {only!r} is in the name of no system: {names}")
    return chosen


def _with_progress(systems: Sequence[System]) -> list[Row]:
    columns = (
        TextColumn("{task.description:<26}"), BarColumn(), MofNCompleteColumn(),
    )  # fmt: skip
    rows = []
    screen = Console(stderr=True)
    quiet = not screen.is_terminal
    with Progress(*columns, console=screen, transient=True, disable=quiet) as progress:
        task = progress.add_task("", total=len(systems))
        for system in systems:
            progress.update(task, description=system.name)
            rows.append(_row(system, None))
            progress.advance(task)
    return rows


def _row(system: System, source: DataSource | None) -> Row:
    """Each system has numbers of its own, so that running one alone changes nothing."""
    return run_system(system, Numbers(RandomSource() if source is None else source))


def _verdict(row: Row) -> str:
    if row.passed:
        return "ok"
    return f"{len(row.failures)} FAILED" if row.failures else "NOTHING RAN"


def _failures(rows: Sequence[Row]) -> list[str]:
    return [
        f"FAILED {row.system}: {f.problem}\n  {f.way}: {f.message}"
        for row in rows
        for f in row.failures
    ]
