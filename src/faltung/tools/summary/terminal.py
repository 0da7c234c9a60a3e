"""A summary for people at a terminal: as many columns as fit, the least important left out."""

import io
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ..printing import columns, new_table
from .table import Layer, Summary
from .words import bytes_moved, field, remarks, shape, short, times

_WIDEST = 240  # what a file is printed as wide as, where no terminal says


@dataclass(frozen=True)
class _Column:
    heading: str
    cell: Callable[[Layer], str]
    total: Callable[[Summary], str]
    left: bool = False


_COLUMNS = (
    _Column("layer", lambda one: one.name, lambda _: "total", left=True),
    _Column("kind", lambda one: f"{one.kind} {one.detail}".strip(), lambda _: "", left=True),
    _Column("output", lambda one: shape(one.output), lambda _: ""),
    _Column(
        "parameters",
        lambda one: "shared" if one.shared else short(one.parameters),
        lambda all_: short(all_.parameters),
    ),
    _Column("multiply-adds", lambda one: short(one.macs), lambda all_: short(all_.macs)),
    _Column("gradients", lambda one: short(one.gradients), lambda all_: short(all_.gradients)),
    _Column("bytes", lambda one: bytes_moved(one.bytes), lambda all_: bytes_moved(all_.bytes)),
    _Column("sees", lambda one: field(one.field), lambda _: ""),
    _Column("algorithm", lambda one: one.plan.algorithm if one.plan else "", lambda _: "", True),
    _Column("gain", lambda one: times(one.gain), lambda all_: times(all_.gain)),
)
_EXPENDABLE = ("bytes", "gradients", "output", "kind", "parameters")  # in this order


class _Fitting:
    """The table, with the columns that the console has room for."""

    def __init__(self, found: Summary) -> None:
        self.found = found

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown, widths = list(_COLUMNS), []
        for heading in (None, *_EXPENDABLE):
            shown = [column for column in shown if column.heading != heading]
            table = _table(self.found, shown)
            widths.append(Measurement.get(console, options.update(width=_WIDEST), table).maximum)
            if widths[-1] <= options.max_width:
                break
        yield table
        gone = [c.heading for c in _COLUMNS if c not in shown]
        if gone:
            yield Text(f"Not shown: {', '.join(gone)} (there is room at {widths[0]} columns).",
                       style="dim")  # fmt: skip


def report(found: Summary) -> RenderableType:
    """The answer for people."""
    inputs = ", ".join(shape(one) for one in found.inputs)
    title = Text.assemble((found.model, "bold"), f"  on {inputs}")
    lines = [Text(line, style="dim") for line in remarks(found)]
    return Group(title, _Fitting(found), *lines)


def print_report(found: Summary) -> None:
    """Print to stdout, with colours only on a terminal; all columns where nobody says how many."""
    console = Console(highlight=False)
    if console.is_terminal:
        console.print(report(found))
    else:
        print(text(found, columns(_WIDEST)))


def text(found: Summary, width: int = 120) -> str:
    """The same as plain text."""
    buffer = io.StringIO()
    Console(file=buffer, width=width, highlight=False, color_system=None).print(report(found))
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines())


def _table(found: Summary, columns: list[_Column]) -> Table:
    table = new_table()
    for column in columns:
        table.add_column(
            column.heading, justify="left" if column.left else "right",
            footer=column.total(found), footer_style="bold", no_wrap=True,
        )  # fmt: skip
    table.show_footer = True
    for layer in found.layers:
        ours = layer.gain is not None and layer.gain > 1
        style = "" if layer.spec is not None else "dim"
        table.add_row(*(Text(column.cell(layer)) for column in columns), style=style or None,
                      end_section=layer is found.layers[-1])  # fmt: skip
        if ours:
            table.columns[-1]._cells[-1] = Text(times(layer.gain), style="green")
    return table
