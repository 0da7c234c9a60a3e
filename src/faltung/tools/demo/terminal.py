"""What the terminal shows: bars while it works, tables and one line at the end."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from .report import Findings


def progress(console: Console) -> Progress:
    """Progress bars, one a part of the demo."""
    return Progress(
        TextColumn("{task.description}", justify="left"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[now]}"),
        console=console,
    )


def summary(findings: Findings) -> Table:
    """The rows of the verification as a table."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("row")
    table.add_column("system")
    table.add_column("checks", justify="right")
    table.add_column("error in budgets", justify="right")
    table.add_column("")
    for row in findings.rows:
        error = "exact" if row.error == 0 else f"{row.error:.2f}"
        verdict = "[green]holds[/]" if row.passed else "[bold red]RED[/]"
        table.add_row(row.number, row.system, f"{row.cases:,}", error, verdict)
    return table
