"""How the commands print: tables that look the same everywhere, JSON, and plain lines."""

import json
import os
import sys
from typing import Any

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table


def new_table(*columns: str) -> Table:
    """An empty table: the first column left, numbers right."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number else "left")
    return table


def show(*things: RenderableType) -> None:
    """Print to stdout, with colours only on a terminal."""
    console = Console(highlight=False)
    for thing in things:
        if isinstance(thing, str):
            console.print(thing, markup=False, soft_wrap=True)
        else:
            console.print(thing)


def columns(otherwise: int) -> int:
    """How wide the reader's page is, where `COLUMNS` says so.

    >>> columns(otherwise=100) > 0
    True
    """
    said = os.environ.get("COLUMNS", "")
    return int(said) if said.isdecimal() and int(said) else otherwise


def show_json(value: Any) -> None:
    """Print a value as JSON, the only thing on stdout."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
    print()
