"""The README and the pages of the site say nothing that is not so.

Their ```python blocks run, one after the other, in one namespace a page; a ```text block after one
is what it prints. ```console blocks run, too, and what they show is what comes out; "…" in a line
stands for what depends on the computer, alone on a line for lines that are left out. Blocks of
```sh are for people: installing, and what takes minutes.
"""

import contextlib
import io
import re
import shlex
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import faltung
from faltung.tools.cli import main

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs" / "en").rglob("*.md"))]
TRANSLATED = sorted((ROOT / "docs" / "zh").rglob("*.md"))

_BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_KNOWN = {"python", "text", "console", "formula", "sh", "toml"}


def blocks(page: Path) -> list[tuple[str, str]]:
    """The fenced blocks of a page: language and content."""
    return _BLOCK.findall(page.read_text(encoding="utf-8"))


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    # the pages write as one does; what else the tests are strict about is not theirs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run(page)


def run(page: Path) -> None:
    """Run a page's blocks from top to bottom."""
    namespace: dict[str, Any] = {"__name__": "__page__"}
    printed = ""
    for language, content in [*blocks(page), ("python", "")]:
        assert language in _KNOWN, f"{name_of(page)}: nobody runs a block of {language}"
        if language == "text":
            assert matches(content, printed), f"{name_of(page)} prints\n{printed}"
            printed = ""
        elif language in ("python", "console"):
            assert not printed.strip(), f"{name_of(page)} does not show that it prints\n{printed}"
            if language == "python":
                printed = executed(content, page, namespace)
            else:
                check_session(content)


def executed(code: str, page: Path, namespace: dict[str, Any]) -> str:
    """What a block prints."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, str(page), "exec"), namespace)
    return printed.getvalue()


def check_session(session: str) -> None:
    """Run the commands of a terminal session and compare what is shown after each."""
    for command, shown in sessions(session):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            assert main(shlex.split(command)) == 0, f"faltung {command} failed"
        out = printed.getvalue()
        if shown.strip():
            assert matches(shown, out), f"$ faltung {command} prints\n{out}"


def sessions(session: str) -> Iterator[tuple[str, str]]:
    """The commands of a block and what is shown after each."""
    assert session.startswith("$ faltung "), f"a session begins with a command: {session!r}"
    for part in session.removeprefix("$ faltung ").split("\n$ faltung "):
        command, _, shown = part.partition("\n")
        yield command, shown


def matches(shown: str, out: str) -> bool:
    """Whether what a page shows is what came out; … is anything, alone on a line any lines."""
    expected = "".join(
        r"(?:.*\n)*" if line == "…" else re.escape(line).replace("…", ".*") + r"\n"
        for line in lines(shown)
    )
    return re.fullmatch(expected, "".join(line + "\n" for line in lines(out))) is not None


def lines(text: str) -> list[str]:
    """The lines, without empty ones around and without spaces at their ends."""
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n").splitlines()


def test_the_check_of_sessions_sees_what_is_wrong() -> None:
    out = "chosen: a\n  a  1 us\n  b  2 us\n"
    assert matches("chosen: a\n  a  1 us\n  b  2 us", out)
    assert matches("chosen: …\n…", out)
    assert matches("chosen: a\n…\n  b  … us", out)
    assert not matches("chosen: b\n…", out)
    assert not matches("chosen: a\n  a  1 us", out)
    assert not matches("chosen: a\n…\n  c  … us", out)


@pytest.mark.parametrize("page", TRANSLATED, ids=name_of)
def test_translation_has_the_same_blocks(page: Path) -> None:
    english = ROOT / "docs" / "en" / page.relative_to(ROOT / "docs" / "zh")
    assert blocks(page) == blocks(english)


def test_table_of_operators_names_what_exists() -> None:
    text = README.read_text(encoding="utf-8")
    table = text.partition("## The operators")[2].partition("Beyond what")[0]
    rows = [row.split("|") for row in table.splitlines() if row.startswith("| ")][2:]
    assert len(rows) >= 8
    for row in rows:
        for cell, index in zip(row[2:5], ("functional", "nn", "by_hand"), strict=True):
            for name in re.findall(r"`([A-Za-z][\w]+)`", cell):
                assert hasattr(getattr(faltung, index), name), f"{index} has no {name}"
