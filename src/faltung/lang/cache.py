"""Object code on disk: one file per routine, named by what it was made from.

A file is one line of JSON (the full key and the code's digest) and the code. It is written under
another name and renamed, so a reader sees all of it or nothing; what does not match is recompiled.
Any trouble with the folder or a file is a miss and never an error. The folder must be ours alone,
because what lies in it is run: mode 0700, owned by us, no link.

`FALTUNG_CACHE` names the folder (empty: keep nothing); otherwise it is `faltung` in
`XDG_CACHE_HOME` or `~/.cache`.
"""

import hashlib
import json
import os
import stat
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_SUFFIX = ".routine"
_UNFINISHED = ".part"
_MOST_BYTES = 256 * 1024 * 1024  # a routine has 5 to 50 kB
_MOST_FILES = 4096
_ABANDONED = 3600.0  # seconds after which an unfinished file has lost its writer


@dataclass(frozen=True)
class ObjectCache:
    """A folder of object files; `folder` None keeps nothing."""

    folder: Path | None

    @classmethod
    def default(cls) -> "ObjectCache":
        """The user's folder."""
        return _default(os.environ.get("FALTUNG_CACHE"), os.environ.get("XDG_CACHE_HOME"))

    def load(self, key: str) -> bytes | None:
        """The object for a key, or None."""
        if self.folder is None or not self._is_ours():
            return None
        try:
            # not waiting, in case it is a pipe
            handle = os.open(self._path(key), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(handle, "rb") as file:
                found = os.fstat(handle)
                if not (stat.S_ISREG(found.st_mode) and _is_private(found)):
                    return None
                if found.st_size > _MOST_BYTES:
                    return None  # not ours, and perhaps more than memory holds
                header, _, code = file.read().partition(b"\n")
        except OSError:
            return None
        return code if header == _header(key, code) else None

    def save(self, key: str, code: bytes) -> None:
        """Keep an object for a key, if that is possible."""
        if self.folder is None:
            return
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._is_ours():
                return
            handle, name = tempfile.mkstemp(dir=self.folder, suffix=_UNFINISHED)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(_header(key, code) + b"\n" + code)
                os.replace(name, self._path(key))
            except BaseException:
                os.unlink(name)
                raise
        except OSError:
            return
        if self._count() > _MOST_FILES:
            self.prune()

    def files(self) -> list[Path]:
        """The kept objects."""
        return self._with(_SUFFIX)

    def clear(self) -> int:
        """Remove every kept object; how many there were."""
        return sum(_removed(path) for path in self.files())

    def prune(self, most: int = _MOST_BYTES, most_files: int = _MOST_FILES * 3 // 4) -> None:
        """Remove the objects that were read longest ago until the rest fits into `most` bytes."""
        known = sorted((*_last_use(path), path) for path in self.files())
        total = sum(size for _, size, _ in known)
        for left, (_, size, path) in zip(range(len(known), 0, -1), known, strict=True):
            if total <= most and left <= most_files:
                break
            _removed(path)
            total -= size
        for path in self._with(_UNFINISHED):
            if _last_use(path)[0] < time.time() - _ABANDONED:
                _removed(path)

    def _count(self) -> int:
        """How many objects there are, from their names: asked at every save, so no paths."""
        assert self.folder is not None
        try:
            return sum(name.endswith(_SUFFIX) for name in os.listdir(self.folder))
        except OSError:
            return 0

    def _with(self, suffix: str) -> list[Path]:
        if self.folder is None or not self._is_ours():
            return []
        try:
            return sorted(path for path in self.folder.iterdir() if path.suffix == suffix)
        except OSError:
            return []

    def _path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{_digest(key.encode(errors='surrogatepass'))[:40]}{_SUFFIX}"

    def _is_ours(self) -> bool:
        """Whether the folder is a real one that only we can write to."""
        assert self.folder is not None
        try:
            found = os.lstat(self.folder)
        except OSError:
            return False
        return stat.S_ISDIR(found.st_mode) and _is_private(found)


@cache
def _default(named: str | None, base: str | None) -> ObjectCache:
    if named is not None:
        return ObjectCache(Path(named) if named else None)
    try:
        return ObjectCache(Path(base or Path.home() / ".cache") / "faltung")
    except RuntimeError:
        return ObjectCache(None)  # no home


def _header(key: str, code: bytes) -> bytes:
    return json.dumps({"key": key, "digest": _digest(code)}).encode()


def _is_private(found: os.stat_result) -> bool:
    """Whether only we can write to it; never so where files have no owner."""
    user = os.getuid() if hasattr(os, "getuid") else None
    return found.st_uid == user and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _last_use(path: Path) -> tuple[float, int]:
    """When a file was last read or written, and its bytes; nothing of one that has gone."""
    try:
        found = path.lstat()
    except OSError:
        return 0.0, 0
    # many systems note a reading seldom or never
    return max(found.st_atime, found.st_mtime), found.st_size


def _removed(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:
        return False
    return True


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
