import ctypes
import mmap
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faltung.lang import compile as lang_compile
from faltung.lang.cache import ObjectCache
from faltung.lang.compile import Compiled, compiled, object_code
from faltung.lang.llvm_ir import llvm_ir
from faltung.lang.ops import F32
from faltung.lang.routine import Routine
from faltung.lang.target import AVX2, Target

MachineCode = Callable[..., Compiled]


def scale(factor: float = 2.0, lanes: int = 8, items: int = 100) -> Routine:
    r = Routine("scale", items)
    x, y = (r.reads("x", "float32", items * lanes), r.writes("y", "float32", items * lanes))
    with r.work() as item:
        at = item * lanes
        r.store(y, at, r.load(x, at, lanes) * factor)
    return r


def run(routine: Compiled, count: int = 800, wanted: int = 1) -> Any:
    x, y = np.arange(count, dtype=np.float32), np.full(count, np.nan, np.float32)
    routine(wanted, x.ctypes.data, y.ctypes.data)
    return y


def test_alone_asks_no_pool(machine_code: MachineCode, monkeypatch: pytest.MonkeyPatch) -> None:
    routine, expected = machine_code(scale()), 2 * np.arange(800)
    x, y = np.arange(800, dtype=np.float32), np.full(800, np.nan, np.float32)
    monkeypatch.setattr(lang_compile.threads, "pool", lambda: 1 / 0)
    routine.alone(x.ctypes.data, y.ctypes.data)
    assert np.array_equal(y, expected)
    assert np.array_equal(run(routine), expected)
    with pytest.raises(struct.error):
        routine.alone(x.ctypes.data)


# -- compiled --------------------------------------------------------------------------------------


def test_a_routine_that_is_kept_is_not_recorded_again(
    machine_code: MachineCode, tmp_path: Path
) -> None:
    recorded = []

    def record() -> Routine:
        recorded.append(1)
        return scale()

    store = ObjectCache(tmp_path / "kept")
    for _ in range(3):
        routine = compiled("scale", 2, record, store=store)
        assert np.array_equal(run(routine), 2 * np.arange(800))
    assert len(recorded) == 1
    compiled("another key", 2, record, store=store)
    assert len(recorded) == 2
    compiled("scale", 2, record, store=ObjectCache(None))
    assert len(recorded) == 3


def test_another_source_is_another_routine(machine_code: MachineCode, tmp_path: Path) -> None:
    store, source = ObjectCache(tmp_path / "kept"), tmp_path / "author.py"
    for factor in (2.0, 3.0, 2.0):
        source.write_text(f"factor = {factor}")
        lang_compile._digest_of.cache_clear()
        routine = compiled("k", 2, lambda f=factor: scale(f), sources=[str(source)], store=store)
        assert np.array_equal(run(routine), factor * np.arange(800))
    assert len(store.files()) == 2


def test_another_target_is_another_routine(
    machine_code: MachineCode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ObjectCache(tmp_path / "kept")
    compiled("scale", 2, scale, store=store)
    narrow = Target(lang_compile.host_target().triple, "x86-64-v3", "-bmi2", 256, has_fma=True)
    if lang_compile.host_target().triple.startswith("aarch64"):
        narrow = Target(lang_compile.host_target().triple, "generic", "+neon", 128, has_fma=True)
    monkeypatch.setattr(lang_compile, "host_target", lambda: narrow)
    compiled("scale", 2, scale, store=store)
    assert len(store.files()) == 2


def test_a_machine_without_the_instructions_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plain = Target(AVX2.triple, "x86-64-v2", "", 128, has_fma=False)
    with pytest.raises(RuntimeError, match="need fused multiply-add, which x86-64-v2 has not"):
        object_code(llvm_ir(scale()), plain)
    monkeypatch.setattr(lang_compile, "unavailable", lambda: "no luck today")
    with pytest.raises(RuntimeError, match="no luck today"):
        compiled("scale", 2, scale, store=ObjectCache(tmp_path / "kept"))


def test_many_routines_stay_loaded(machine_code: MachineCode) -> None:
    """Code and constants of each must lie near enough, and stay where they are."""
    factors = np.arange(300) / 8 + 1
    routines = [machine_code(scale(float(f), items=2)) for f in factors]
    for factor, routine in zip(factors, routines, strict=True):
        assert np.array_equal(run(routine, 16), np.float32(factor) * np.arange(16, dtype="f"))


def test_threads_compile_and_run_at_once(machine_code: MachineCode, tmp_path: Path) -> None:
    store, right = ObjectCache(tmp_path / "kept"), []

    def work(n: int) -> None:
        for turn in range(6):
            factor = float(1 + (n + turn) % 4)
            routine = compiled(f"scale {factor}", 2, lambda f=factor: scale(f), store=store)
            for _ in range(20):
                assert np.array_equal(run(routine), factor * np.arange(800))
        right.append(n)

    workers = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert sorted(right) == list(range(8))
    assert len(store.files()) == 4


@pytest.mark.parametrize("items", [0, 1, 5, 1000])
def test_the_bits_do_not_depend_on_threads(machine_code: MachineCode, items: int) -> None:
    def record() -> Routine:
        r = Routine("sums", items)
        x, y = r.reads("x", "float32", items + 64), r.writes("y", "float32", items)
        with r.work() as item:
            with r.loop(0, 8, carried=[r.const(0, F32, 8)]) as loop:
                numbers = r.load(x, item + loop.index * 8, 8)
                loop.carry(r.fma(numbers, numbers, loop.carried[0]))
            r.store(y, item, r.sum(loop.results[0]))
        return r

    x = np.random.default_rng(0).standard_normal(items + 64).astype(np.float32)
    routine, results = machine_code(record()), []
    for wanted in (1, 2, 3, 7, 64):
        y = np.full(items, np.nan, np.float32)
        routine(wanted, x.ctypes.data, y.ctypes.data)
        results.append(y)
    assert all(np.array_equal(y, results[0]) for y in results)
    expected = [np.square(x[n : n + 64].astype(float)).sum() for n in range(items)]
    assert np.abs(results[0] - expected).max(initial=0) < 64 * 2.0**-24 * max(expected, default=1)


def test_without_an_openmp_runtime_the_calling_thread_works(
    machine_code: MachineCode, python: Callable[..., Any]
) -> None:
    python("""
import numpy as np
from faltung.lang import threads
from faltung.lang.cache import ObjectCache
from faltung.lang.compile import compiled
from faltung.lang.routine import Routine

def record():
    r = Routine("fill", 1000)
    y = r.writes("y", "float32", 1000)
    with r.work() as item:
        r.store(y, item, r.const(3, "f32"))
    return r

assert threads.pool() is None and "torch" not in sys.modules
y = np.zeros(1000, np.float32)
compiled("fill", 1, record, store=ObjectCache(None))(8, y.ctypes.data)
assert (y == 3).all()
""")


# -- memory ----------------------------------------------------------------------------------------

GUARDED = """
import ctypes, faulthandler, mmap
import numpy as np
from faltung.lang.cache import ObjectCache
from faltung.lang.compile import Compiled, _loaded, object_code
from faltung.lang.llvm_ir import llvm_ir
from faltung.lang.routine import Routine
from faltung.lang.target import AVX2, host_target

libc, kept = ctypes.CDLL(None, use_errno=True), []

def between_guards(count, item_size, at_end):
    "The address of some bytes flush against a page that must not be touched."
    page = mmap.PAGESIZE
    memory = mmap.mmap(-1, 3 * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    kept.append(memory)
    for guard in (start, start + 2 * page):
        assert libc.mprotect(ctypes.c_void_p(guard), ctypes.c_size_t(page), 0) == 0
    ctypes.memset(start + page, 0, page)
    return start + 2 * page - count * item_size if at_end else start + page

SIZES = {"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2}

def run(r, target, *at_end):
    given = [between_guards(b.count, b.item_size, end) for b, end in zip(r.buffers, at_end)]
    Compiled(_loaded(object_code(llvm_ir(r), target)), len(given))(1, *given)

targets = [host_target()] + ([AVX2] if host_target().vector_bits == 512 else [])
"""


def test_masked_lanes_are_not_touched(
    machine_code: MachineCode, python: Callable[..., Any]
) -> None:
    """Buffers lie flush against pages that must not be touched, masked lanes beyond."""
    python(
        GUARDED
        + """
for dtype in SIZES:
    for lanes in (1, 4, 8, 16):
        for count in {1, 3, lanes} - {n for n in (1, 3) if n > lanes}:
            r = Routine(f"{dtype} {lanes} {count}")
            x, y = r.reads("x", dtype, count), r.writes("y", dtype, count)
            before, after = r.reads("before", dtype, count), r.writes("after", dtype, count)
            with r.work() as item:
                late, known = r.below(count + item, lanes), r.below(count, lanes)
                r.store(y, 0, r.load(x, 0, lanes, late), late)
                r.store(y, 0, r.load(x, 0, lanes, known), known)
                end = r.mask([lane >= lanes - count for lane in range(lanes)])
                start = count - lanes
                r.store(after, item + start, r.load(before, item + start, lanes, end), end)
                late = ~r.below(lanes - count + item, lanes)
                r.store(after, item + start, r.load(before, item + start, lanes, late), late)
                nothing = r.below(item, lanes)
                r.store(y, item + 10**6, r.load(x, item + 10**6, lanes, nothing), nothing)
            for target in targets:
                run(r, target, True, True, False, False)
"""
    )


@pytest.mark.parametrize("access", ["load", "store"])
def test_the_guards_see_one_lane_too_many(
    machine_code: MachineCode, python: Callable[..., Any], segfault: int, access: str
) -> None:
    python(
        GUARDED
        + f"""
r = Routine("stray")
x, y = r.reads("x", "float32", 7), r.writes("y", "float32", 7)
with r.work() as item:
    seven = r.below(7 + item, 8)
    load, store = (None, seven) if {access!r} == "load" else (seven, None)
    r.store(y, 0, r.load(x, 0, 8, load), store)
run(r, targets[0], True, True)
""",
        exits=segfault,
    )


@pytest.mark.parametrize("count", [2**31 + 64, 2**32 + 64])
def test_indices_have_64_bits(machine_code: MachineCode, count: int) -> None:
    """A buffer of more elements than 32 bits can count, of which only the ends are ever touched."""
    no_reserve = 0x4000
    try:
        memory = mmap.mmap(-1, 2 * count, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | no_reserve)
    except (OSError, ValueError) as error:
        pytest.skip(f"no room for {2 * count} bytes of addresses: {error}")
    halves = np.frombuffer(memory, np.float16)
    halves[-8:] = np.arange(8)
    r = Routine("far", items=2)
    x = r.writes("x", "float16", count)
    with r.work() as item:
        far = item * (count - 8)
        with r.when(item > 0):
            r.store(x, 0, r.load(x, far, 8, r.below(far - (count - 15), 8)) + 1.0)
            r.store(x, 8, r.const(5, F32, 8), r.lane(8) + r.splat(far, 8) > count - 3)
        with r.when(item < 1), r.loop(count - 4, count, 2) as loop:
            r.store(x, loop.index - (count - 32), r.load(x, loop.index))
            r.store(x, loop.index - 4, r.const(9, F32))
    body = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    machine_code(r)(1, body)
    assert halves[:16].tolist() == [10, 2, 10, 4, 5, 6, 7, 1, 0, 0, 0, 0, 0, 0, 5, 5]
    assert halves[28:32].tolist() == [4, 0, 6, 0]
    del halves
