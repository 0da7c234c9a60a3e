"""The OpenMP pool that this process already has, found among its loaded libraries.

A process should have one pool of threads. Whoever loaded an OpenMP runtime before us (PyTorch
brings its own) has one, and its entry points can be called by address: routines then run on the
same threads, obey the same limits, and nothing is oversubscribed.

In a forked child that pool is a memory of threads that no longer exist, and starting work on it
hangs; there, and where no runtime is loaded, routines run on the calling thread.
"""

import ctypes
import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

_MAPS = Path("/proc/self/maps")
_forked = False
_known: "Pool | None" = None
_words: list[Any] = []  # of every pool, because whoever starts routines knows where they are


@dataclass(frozen=True)
class Pool:
    """Addresses of the runtime's entry points."""

    library: str
    parallel: int  # GOMP_parallel(task, data, threads, flags)
    thread: int  # omp_get_thread_num()
    threads: int  # omp_get_num_threads()

    @cached_property
    def address(self) -> int:
        """Where a routine reads the three; there is nothing but 0 where the pool is no more."""
        words = (ctypes.c_int64 * 3)(self.parallel, self.thread, self.threads)
        _words.append(words)
        return ctypes.addressof(words)


def pool() -> Pool | None:
    """The pool to use now, or None to run on the calling thread."""
    global _known  # noqa: PLW0603  (a process has one)
    if _forked:
        return None
    if _known is None:  # until there is one: PyTorch may be imported later
        _known = next(filter(None, map(_entries, _loaded_runtimes())), None)
    return _known


def _entries(path: str) -> Pool | None:
    try:
        library = ctypes.CDLL(path, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
        entries = [
            ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
            for name in ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads")
        ]
    except (OSError, AttributeError):
        return None
    return Pool(path, *entries)


def _loaded_runtimes() -> list[str]:
    """Paths of the OpenMP runtimes in this process, in the order they lie in memory."""
    try:
        text = _MAPS.read_text(errors="surrogateescape")
    except OSError:  # not Linux
        return []
    # the path is the rest of the line, after five columns and whatever is in it
    paths = re.findall(r"^(?:\S+ +){5}(/.*/lib(?:gomp|iomp5|omp)[-.\w]*\.so[.\d]*)$", text, re.M)
    return list(dict.fromkeys(paths))


def _note_fork() -> None:
    global _forked  # noqa: PLW0603  (a fork changes the whole process)
    _forked = True
    for words in _words:
        ctypes.memset(words, 0, ctypes.sizeof(words))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)
