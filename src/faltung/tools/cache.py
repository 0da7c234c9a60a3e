"""`faltung cache`: what is kept on this computer between runs, and how to be rid of it.

Compiled routines, the measured rates of the machine, and what `measure=True` has found out; all of
it comes back when it is needed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import trials
from ..lang.cache import ObjectCache
from ..machine import forget_rates, rates_file
from ..planning import readable_bytes


@dataclass(frozen=True)
class Kept:
    """A folder and the files of ours in it; `removed` counts those that are gone now."""

    folder: Path | None
    files: int
    bytes: int
    removed: int = 0


def kept() -> Kept:
    """What is there."""
    store = ObjectCache.default()
    files = _files(store)
    return Kept(store.folder, len(files), sum(map(_size, files)))


def cleared() -> Kept:
    """Remove it all; what is left."""
    store = ObjectCache.default()
    before = len(_files(store))
    store.clear()
    forget_rates()
    trials.forget()
    left = kept()
    return Kept(left.folder, left.files, left.bytes, before - left.files)


def text(found: Kept) -> str:
    """The answer for people."""
    if found.folder is None:
        return "nothing is kept: FALTUNG_CACHE is empty, or there is no home"
    gone = f"{_counted(found.removed)} removed\n" if found.removed else ""
    return f"{gone}{found.folder}: {_counted(found.files)}, {readable_bytes(found.bytes)}"


def facts(found: Kept) -> dict[str, Any]:
    """The answer for programs."""
    folder = None if found.folder is None else str(found.folder)
    return {
        "folder": folder, "files": found.files, "bytes": found.bytes, "removed": found.removed,
    }  # fmt: skip


def _files(store: ObjectCache) -> list[Path]:
    others = (rates_file(), trials.trials_file())
    return [*store.files(), *(path for path in others if path is not None and path.is_file())]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # removed by another process in the meantime
        return 0


def _counted(files: int) -> str:
    return "1 file" if files == 1 else f"{files} files"
