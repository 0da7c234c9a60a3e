"""JSON files in the folder of the object cache: what a computer has been seen to do.

`FALTUNG_CACHE` names the folder (empty: keep nothing); otherwise it is `faltung` in
`XDG_CACHE_HOME` or `~/.cache`. A file that is missing, broken, too long or no plain file holds
nothing, and where nothing can be written nothing is kept: trouble is never an error.
"""

import json
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any


def path_of(name: str) -> Path | None:
    """Where a file of that name is kept; None where the user wants nothing kept, or has no home."""
    named = os.environ.get("FALTUNG_CACHE")
    if named is not None:
        return Path(named) / name if named else None
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return None
    return base / "faltung" / name


def read_table(path: Path, most_bytes: int) -> dict[str, Any]:
    """What the file holds; nothing if it is not there, not a plain file, too long or not ours."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # it may be a pipe
        with os.fdopen(handle, "rb") as file:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode) or found.st_size > most_bytes:
                return {}
            table = json.loads(file.read())
    except (OSError, ValueError, RecursionError):
        return {}
    return table if isinstance(table, dict) else {}


def write_table(path: Path, table: dict[str, Any]) -> None:
    """Write the file under another name and rename it: a reader sees all of it or the old one."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
        try:
            with os.fdopen(handle, "w") as file:
                json.dump(table, file, indent=1)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError:
        return


def remove(path: Path | None) -> None:
    """Remove a file, if it is there."""
    if path is not None:
        with suppress(OSError):
            path.unlink()
