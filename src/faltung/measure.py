"""How fast this computer really is: its peak of multiply-adds and its copying, measured.

    peak        c ← c · a + b in 12 or 24 independent chains a thread, all of it in registers
    bandwidth   y ← x over more memory than the caches near a core hold

Two routines in the language that all routines are written in, so the figures are what a perfect
routine of ours would reach: same vectors, same compiler. An FMA has a latency of 4 cycles on
today's processors and two may start in each, so 8 chains are the least that keep the units busy;
more, as many as leave registers for a and b, hide what else is in the way. Bandwidth counts bytes
read and bytes written, and not what the caches fetch before they write.

Several threads work at once, but each times its own short runs and the medians are added up: were
they to wait for each other, one that the system interrupts would stop them all, and a busy machine
would seem to have a tenth of its speed.

Nobody measures by accident: `faltung doctor` and `faltung bench` do. It takes a few tenths of a
second. See docs/design/005-measuring.md.
"""

import math
import statistics
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from .lang.compile import compiled
from .lang.routine import Routine
from .lang.target import Target, host_target
from .machine import Rates, keep_rates, this_machine

Clock = Callable[[], float]
Run = Callable[[], None]

_SECONDS = 0.06  # for one figure of one number of threads
_LEAST_RUNS = 9
_CHAINS = {512: 24, 256: 12, 128: 12}  # by bits of a vector: 32 registers with AVX-512, else 16
_STEPS = 4  # multiply-adds of a chain in one turn of the loop
_TURNS = 20_000  # half a millisecond: short enough to fall between two interruptions
_COPIED = 8 << 20  # numbers of all threads: 32 MiB are read and 32 MiB written
_PIECE = 1 << 19  # numbers of one run, so that it too takes less than a millisecond
_VECTORS = 8  # that one turn of the copying loop moves; all their sizes divide a piece
_LINE = 64  # bytes, the alignment that PyTorch gives its tensors


def measure(threads: int, clock: Clock = time.perf_counter) -> Rates:
    """Measure what that many threads can do at once, and keep it for this kind of computer.

    More threads than cores do what the cores can. Raises `RuntimeError` where no routine can run.
    """
    used = min(threads, this_machine().cores)
    found = Rates(_peak(used, clock), _bandwidth(used, clock))
    keep_rates(threads, found)
    return found


def multiplying(target: Target) -> Routine:
    """The routine that multiplies and adds: x [2 · lanes] are a and b, y [lanes] the sum."""
    lanes = target.lanes()
    r = Routine("multiplying")
    x, y = r.reads("x", "float32", 2 * lanes), r.writes("y", "float32", lanes)
    with r.work():
        a, b = r.load(x, 0, lanes), r.load(x, lanes, lanes)
        start = [b] * _CHAINS[target.vector_bits]
        with r.loop(0, _TURNS, carried=start) as loop:
            chains = list(loop.carried)
            for _ in range(_STEPS):
                chains = [r.fma(c, a, b) for c in chains]
            loop.carry(*chains)
        r.store(y, 0, sum(loop.results[1:], loop.results[0]))
    return r


def copying(target: Target) -> Routine:
    """The routine that copies a piece."""
    lanes = target.lanes()
    r = Routine("copying")
    x, y = r.reads("x", "float32", _PIECE), r.writes("y", "float32", _PIECE)
    with r.work(), r.loop(0, _PIECE, _VECTORS * lanes) as loop:
        for vector in range(_VECTORS):
            at = loop.index + vector * lanes
            r.store(y, at, r.load(x, at, lanes))
    return r


def _peak(threads: int, clock: Clock) -> float:
    target = host_target()
    lanes = target.lanes()
    routine = compiled("multiplying", 2, lambda: multiplying(target), sources=[__file__])
    x = np.full(2 * lanes, 0.5, np.float32)  # c · 0.5 + 0.5 stays near 1
    sums = [np.empty(lanes, np.float32) for _ in range(threads)]

    def run(y: int) -> Run:
        return lambda: routine(1, x.ctypes.data, y)

    done = _CHAINS[target.vector_bits] * lanes * 2 * _STEPS * _TURNS
    seconds = _medians([run(y.ctypes.data) for y in sums], clock)
    return sum(done / s for s in seconds)


def _bandwidth(threads: int, clock: Clock) -> float:
    target = host_target()
    routine = compiled("copying", 2, lambda: copying(target), sources=[__file__])
    pieces = max(1, _COPIED // threads // _PIECE)  # of one thread
    numbers = threads * pieces * _PIECE
    room = np.ones(2 * numbers + _LINE // 4, np.float32)  # written, so that it is really there
    x = math.ceil(room.ctypes.data / _LINE) * _LINE
    y = x + 4 * numbers

    def run(thread: int) -> Run:
        turn = 0

        def copy_the_next() -> None:
            nonlocal turn
            at = 4 * _PIECE * (thread * pieces + turn % pieces)
            routine(1, x + at, y + at)
            turn += 1

        return copy_the_next

    seconds = _medians([run(thread) for thread in range(threads)], clock)
    return sum(2 * 4 * _PIECE / s for s in seconds)


def _medians(runs: Sequence[Run], clock: Clock) -> list[float]:
    """The median seconds of each run, all of them repeated at once, each on a thread."""
    found = [0.0] * len(runs)
    together = threading.Barrier(len(runs))

    def repeat(number: int, run: Run) -> None:
        run()
        together.wait()
        taken: list[float] = []
        begin = clock()
        while len(taken) < _LEAST_RUNS or clock() - begin < _SECONDS:
            start = clock()
            run()
            taken.append(clock() - start)
        found[number] = statistics.median(taken)

    workers = [threading.Thread(target=repeat, args=pair) for pair in enumerate(runs)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return found
