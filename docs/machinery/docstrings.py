"""Docstrings as the site shows them: what Python sees, in Markdown.

The docstrings of this project are made to be read in the source: arguments are names with an
indented paragraph, examples begin with >>>, and a formula stands on a line of its own.
"""

import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

import griffe

_TERM = re.compile(r"^[\w*`, ]+$")
_FORMULA = re.compile(r"^\w+\[[^\]]*\] = |^\S+ = [^.]*[Σ⌊]")


class Docstrings(griffe.Extension):
    """Replaces each docstring by what `help` would say, written as Markdown."""

    def on_object(self, *, obj: griffe.Object, loader: griffe.GriffeLoader, **kwargs: Any) -> None:
        """One object as it was read from its source."""
        if obj.docstring is not None:
            obj.docstring.value = markdown(_seen_by_python(obj) or obj.docstring.value)


def markdown(docstring: str) -> str:
    """A docstring as Markdown: definition lists, fences around examples and formulas."""
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(docstring))
    return "\n\n".join(_paragraph(text) for text in paragraphs)


def _paragraph(text: str) -> str:
    lines = text.splitlines()
    if lines[0].startswith(">>>"):
        return f"```pycon\n{text}\n```"
    if lines[0].startswith("    "):
        return text  # indented: code as it stands
    if _FORMULA.match(text):
        return f"```formula\n{text}\n```"
    indented = [line.startswith("    ") for line in lines]
    if any(indented) and all(
        inside or _TERM.match(line) for line, inside in zip(lines, indented, strict=True)
    ):
        return "\n".join(_definitions(lines))
    return _escaped(text)


def _definitions(lines: list[str]) -> Iterator[str]:
    """Names with indented paragraphs, as a definition list."""
    begins = ""
    for line in lines:
        if not line.startswith("    "):
            if begins:
                yield ""
            yield f"`{line.strip('`')}`"
            begins = ":   "
        else:
            yield (begins if begins == ":   " else "    ") + _escaped(line.strip())
            begins = "    "


def _escaped(text: str) -> str:
    """Brackets that are shapes, not links; code between backticks as it is."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        part if part.startswith("`") else re.sub(r"([\[*_<])", r"\\\1", part) for part in parts
    )


def _seen_by_python(obj: griffe.Object) -> str | None:
    """The docstring that the object has once its module was imported; some are put together."""
    if not (obj.is_function or obj.is_class):
        return None
    found: Any = importlib.import_module(obj.module.path)
    for name in obj.path.removeprefix(obj.module.path + ".").split("."):
        found = getattr(found, name, None)
    doc = getattr(found, "__doc__", None)
    return doc if isinstance(doc, str) else None
