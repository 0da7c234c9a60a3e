from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from faltung.lang import threads

Python = Callable[..., Any]

PRELUDE = """
import ctypes, os, signal, time
import numpy as np
from faltung.lang import threads
from faltung.lang.cache import ObjectCache
from faltung.lang.compile import compiled
from faltung.lang.routine import Routine

def record():
    r = Routine("double", 64)
    x, y = r.reads("x", "float32", 512), r.writes("y", "float32", 512)
    with r.work() as item:
        r.store(y, item * 8, r.load(x, item * 8, 8) * 2.0)
    return r

def run(routine, wanted):
    x, y = np.arange(512, dtype=np.float32), np.zeros(512, np.float32)
    routine(wanted, x.ctypes.data, y.ctypes.data)
    return np.array_equal(y, 2 * x)
"""


def maps(tmp_path: Path, *lines: str) -> Path:
    file = tmp_path / "maps"
    file.write_bytes("\n".join(lines).encode(errors="surrogateescape"))
    return file


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        ("/usr/lib/x86_64-linux-gnu/libgomp.so.1", True),
        ("/venv/torch.libs/libgomp-24e2ab19.so.1.0.0", True),
        ("/opt/intel/libiomp5.so", True),
        ("/usr/lib/llvm-18/lib/libomp.so.5", True),
        ("/home/some one/my env/lib/libgomp.so.1", True),
        ("/home/\udcff/lib/libgomp.so.1", True),
        ("/usr/lib/libgomp.so.1 (deleted)", False),
        ("/usr/lib/libgomp-plugin-host.so.txt", False),
        ("/usr/lib/libomptarget.sock", False),
        ("/usr/lib/notlibgomp.so.1", False),
        ("[heap]", False),
        ("", False),
    ],
)
def test_runtimes_are_found_among_what_is_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, path: str, is_one: bool
) -> None:
    line = f"7f0000000000-7f0000001000 r-xp 00000000 08:01 1234      {path}"
    monkeypatch.setattr(threads, "_MAPS", maps(tmp_path, line, line, line.replace("r-xp", "r--p")))
    assert threads._loaded_runtimes() == ([path] if is_one else [])


def test_a_system_that_lists_nothing_has_no_pool(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(threads, "_MAPS", tmp_path / "no such file")
    monkeypatch.setattr(threads, "_known", None)
    assert threads._loaded_runtimes() == []
    assert threads.pool() is None


@pytest.mark.parametrize("library", ["libm.so.6", "/no/such/libgomp.so.1", "libc.so.6"])
def test_a_library_that_is_no_runtime_is_passed_over(library: str) -> None:
    assert threads._entries(library) is None


def test_a_library_that_is_not_loaded_is_not_loaded_for_it(python: Python) -> None:
    """A second runtime in the process would be worse than none."""
    python(
        PRELUDE
        + """
from ctypes.util import find_library
path = find_library("gomp") or "libgomp.so.1"
assert threads._entries(path) is None
assert "gomp" not in open("/proc/self/maps").read()
"""
    )


def test_the_pool_is_torchs(python: Python) -> None:
    """It is found once there is one, gives as many threads as are wanted, and is torch's."""
    done = python(
        PRELUDE
        + """
assert threads.pool() is None
import torch
pool = threads.pool()
if pool is None:
    print("no runtime")
    sys.exit()
assert "torch" in pool.library
assert threads.pool() is pool

seen = []
TASK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
GOMP = ctypes.CFUNCTYPE(None, TASK, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)(pool.parallel)
number, count = (ctypes.CFUNCTYPE(ctypes.c_int)(f) for f in (pool.thread, pool.threads))
task = TASK(lambda data: seen.append((number(), count())))
for wanted in (2, 3, 5):
    seen.clear()
    GOMP(task, None, wanted, 0)
    assert sorted(seen) == [(n, wanted) for n in range(wanted)], seen
torch.set_num_threads(2)
routine = compiled("double", 2, record, store=ObjectCache(None))
for wanted in (1, 2, torch.get_num_threads(), 5):
    assert run(routine, wanted)
assert torch.get_num_threads() == 2
"""
    )
    if "no runtime" in done.stdout:
        pytest.skip("torch has no OpenMP runtime here")


def test_a_forked_child_computes(python: Python) -> None:
    """After a parallel call, and while another thread is compiling."""
    python(
        PRELUDE
        + """
import threading
import torch
torch.set_num_threads(2)
routine = compiled("double", 2, record, store=ObjectCache(None))
assert run(routine, 4)
launch = routine.on(lambda: 4)  # made before there is a child
torch.ones(100000).add_(1)
stop = threading.Event()

def compile_all_the_time():
    while not stop.is_set():
        compiled("double", 2, record, store=ObjectCache(None))

worker = threading.Thread(target=compile_all_the_time)
worker.start()
for _ in range(8):
    child = os.fork()
    if child == 0:
        status = 1
        try:
            fresh = compiled("double", 2, record, store=ObjectCache(None))
            made_before = run(lambda wanted, *addresses: launch(*addresses), 4)
            if threads.pool() is None and made_before and run(routine, 4) and run(fresh, 4):
                status = 0
        finally:
            os._exit(status)
    end = time.monotonic() + 20
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            stop.set()
            sys.exit("the child hangs")
        time.sleep(0.005)
    if status:
        stop.set()
    assert status == 0
    time.sleep(0.003)
stop.set()
worker.join()
assert threads.pool() is None or run(routine, 4)
"""
    )
