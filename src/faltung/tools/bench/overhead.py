"""What it costs to have a routine: compiling it cold, and loading it from the disk.

Cold is a build with an empty folder of objects, in a process that has compiled before; warm is the
same build again with the folder filled. Both end with code that can be called; neither runs it.
"""

import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from ... import planning
from ...ops.conv.spec import ConvSpec
from ...planning import Algorithm
from .cases import Case
from .rounds import Clock

_TRIES = 5
_MOST_CASES = 3  # of one algorithm: the first that it can do


@dataclass(frozen=True)
class Making:
    """Seconds to make the routine of a case, from nothing and from the disk."""

    algorithm: str
    case: Case
    compile_seconds: float
    load_seconds: float


def makings(
    cases: Sequence[Case], tries: int = _TRIES, clock: Clock = time.perf_counter
) -> list[Making]:
    """The cost of a few routines of each of our algorithms that compile any."""
    compiling = [a for a in planning.algorithms("conv", "cpu") if a.name.endswith("_cpu")]
    return [
        _making(algorithm, case, spec, tries, clock)
        for algorithm in compiling
        for case, spec in itertools.islice(_doable(algorithm, cases), _MOST_CASES)
    ]


def _doable(algorithm: Algorithm, cases: Sequence[Case]) -> Iterator[tuple[Case, ConvSpec]]:
    """The cases that an algorithm can do, in the layout it takes."""
    for case in cases:
        for layout in ("contiguous", "channels_last"):
            spec = replace(case.spec, layout=layout)
            if spec.task in algorithm.tasks and not algorithm.unsupported(spec):
                yield case, spec
                break


def _making(algorithm: Algorithm, case: Case, spec: ConvSpec, tries: int, clock: Clock) -> Making:
    cold: list[float] = []
    warm: list[float] = []
    algorithm.build(spec)  # whatever has to be done once in a process
    for _ in range(tries):
        with _empty_cache():
            for seconds in (cold, warm):
                begin = clock()
                algorithm.build(spec)
                seconds.append(clock() - begin)
    return Making(algorithm.name, case, statistics.median(cold), statistics.median(warm))


@contextmanager
def _empty_cache() -> Iterator[None]:
    """An object cache in a folder of its own, for a while."""
    before = os.environ.get("FALTUNG_CACHE")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FALTUNG_CACHE"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["FALTUNG_CACHE"]
            else:
                os.environ["FALTUNG_CACHE"] = before
