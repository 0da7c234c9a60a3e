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
from functools import cache
from pathlib import Path

_MAPS = Path("/proc/self/maps")
_forked = False


@dataclass(frozen=True)
class Pool:
    """Addresses of the runtime's entry points."""

    library: str
    parallel: int  # GOMP_parallel(task, data, threads, flags)
    thread: int  # omp_get_thread_num()
    threads: int  # omp_get_num_threads()


def pool() -> Pool | None:
    """The pool to use now, or None to run on the calling thread."""
    return None if _forked else _found()


@cache
def _found() -> Pool | None:
    for path in _loaded_runtimes():
        try:
            library = ctypes.CDLL(path)
            entries = [
                ctypes.cast(getattr(library, name), ctypes.c_void_p).value
                for name in ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads")
            ]
        except (OSError, AttributeError):
            continue
        if all(entries):
            return Pool(path, *[int(e or 0) for e in entries])
    return None


def _loaded_runtimes() -> list[str]:
    """Paths of the OpenMP runtimes in this process, in the order they lie in memory."""
    if not _MAPS.exists():
        return []
    text = _MAPS.read_text()
    paths = re.findall(r"(/\S*lib(?:gomp|iomp5|omp)[-.\w]*\.so[.\d]*)", text)
    return list(dict.fromkeys(paths))


def _note_fork() -> None:
    global _forked  # noqa: PLW0603  (a fork changes the whole process)
    _forked = True


os.register_at_fork(after_in_child=_note_fork)
