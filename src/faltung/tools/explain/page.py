"""An explanation as HTML: a fragment for notebooks, and a page that needs nothing else.

The fragment takes its colours from the text around it, so it fits a light and a dark notebook; the
page follows the reader's system.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from pygments import highlight  # type: ignore[import-untyped]
from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]
from pygments.lexers import PythonLexer  # type: ignore[import-untyped]

from ..counts import Relative
from . import words
from .facts import Explanation, Task
from .strip import Cell, Strip

_UNIT = 26  # a cell's side; smaller ones cannot hold three digits
_LEFT = 84  # room for labels
_GAP = 30
_ROW = 17  # height of a window's row
_TOP = 2


@dataclass(frozen=True)
class _Square:
    kind: str
    x: int
    middle: int
    text: str
    times: str
    depth: float


@dataclass(frozen=True)
class _Row:
    y: int
    first: int
    last: int
    taps: tuple[int, ...]


@dataclass(frozen=True)
class _Label:
    y: int
    text: str


@dataclass(frozen=True)
class _Picture:
    """A strip with coordinates."""

    place: str
    alt: str
    width: int
    height: int
    gap: int | None
    cells: tuple[_Square, ...]
    windows: tuple[_Row, ...]
    labels: tuple[_Label, ...]
    unit: int = _UNIT
    left: int = _LEFT
    top: int = _TOP


@dataclass(frozen=True)
class _Size:
    """What the formula says of some axes."""

    places: str
    formula: tuple[str, ...]
    remarks: tuple[str, ...]
    picture: _Picture | None


def page(found: Explanation) -> str:
    """A whole document."""
    title = f"{found.name}: {found.title}" if found.name else found.title
    return wrapped(title, fragment(found))


def wrapped(title: str, inner: str) -> str:
    """A document around a fragment."""
    template = environment().get_template("outer.html.jinja")
    return template.render(title=title, inner=Markup(inner))


def fragment(found: Explanation) -> str:
    """An element with its style, to stand in another document."""
    pictures = [_drawn(strip, found.spec.task == "grad_input") for strip in found.strips]
    sizes = _sizes(found, pictures)
    return environment().get_template("page.html.jinja").render(
        found=found,
        words=words,
        code=_coloured,
        sizes=sizes,
        pictures=[p for p in pictures if all(p is not size.picture for size in sizes)],
        most_macs=max(1, *(form.macs for form in found.relatives)),
        mine=lambda form: _is_itself(form, found),
        slowest=_slowest,
        refusals=words.refusals(found.tasks[0]),
        refused=len(found.tasks[0].plan.rejected),
    )  # fmt: skip


@cache
def environment() -> Environment:
    """What templates of the tools are read with."""
    return Environment(
        loader=PackageLoader("faltung.tools.explain", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _sizes(found: Explanation, pictures: Sequence[_Picture]) -> list[_Size]:
    """The formula of every axis, those alike once, with the picture of the same axes."""
    by_place = {picture.place: picture for picture in pictures}
    sizes = []
    for (formula, remarks), same in itertools.groupby(
        found.sizes, lambda one: (one.formula, one.remarks)
    ):
        places = " and ".join(f"{one.place}s" for one in same)
        sizes.append(_Size(places, formula, remarks, by_place.get(places)))
    return sizes


def _is_itself(form: Relative, found: Explanation) -> bool:
    return len(form.specs) == 1 and form.specs[0].groups == found.spec.groups


def _slowest(task: Task) -> float:
    return max(candidate.seconds for candidate in task.plan.candidates)


def _coloured(source: str) -> Markup:
    """Python with the classes that the style sheet gives colours to."""
    return Markup(highlight(source, PythonLexer(), HtmlFormatter(nowrap=True)).rstrip())


def _drawn(strip: Strip, transposed: bool) -> _Picture:
    """Coordinates of a strip: cells, how often each is read, and a row for each window."""
    before = strip.cut[0] if strip.cut else len(strip.cells)
    places = {
        cell.position: _LEFT + number * _UNIT + (_GAP if number >= before else 0)
        for number, cell in enumerate(strip.cells)
    }
    most = max((cell.reads for cell in strip.cells), default=1)
    first_row = _TOP + _UNIT + 30
    rows, labels = (
        [],
        [
            _Label(_TOP + 17, "output" if transposed else "input"),
            _Label(_TOP + 38, words.reading(transposed)),
        ],
    )
    for number, window in enumerate(strip.windows):
        y = first_row + number * _ROW
        taps = tuple(places[t] + _UNIT // 2 for t in window.taps if t in places)
        if taps:
            rows.append(_Row(y, min(taps), max(taps), taps))
        labels.append(_Label(y + 4, f"{'input' if transposed else 'output'} {window.number}"))
    return _Picture(
        strip.place,
        f"{strip.place}: positions, how often each is {words.reading(transposed)}, and windows",
        _LEFT + len(strip.cells) * _UNIT + (_GAP if strip.cut else 0) + 2,
        first_row + len(strip.windows) * _ROW - 4,
        _LEFT + before * _UNIT + _GAP // 2 if strip.cut else None,
        tuple(_square(cell, places[cell.position], max(most, 1)) for cell in strip.cells),
        tuple(rows),
        tuple(labels),
    )


def _square(cell: Cell, x: int, most: int) -> _Square:
    kind = "around" if cell.padding else "cell" if cell.reads else "unread"
    times = "" if cell.padding else str(cell.reads) if cell.reads else "✗"
    text = "" if cell.padding else str(cell.position)
    if len(text) > 3:
        text = ""  # does not fit; the ends are named by their neighbours' windows
    return _Square(kind, x, x + _UNIT // 2, text, times, 0.08 + 0.34 * cell.reads / most)
