"""`faltung cache`: what is kept, and that it can be removed."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from faltung import trials
from faltung.lang.cache import ObjectCache
from faltung.machine import Rates, keep_rates, this_machine
from faltung.tools.cli import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("FALTUNG_CACHE", str(tmp_path / "kept"))
    this_machine.cache_clear()
    yield tmp_path / "kept"
    this_machine.cache_clear()


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["cache", *words]) == 0
    return capsys.readouterr().out


def fill(folder: Path) -> int:
    """Two routines, both files of figures, and a stranger's; the bytes of what is ours."""
    store = ObjectCache(folder)
    store.save("a", b"x" * 1000)
    store.save("b", b"y" * 2000)
    keep_rates(1, Rates(1e11, 1e10))
    (folder / "trials.json").write_text("{}")
    (folder / "notes.txt").write_text("not ours")
    ours = [path for path in folder.iterdir() if path.name != "notes.txt"]
    assert len(ours) == 4
    return sum(path.stat().st_size for path in ours)


def test_showing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys) == f"{folder}: 0 files, 0 B\n"
    assert not folder.exists()
    total = fill(folder)
    assert printed(capsys) == f"{folder}: 4 files, {total / 1000:.1f} kB\n"
    assert json.loads(printed(capsys, "--json")) == {
        "folder": str(folder), "files": 4, "bytes": total, "removed": 0,
    }  # fmt: skip


def test_clearing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(folder)
    assert this_machine().rates(1) is not None
    trials._found["somewhere"] = {}
    assert printed(capsys, "--clear") == f"4 files removed\n{folder}: 0 files, 0 B\n"
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    assert this_machine().rates(1) is None and not trials._found
    assert json.loads(printed(capsys, "--clear", "--json"))["removed"] == 0


def test_one_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ObjectCache(folder).save("a", b"x")
    assert ": 1 file, " in printed(capsys)
    assert printed(capsys, "--clear").startswith("1 file removed\n")


def test_where_nothing_is_kept(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FALTUNG_CACHE", "")
    this_machine.cache_clear()
    for words in ([], ["--clear"]):
        assert printed(capsys, *words).startswith("nothing is kept: FALTUNG_CACHE is empty")
    assert json.loads(printed(capsys, "--json"))["folder"] is None
