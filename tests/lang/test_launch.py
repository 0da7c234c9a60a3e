"""How the items are shared out, seen through a runtime of our own that counts its threads."""

import ctypes
from collections.abc import Callable

import llvmlite.binding as llvm
import numpy as np
import pytest

from faltung.lang import threads
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
    lines = [f"declare void @body({body})", *launching(5, [0] * buffers)]
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


@pytest.mark.parametrize(("wanted", "given"), [(1, 1), (3, 3), (8, 5)])
def test_each_thread_has_its_own_scratch(
    machine_code: Callable[..., Compiled], monkeypatch: pytest.MonkeyPatch,
    wanted: int, given: int,
) -> None:  # fmt: skip
    """Thread t's part is the t-th; each holds the last item that its thread did."""
    monkeypatch.setattr(threads, "pool", lambda: runtime.pool)
    runtime = Runtime(given)
    r = Routine("noting", items=10)
    number, own = r.reads("number", "float32", 10), r.scratch("own", "float32", 16)
    with r.work() as item:
        r.store(own, 3, r.load(number, item))
    x, y = np.arange(10, dtype=np.float32), np.full(16 * wanted, -1, np.float32)
    machine_code(r)(wanted, x.ctypes.data, y.ctypes.data)
    last = [(t + 1) * 10 // given - 1 for t in range(given)] + [-1] * (wanted - given)
    assert y[3::16].tolist() == last
    assert (np.delete(y.reshape(wanted, 16), 3, axis=1) == -1).all()
