"""The README says nothing that is not so: its code runs and its output is what comes out."""

import re
from pathlib import Path

import pytest

import faltung
from faltung.tools.cli import main

TEXT = (Path(__file__).parents[1] / "README.md").read_text()


def test_python_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})


def test_terminal_output_is_what_comes_out(capsys: pytest.CaptureFixture[str]) -> None:
    sessions = re.findall(r"```\n\$ faltung (.*?)\n(.*?)```", TEXT, re.DOTALL)
    assert sessions
    for command, shown in sessions:
        assert main(command.split()) == 0
        assert capsys.readouterr().out.strip() == shown.strip()


def test_table_of_operators_names_what_exists() -> None:
    table = TEXT.partition("## The operators")[2].partition("Beyond what")[0]
    rows = [row.split("|") for row in table.splitlines() if row.startswith("| ")][2:]
    assert len(rows) >= 8
    for row in rows:
        for cell, index in zip(row[2:5], ("functional", "nn", "by_hand"), strict=True):
            for name in re.findall(r"`([A-Za-z][\w]+)`", cell):
                assert hasattr(getattr(faltung, index), name), f"{index} has no {name}"
