"""How fast this computer really is: its peak of multiply-adds and its copying, measured.

    peak        c ← c · a + b in 12 or 24 independent chains a thread, all of it in registers
    bandwidth   y ← x over more memory than the caches near a core hold

Two routines in the language that all routines are written in, so the figures are what a perfect
routine of ours would reach: same vectors, same threads, same compiler. An FMA has a latency of 4
cycles on today's processors and two may start in each, so 8 chains are the least that keep the
units busy; more, as many as leave registers for a and b, hide what else is in the way. Bandwidth
counts bytes read and bytes written, and not what the caches fetch before they write.

Nobody measures by accident: `faltung doctor` and `faltung bench` do. It takes a few tenths of a
second. See docs/design/003-measuring.md.
"""

import math
import statistics
import time
from collections.abc import Callable

import numpy as np

from .lang import threads as pool
from .lang.compile import compiled
from .lang.routine import Routine
from .lang.target import Target, host_target
from .machine import Rates, keep_rates

_ROUNDS = 15
_TRIES = 2  # a round is the better of two, so that one interruption does not spoil it
_CHAINS = {512: 24, 256: 12, 128: 12}  # by bits of a vector: 32 registers with AVX-512, else 16
_STEPS = 4  # multiply-adds of a chain in one turn of the loop
_TURNS = 40_000  # about a millisecond
_COPIED = 8 << 20  # numbers: 32 MiB are read and 32 MiB written
_VECTORS = 8  # that one turn of the copying loop moves
_LINE = 64  # bytes, the alignment that PyTorch gives its tensors


def measure(threads: int, clock: Callable[[], float] = time.perf_counter) -> Rates:
    """Measure what that many threads can do at once, and keep it for this kind of computer.

    Each figure is the median of several rounds. Raises `RuntimeError` where no routine can run,
    and for more than one thread where this process has no pool of threads.
    """
    if threads > 1 and pool.pool() is None:
        raise RuntimeError(f"this process has no pool of threads to measure {threads} with")
    found = Rates(_peak(threads, clock), _bandwidth(threads, clock))
    keep_rates(threads, found)
    return found


def multiplying(threads: int, target: Target) -> Routine:
    """The routine that multiplies and adds: one item a thread, y [threads · lanes]."""
    lanes = target.lanes()
    r = Routine("multiplying", threads)
    x, y = r.reads("x", "float32", 2 * lanes), r.writes("y", "float32", threads * lanes)
    with r.work() as item:
        a, b = r.load(x, 0, lanes), r.load(x, lanes, lanes)
        start = [b] * _CHAINS[target.vector_bits]
        with r.loop(0, _TURNS, carried=start) as loop:
            chains = list(loop.carried)
            for _ in range(_STEPS):
                chains = [r.fma(c, a, b) for c in chains]
            loop.carry(*chains)
        r.store(y, item * lanes, sum(loop.results[1:], loop.results[0]))
    return r


def copying(threads: int, target: Target, count: int) -> Routine:
    """The routine that copies `count` numbers, which threads · 8 vectors must divide."""
    lanes, share = target.lanes(), count // threads
    r = Routine("copying", threads)
    x, y = r.reads("x", "float32", count), r.writes("y", "float32", count)
    with r.work() as item, r.loop(0, share, _VECTORS * lanes) as loop:
        for vector in range(_VECTORS):
            at = item * share + loop.index + vector * lanes
            r.store(y, at, r.load(x, at, lanes))
    return r


def _peak(threads: int, clock: Callable[[], float]) -> float:
    target = host_target()
    routine = compiled(
        f"multiplying {threads}", 2, lambda: multiplying(threads, target), sources=[__file__]
    )
    lanes = target.lanes()
    x = np.full(2 * lanes, 0.5, np.float32)  # c · 0.5 + 0.5 stays near 1
    y = np.empty(threads * lanes, np.float32)
    done = threads * _CHAINS[target.vector_bits] * lanes * 2 * _STEPS * _TURNS
    return done / _seconds(lambda: routine(threads, x.ctypes.data, y.ctypes.data), clock)


def _bandwidth(threads: int, clock: Callable[[], float]) -> float:
    target = host_target()
    turn = threads * _VECTORS * target.lanes()
    count = _COPIED // turn * turn
    routine = compiled(
        f"copying {threads} {count}", 2, lambda: copying(threads, target, count), sources=[__file__]
    )
    room = np.ones(2 * count + _LINE // 2, np.float32)  # written, so that it is really there
    x = math.ceil(room.ctypes.data / _LINE) * _LINE
    y = math.ceil((x + 4 * count) / _LINE) * _LINE
    return 2 * 4 * count / _seconds(lambda: routine(threads, x, y), clock)


def _seconds(run: Callable[[], None], clock: Callable[[], float]) -> float:
    """The median of several rounds' better tries, after one for the caches and the clock rate."""
    run()
    rounds = []
    for _ in range(_ROUNDS):
        tries = []
        for _ in range(_TRIES):
            start = clock()
            run()
            tries.append(clock() - start)
        rounds.append(min(tries))
    return statistics.median(rounds)
