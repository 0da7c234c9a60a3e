"""An explanation for people at a terminal."""

import io
import itertools

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from ...planning import readable_bytes
from ..printing import columns, new_table
from .facts import Explanation, Task
from .strip import Strip
from .words import (
    bound_in_words,
    exact,
    field_in_words,
    heading,
    microseconds,
    reading,
    refusals,
    share,
)

_WIDTH = 100  # where no terminal says
_MARKS = {"padding": "░", "unread": "✗"}


def report(found: Explanation) -> RenderableType:
    """The answer for people."""
    page = found.code.by_hand
    parts: list[RenderableType] = [
        Text.assemble((f"{found.name}  ".lstrip(), "bold cyan"), (found.title, "bold")),
        Text(heading(found)),
        Text(str(found.spec), style="dim"),
        Text(),
        *(Text(f"  {line}", style="italic") for line in page.formula),
        _rule("Size"),
        *_sizes(found),
        _rule("Cost"),
        _counts(found),
        Padding(Text(bound_in_words(found)), (0, 2)),
        Padding(Text(field_in_words(found)), (0, 2)),
        _rule("The same layer as"),
        _relatives(found),
        _rule("What runs, and why"),
        _tasks(found.tasks),
        *_refusals(found.tasks[0]),
        _rule("As code"),
        *_lines(found),
        Text(),
        Text(f"  {page.name}, from {page.file}", style="dim"),
        Padding(Syntax(page.source, "python", theme="ansi_dark", background_color="default"),
                (0, 2)),
    ]  # fmt: skip
    return Group(*parts)


def print_report(found: Explanation) -> None:
    """Print to stdout, with colours only on a terminal."""
    console = Console(highlight=False)
    if console.is_terminal:
        console.print(report(found))
    else:
        print(text(found, columns(_WIDTH)))


def text(found: Explanation, width: int = _WIDTH) -> str:
    """The same as plain text."""
    buffer = io.StringIO()
    console = Console(file=buffer, width=width, highlight=False, color_system=None)
    console.print(report(found))
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines())


def _rule(title: str) -> RenderableType:
    return Padding(Rule(Text(title, style="bold"), align="left", style="dim"), (1, 0, 0, 0))


def _sizes(found: Explanation) -> list[RenderableType]:
    """The formula of every axis, those alike once, and a picture of each."""
    parts: list[RenderableType] = []
    pictures = {strip.place: strip for strip in found.strips}
    for (formula, remarks), same in itertools.groupby(
        found.sizes, lambda one: (one.formula, one.remarks)
    ):
        places = " and ".join(f"{one.place}s" for one in same)
        if strips := [strip for strip in found.strips if strip.place == places]:
            pictures.pop(places)
        parts += [Text()] if parts else []
        parts += [Text(f"  {places}", style="cyan")] if len(found.sizes) > 1 else []
        parts += [Text(f"  {line}") for line in formula]
        parts += [Text(f"  {line}", style="yellow") for line in remarks]
        for strip in strips:
            parts += _picture(strip, found.spec.task == "grad_input")
    for strip in pictures.values():
        parts += _picture(strip, found.spec.task == "grad_input")
    return parts


def _picture(strip: Strip, transposed: bool) -> list[Text]:
    """A row of positions, how often each is read, and the windows under them."""
    gap = " ⋯ " if strip.cut else ""
    before = strip.cut[0] if strip.cut else len(strip.cells)

    def row(marks: list[str]) -> str:
        wide = [mark.center(3) for mark in marks]
        return "".join([*wide[:before], gap, *wide[before:]])

    label = "output" if transposed else "input"
    places = [_MARKS["padding"] if c.padding else str(c.position) for c in strip.cells]
    counts = [
        "" if cell.padding else str(cell.reads) if cell.reads else _MARKS["unread"]
        for cell in strip.cells
    ]
    # wide enough for every number; positions beyond 999 are too long for the picture
    if max(map(len, places)) > 3:
        return []
    rows = [
        Text(),
        Text.assemble((f"  {label:>9} ", "dim"), row(places)),
        Text.assemble((f"  {reading(transposed):>9} ", "dim"), (row(counts), "dim")),
    ]
    for window in strip.windows:
        taps = set(window.taps)
        marks = [
            "■" if cell.position in taps else "─" if min(taps) < cell.position < max(taps) else ""
            for cell in strip.cells
        ]
        whose = "input" if transposed else "output"
        rows.append(Text.assemble((f"  {whose + ' ' + str(window.number):>9} ", "dim"),
                                  (row(marks), "cyan")))  # fmt: skip
    return rows


def _counts(found: Explanation) -> Table:
    table = _grid()
    for count in found.counts:
        table.add_row("  " + count.name, exact(count.value), f"= {count.filled}",
                      Text(f"= {count.formula}", style="dim"))  # fmt: skip
    table.add_row("  arithmetic intensity", f"{found.intensity:.1f}", "operations a byte")
    return table


def _grid() -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    table.add_column()
    return table


def _relatives(found: Explanation) -> Table:
    table = new_table("", "parameters", "multiply-adds", "of dense")
    dense = found.relatives[0]
    for form in found.relatives:
        ours = len(form.specs) == 1 and form.specs[0].groups == found.spec.groups
        table.add_row(
            form.name, exact(form.parameters), exact(form.macs), share(form.macs, dense.macs),
            style="bold" if ours else "",
        )  # fmt: skip
    return table


def _tasks(tasks: tuple[Task, ...]) -> Table:
    """The candidates of each task, the chosen one first."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2))
    table.add_column(no_wrap=True)
    for _ in range(2):
        table.add_column(justify="right", no_wrap=True)
    for task in tasks:
        table.add_row(Text(f"  {task.name}", style="cyan"))
        for number, c in enumerate(task.plan.candidates):
            table.add_row(
                f"  {'→' if number == 0 else ' '} {c.name}", microseconds(c),
                f"workspace {readable_bytes(c.workspace)}" if c.workspace else "",
                style="bold" if number == 0 else "dim",
            )  # fmt: skip
    return table


def _refusals(task: Task) -> list[RenderableType]:
    """Why the other algorithms cannot do the forward task."""
    if not task.plan.rejected:
        return []
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2))
    for names, reason in refusals(task):
        table.add_row(
            Text("\n".join(f"    {name}" for name in names), style="dim"), Text(reason, style="dim")
        )
    return [Text(f"  cannot, in {task.name}", style="dim cyan"), table]


def _lines(found: Explanation) -> list[RenderableType]:
    code = found.code
    rows = [
        ("PyTorch", code.pytorch or "# PyTorch has no way to say this"),
        ("module", code.module),
        ("faltung", code.faltung),
        ("by hand", code.by_hand.line),
    ]
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2))
    for name, line in rows:
        if line is not None:
            table.add_row(Text(f"  {name}", style="dim"), Text(line))
    return [table]
