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
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_SUFFIX = ".routine"
_MOST_BYTES = 256 * 1024 * 1024  # a routine has 5 to 50 kB


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
            handle = os.open(self._path(key), os.O_RDONLY | os.O_NOFOLLOW)
            with os.fdopen(handle, "rb") as file:
                if os.fstat(handle).st_uid != os.getuid():
                    return None
                header = json.loads(file.readline())
                code = file.read()
        except (OSError, ValueError):
            return None
        right = isinstance(header, dict) and header.get("key") == key
        return code if right and header.get("digest") == _digest(code) else None

    def save(self, key: str, code: bytes) -> None:
        """Keep an object for a key, if that is possible."""
        if self.folder is None:
            return
        header = json.dumps({"key": key, "digest": _digest(code)}).encode() + b"\n"
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._is_ours():
                return
            handle, name = tempfile.mkstemp(dir=self.folder, suffix=".part")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(header + code)
                os.replace(name, self._path(key))
            except OSError:
                os.unlink(name)
        except OSError:
            return

    def files(self) -> list[Path]:
        """The kept objects."""
        try:
            return sorted(self.folder.glob(f"*{_SUFFIX}")) if self.folder is not None else []
        except OSError:
            return []

    def clear(self) -> int:
        """Remove every kept object; how many there were."""
        removed = 0
        for path in self.files():
            try:
                path.unlink()
                removed += 1
            except OSError:
                continue
        return removed

    def prune(self, most: int = _MOST_BYTES) -> None:
        """Remove the objects that were read longest ago until the rest fits into `most` bytes."""
        known = []
        for path in self.files():
            try:
                known.append((path.stat().st_atime, path.stat().st_size, path))
            except OSError:
                continue
        total = sum(size for _, size, _ in known)
        for _, size, path in sorted(known):
            if total <= most:
                return
            try:
                path.unlink()
                total -= size
            except OSError:
                continue

    def _path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{_digest(key.encode())[:40]}{_SUFFIX}"

    def _is_ours(self) -> bool:
        """Whether the folder is a real one that only we can write to."""
        assert self.folder is not None
        try:
            found = os.lstat(self.folder)
        except OSError:
            return False
        private = not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and private


@cache
def _default(named: str | None, base: str | None) -> ObjectCache:
    if named is not None:
        return ObjectCache(Path(named) if named else None)
    try:
        return ObjectCache(Path(base or Path.home() / ".cache") / "faltung")
    except RuntimeError:
        return ObjectCache(None)  # no home


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
