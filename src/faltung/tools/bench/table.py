"""How results are told to people: a table a family, and what went badly after it."""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ...machine import Rates
from ..printing import new_table
from .outcome import Entry, Outcome, losses, means
from .overhead import Making

_PEERS = (
    ("PyTorch", "contiguous"),
    ("PyTorch", "channels_last"),
    ("ONNX Runtime", "contiguous"),
)
_SHORT = {"contiguous": "", "channels_last": " cl"}
_SMALL = 1e-4  # seconds below which microseconds read better
_LEGEND = (
    "ms: median of interleaved runs. GF/s: executed, zero padding skipped. bound: of the measured "
    "peak or of copying, whichever is more. ratio: best peer / ours, above 1 we are faster. "
    "cl: channels-last."
)


def tables(outcomes: Sequence[Outcome], rates: Rates) -> Iterator[RenderableType]:
    """One table for each family, in the order the families come."""
    found = means(outcomes)
    for family in dict.fromkeys(o.case.family for o in outcomes):
        rows = [o for o in outcomes if o.case.family == family]
        yield Text(family, style="bold")
        yield _table(rows, found.get(family), rates)
    yield Text(_LEGEND, style="dim")


def remarks(outcomes: Sequence[Outcome]) -> Iterator[RenderableType]:
    """Wrong results, missing peers, choices that were not the best, and losses."""
    for outcome in outcomes:
        for complaint in outcome.complaints:
            yield Text(f"WRONG {outcome.case.name}: {complaint}", style="red")
    for note in dict.fromkeys(note for o in outcomes for note in o.notes):
        cases = [o.case.name for o in outcomes if note in o.notes]
        yield Text(note if len(cases) == len(outcomes) else f"{', '.join(cases)}: {note}")
    missed = [(o, o.overlooked) for o in outcomes]
    yield from _list(
        "the planner's choice was not our fastest:",
        [f"{o.case.name}: {_told(o.ours)}, but {_told(e)}" for o, e in missed if e and o.ours],
    )
    lost, compared = losses(outcomes), [o for o in outcomes if o.ratio is not None]
    if compared:
        yield from _list(
            f"losses, {len(lost)} of {len(compared)}:",
            [
                f"{o.case.name}: {_ratio(o.ratio)}, ours {_told(o.ours)}, {_told(o.best_peer)}"
                for o in lost
            ]
            or ["none"],
        )


def makings_table(makings: Sequence[Making]) -> RenderableType:
    """What making a routine costs."""
    table = new_table("making a routine", "algorithm", "compile, ms", "load, ms")
    for making in makings:
        table.add_row(
            making.case.name, _algorithm(making.algorithm), number(making.compile_seconds * 1e3),
            number(making.load_seconds * 1e3),
        )  # fmt: skip
    return table


def number(value: float) -> str:
    """Three digits, or as many as stand before the point.

    >>> number(0.22871), number(4957.2), number(12.34)
    ('0.229', '4957', '12.3')
    """
    for limit, digits in ((1, 3), (10, 2), (100, 1)):
        if abs(value) < limit:
            return f"{value:.{digits}f}"
    return f"{value:.0f}"


def _table(outcomes: Sequence[Outcome], mean: float | None, rates: Rates) -> Table:
    times = [e.seconds for o in outcomes for e in o.entries]
    small = bool(times) and max(times) < _SMALL
    unit, scale = ("µs", 1e6) if small else ("ms", 1e3)
    table = new_table(
        "case", "ours", unit, "GF/s", "bound", "PyTorch", "ch. last", "ORT", "ratio"
    )  # fmt: skip
    table.padding = (0, 0)
    table.columns[1].justify = "left"
    for column in table.columns[1:]:
        column.no_wrap = True
    for outcome in outcomes:
        ours = outcome.ours
        if ours is None:
            state = "WRONG" if outcome.complaints else "–"
            table.add_row(outcome.case.name, state, style="red" if outcome.complaints else "")
            continue
        ratio = outcome.ratio
        table.add_row(
            outcome.case.name, _name(ours), number(ours.seconds * scale),
            number(outcome.flops(ours) / 1e9), _bound(outcome, ours, rates),
            *[_peer(outcome, who, layout, scale) for who, layout in _PEERS],
            Text(_ratio(ratio), style=_style(ratio)),
        )  # fmt: skip
    if mean is not None and len(outcomes) > 1:
        table.add_section()
        table.add_row("geometric mean", *[""] * 7, Text(_ratio(mean), style="bold"))
    return table


def _bound(outcome: Outcome, ours: Entry, rates: Rates) -> str:
    peak, copying = outcome.of_peak(ours, rates), outcome.of_copying(ours, rates)
    return f"{peak:.0%} peak" if peak >= copying else f"{copying:.0%} copy"


def _peer(outcome: Outcome, who: str, layout: str, scale: float) -> Text:
    for entry in outcome.entries:
        if (entry.who.who, entry.who.layout) == (who, layout) and entry.who.is_peer:
            best = entry is outcome.best_peer
            return Text(number(entry.seconds * scale), style="bold" if best else "")
    return Text("–")


def _told(entry: Entry | None) -> str:
    """`depthwise, channels-last 0.211 ms`."""
    if entry is None:
        return "nobody"
    who = entry.who
    layout = ", channels-last" if who.layout == "channels_last" else ""
    name = who.who if who.is_peer else _algorithm(who.who)
    small = entry.seconds < _SMALL
    time = f"{number(entry.seconds * 1e6)} µs" if small else f"{number(entry.seconds * 1e3)} ms"
    return f"{name}{layout} {time}"


def _name(entry: Entry) -> str:
    name = _algorithm(entry.who.who)
    return name if entry.who.layout in name else name + _SHORT[entry.who.layout]


def _algorithm(name: str) -> str:
    return name.removesuffix("_cpu")


def _ratio(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f}"


def _style(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return "green" if ratio >= 1 else "red"


def _list(title: str, lines: Sequence[str]) -> Iterator[RenderableType]:
    if lines:
        yield Text(title, style="bold")
        for line in lines:
            yield Padding(Text(line), (0, 0, 0, 2), expand=False)
