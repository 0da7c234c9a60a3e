"""One self-contained HTML file from the sources beside this one: scripts, style and a layer.

The scripts are ES modules, which a browser does not load from a file of its own origin. So each
becomes a function that returns what it exports, in the order in which they need each other:

    import { a } from "./x.js";    →    const { a } = modules["x.js"];
    export function f() {}         →    function f() {}      and at the end    return { f };

No other forms of import and export are used, and any other is refused.
"""

import json
import posixpath
import re
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from ...errors import ArgumentError

_ENTRY = "main.js"
_IMPORT = re.compile(r'^import \{([^}]*)\} from "(\.[^"]+)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) (\w+))", re.MULTILINE)
_LEFT = re.compile(r"^(import|export)\b.*", re.MULTILINE)


def page(state: dict[str, Any] | None = None) -> str:
    """The HTML of the explorer, opened on that state (what `layer.state` makes); None: the usual.

    >>> page().startswith("<!DOCTYPE html>")
    True
    """
    parts = {
        # "</" would end the script element early
        "initial": json.dumps(state, separators=(",", ":"), allow_nan=False).replace("</", "<\\/"),
        "script": script(),
        "style": _text("style.css"),
    }
    return re.sub(r"/\*\{(\w+)\}\*/", lambda match: parts[match[1]].strip(), _text("page.html"))


@cache
def script() -> str:
    """All modules as one script."""
    wrapped = [_wrapped(name) for name in _ordered(_ENTRY, ())]
    return "\n".join(["const modules = {};", *wrapped])


def _ordered(name: str, above: tuple[str, ...]) -> list[str]:
    """A module after everything that it imports."""
    if name in above:
        raise ArgumentError(f"the scripts import each other in a circle: {(*above, name)}")
    found: list[str] = []
    for _, path in _IMPORT.findall(_text(name)):
        found += [one for one in _ordered(_beside(name, path), (*above, name)) if one not in found]
    return [*found, name]


def _wrapped(name: str) -> str:
    """A module as a function that returns what it exports."""
    text = _text(name)
    exported = ", ".join(_EXPORT.findall(text))
    text = _IMPORT.sub(
        lambda match: f'const {{{match[1]}}} = modules["{_beside(name, match[2])}"];', text
    )
    text = _EXPORT.sub("", text)
    if left := _LEFT.search(text):
        raise ArgumentError(f"{name}: this form is not known to the page: {left[0]}")
    if "</script" in text:
        raise ArgumentError(f"{name} would end the script element early")
    return f'modules["{name}"] = (() => {{\n{text}return {{ {exported} }};\n}})();\n'


def _beside(name: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), path))


@cache
def _text(name: str) -> str:
    place: Traversable = files(__package__)
    for part in name.split("/"):
        place = place / part
    return place.read_text(encoding="utf-8")
