"""How the items are shared out, seen through a runtime of our own that counts its threads."""

import ctypes
import struct
from collections.abc import Callable

import llvmlite.binding as llvm
import numpy as np
import pytest

from faltung.lang import scratch, threads
from faltung.lang.compile import Compiled
from faltung.lang.launch import launching
from faltung.lang.ops import F32
from faltung.lang.routine import Routine
from faltung.lang.threads import Pool

_TASK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Runtime:
    """An OpenMP runtime of one thread, which plays all of them one after the other."""

    def __init__(self, given: int) -> None:
        self.given, self.thread, self.asked = given, 0, 0
        parallel = ctypes.CFUNCTYPE(None, _TASK, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
        number = ctypes.CFUNCTYPE(ctypes.c_int)
        self._kept = [parallel(self._parallel), number(self._thread), number(lambda: self.given)]
        entries = [ctypes.cast(one, ctypes.c_void_p).value or 0 for one in self._kept]
        self.pool = Pool("ours", *entries)

    def _thread(self) -> int:
        return self.thread

    def _parallel(self, task: Callable[[int], None], data: int, wanted: int, flags: int) -> None:
        self.asked = wanted
        for thread in range(self.given):
            self.thread = thread
            task(data)


def counting(items: int) -> Routine:
    r = Routine("counting", items)
    y = r.writes("y", "float32", items)
    with r.work() as item:
        r.store(y, item, r.load(y, item) + r.const(1, F32))
    return r


@pytest.mark.parametrize("items", [0, 1, 2, 7, 64, 1000])
@pytest.mark.parametrize(("wanted", "given"), [(2, 2), (3, 3), (8, 8), (8, 3), (2, 1), (64, 64)])
def test_every_item_is_done_once(
    machine_code: Callable[..., Compiled], monkeypatch: pytest.MonkeyPatch,
    items: int, wanted: int, given: int,
) -> None:  # fmt: skip
    """Also where the runtime gives fewer threads than were wanted."""
    runtime = Runtime(given)
    monkeypatch.setattr(threads, "pool", lambda: runtime.pool)
    y = np.zeros(items, np.float32)
    machine_code(counting(items))(wanted, y.ctypes.data)
    assert (y == 1).all()
    assert runtime.asked == wanted


@pytest.mark.parametrize("wanted", [1, 0, -3])
def test_one_thread_asks_no_runtime(
    machine_code: Callable[..., Compiled], monkeypatch: pytest.MonkeyPatch, wanted: int
) -> None:
    runtime = Runtime(4)
    monkeypatch.setattr(threads, "pool", lambda: runtime.pool)
    y = np.zeros(10, np.float32)
    machine_code(counting(10))(wanted, y.ctypes.data)
    assert (y == 1).all()
    assert runtime.asked == 0


@pytest.mark.parametrize("buffers", [0, 1, 12, 40])
def test_any_number_of_buffers(machine_code: Callable[..., Compiled], buffers: int) -> None:
    body = ", ".join(["i64", "i64", *["ptr"] * buffers])
    lines = [f"declare void @body({body})", *launching(5, [None] * buffers)]
    llvm.parse_assembly("\n".join(lines)).verify()

    r = Routine("buffers", items=3)
    ys = [r.writes(f"y{n}", "float32", 3) for n in range(buffers)]
    with r.work() as item:
        for n, y in enumerate(ys):
            r.store(y, item, r.const(n + 1, F32))
    routine = machine_code(r)
    for wanted in (1, 2):
        given = [np.zeros(3, np.float32) for _ in ys]
        routine(wanted, *[y.ctypes.data for y in given])
        assert [y.tolist() for y in given] == [[n + 1] * 3 for n in range(buffers)]


@pytest.mark.parametrize("buffers", [2, 3, 4, 5])
@pytest.mark.parametrize("given", [1, 2, 3])
def test_a_launcher_asks_for_the_number_of_threads_at_each_call(
    machine_code: Callable[..., Compiled], monkeypatch: pytest.MonkeyPatch,
    buffers: int, given: int,
) -> None:  # fmt: skip
    runtime = Runtime(given)
    monkeypatch.setattr(threads, "pool", lambda: runtime.pool)
    r = Routine("buffers", items=3)
    ys = [r.writes(f"y{n}", "float32", 3) for n in range(buffers)]
    with r.work() as item:
        for n, y in enumerate(ys):
            r.store(y, item, r.const(n + 1, F32))
    routine, now = machine_code(r), [7]
    launch = routine.on(lambda: now[0])
    for wanted, asked in ((7, 7), (2, 2), (1, 0), (-1, 0)):
        now[0], runtime.asked = wanted, 0
        for start in (launch, routine.alone):
            arrays = [np.zeros(3, np.float32) for _ in ys]
            start(*[y.ctypes.data for y in arrays])
            assert [y.tolist() for y in arrays] == [[n + 1] * 3 for n in range(buffers)]
        assert runtime.asked == asked
    for start in (launch, routine.alone):
        for wrong in (buffers - 1, buffers + 1):
            with pytest.raises((struct.error, TypeError)):
                start(*range(wrong))


def test_where_the_pool_is_gone_a_launcher_runs_everything_here(
    machine_code: Callable[..., Compiled], monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = Runtime(3)
    monkeypatch.setattr(threads, "pool", lambda: runtime.pool)
    monkeypatch.setattr(threads, "_words", [])  # not those of the pool that other tests use
    launch = machine_code(counting(5)).on(lambda: 3)
    y = np.zeros(5, np.float32)
    launch(y.ctypes.data)
    assert y.tolist() == [1] * 5 and runtime.asked == 3
    monkeypatch.setattr(threads, "_forked", False)  # put back afterwards
    threads._note_fork()
    runtime.asked = 0
    launch(y.ctypes.data)
    assert y.tolist() == [2] * 5 and runtime.asked == 0
    monkeypatch.setattr(threads, "pool", lambda: None)
    machine_code(counting(5)).on(lambda: 3)(y.ctypes.data)
    assert y.tolist() == [3] * 5


@pytest.mark.parametrize(("wanted", "given"), [(1, 1), (3, 3), (8, 5)])
def test_each_thread_has_its_own_scratch(
    machine_code: Callable[..., Compiled], monkeypatch: pytest.MonkeyPatch,
    wanted: int, given: int,
) -> None:  # fmt: skip
    """Thread t's part is the t-th; each holds the last item that its thread did.

    A page lies between two threads' parts, and nothing is written elsewhere.
    """
    monkeypatch.setattr(threads, "pool", lambda: runtime.pool)
    runtime = Runtime(given)
    r = Routine("noting", items=10)
    first, b = r.scratch("first", "float32", 1024), r.reads("b", "float32", 10)
    second, number = r.scratch("second", "float32", 5), r.reads("number", "float32", 10)
    with r.work() as item:
        r.store(first, 3, r.load(number, item))
        r.store(second, 4, r.load(b, item))
    x = np.arange(10, dtype=np.float32)
    minus, routine = -x, machine_code(r)
    (_, after), size = scratch.places([4096, 20])
    assert routine.thread_bytes == size == after + 64
    y = np.full(scratch.bytes_for(size, wanted) // 4, -1, np.float32)
    routine(wanted, minus.ctypes.data, x.ctypes.data, y.ctypes.data)
    expected = np.full_like(y, -1)
    for thread in range(given):
        part = thread * (size + 4096) // 4
        last = (thread + 1) * 10 // given - 1
        if last >= 0:
            expected[[part + 3, part + after // 4 + 4]] = last, -last
    assert (y == expected).all()


def test_a_routine_without_scratch_needs_none(machine_code: Callable[..., Compiled]) -> None:
    assert machine_code(counting(3)).thread_bytes == 0
