"""Which algorithm does a spec, and why.

An operator family is a folder of algorithm files. Planning asks each file two questions about a
spec, `unsupported` (reasons, none means it can) and `seconds` (an estimate), takes the fastest
that can, and keeps all the answers, so that a plan can say why it is what it is. Under the setting
`measure` the estimates only say in which order to try, and `trials` runs the candidates.
"""

import importlib
import itertools
import math
import pkgutil
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from typing import Any

from .errors import ArgumentError
from .machine import Machine, this_machine
from .settings import Settings, by_estimate

Run = Callable[..., Any]

# where a file's algorithm runs, by the last part of its name
_DEVICES = {"cpu": ("cpu",), "triton": ("cuda",)}


_COMPILERS = ("llvmlite", "triton")  # where one is not installed, its algorithms are not there


class NoAlgorithmError(NotImplementedError):
    """No algorithm can do what was asked under the settings in force; the text lists why."""


class Algorithm(ABC):
    """One way to compute some tasks of one operator family: one file, one class, one instance.

    The file is named for the algorithm and ends in where it runs: `_torch` on anything PyTorch
    knows, `_cpu` through generated routines, `_triton` on CUDA. `ALGORITHM` is its instance.
    """

    tasks: frozenset[str]
    """The tasks it can do."""

    error_factor: float = 1.0
    """Most rounding error it may make, as a multiple of a direct sum's."""

    deterministic: bool = True
    """Whether every run gives the same bits."""

    weight_seconds: tuple[float, float] = (0.0, 0.0)
    """What is made of a new weight, and kept while it stays the same: seconds to begin with, and
    for each of its numbers, about."""

    @property
    def name(self) -> str:
        """The file's name."""
        return type(self).__module__.rpartition(".")[2]

    @abstractmethod
    def unsupported(self, spec: Any) -> list[str]:
        """Why it cannot do this spec, in sentences with the numbers; empty if it can."""

    @abstractmethod
    def seconds(self, spec: Any, machine: Machine) -> float:
        """Estimated time of one run on that machine."""

    def preparing(self, spec: Any, machine: Machine) -> float:
        """Estimated time of what is made of a new weight, and kept while it stays the same."""
        first, each = self.weight_seconds
        return first + each * spec.parameters if each else first

    def workspace(self, spec: Any) -> int:
        """Bytes it needs besides operands and result."""
        return 0

    def rewritten(self, spec: Any) -> Any:
        """The spec that it does in the place of this one, where another one is the same."""
        return spec

    def adds(self, spec: Any) -> bool:
        """Whether it adds a residual itself, where it stores its result; else someone else does."""
        return False

    @abstractmethod
    def build(self, spec: Any) -> Run:
        """The callable that does the task: `run(*operands) -> result`."""


@dataclass(frozen=True)
class Candidate:
    """An algorithm that can do the spec, with its estimates, and what it was seen to take.

    What it makes of a weight is in `preparing` and `seconds` where every call has another one, and
    in no measurement.
    """

    algorithm: Algorithm
    seconds: float
    workspace: int
    measured: float | None = None
    preparing: float = 0.0

    @property
    def name(self) -> str:
        """The algorithm's name."""
        return self.algorithm.name


# calls by algorithm; all its plans count in the same place, and go on when they are forgotten
_tallies: defaultdict[str, list[int]] = defaultdict(lambda: [0])


class Plan:
    """The chosen algorithm for a spec, what else was considered, and why the rest was not.

    `print(plan)` is the explanation. Nothing is built or compiled before the first run, unless it
    was measured. `threads` is the number of threads it holds for, 0 for any.
    """

    def __init__(
        self,
        spec: Any,
        candidates: tuple[Candidate, ...],
        rejected: dict[str, list[str]],
        threads: int = 0,
    ) -> None:
        self.spec = spec
        self.candidates = candidates
        self.rejected = rejected
        self.threads = threads
        self.tally = _tallies[self.algorithm]

    @property
    def chosen(self) -> Candidate:
        """The candidate that runs."""
        return self.candidates[0]

    @property
    def algorithm(self) -> str:
        """Name of the algorithm that runs."""
        return self.chosen.name

    @property
    def workspace(self) -> int:
        """Bytes the run needs besides operands and result."""
        return self.chosen.workspace

    @cached_property
    def run(self) -> Run:
        """The built algorithm, called with the task's operands."""
        return self.chosen.algorithm.build(self.spec)

    def __call__(self, *operands: Any) -> Any:
        """Do the task and count the call."""
        self.tally[0] += 1
        return self.run(*operands)

    def __str__(self) -> str:
        names = [c.name for c in self.candidates] + list(self.rejected)
        width = max(len(name) for name in names)
        measured = any(c.measured is not None for c in self.candidates)
        how = f", measured on {_counted_threads(self.threads)}" if measured else ""
        lines = [str(self.spec), f"  chosen: {self.algorithm}{how}"]
        for c in self.candidates:
            seen = f"{'not run':>24}" if measured else ""
            if c.measured is not None:
                seen = f"{_microseconds(c.measured)} (measured)"
            estimate = f"{_microseconds(c.seconds)} (estimate)"
            space = readable_bytes(c.workspace)
            really = c.algorithm.rewritten(self.spec)
            how = "" if really == self.spec else f"  as {really}"
            lines.append(f"  {c.name:<{width}} {seen}{estimate}  workspace {space}{how}")
        for name, reasons in self.rejected.items():
            lines.append(f"  {name:<{width}} {'-':>10}     {'; '.join(reasons)}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<Plan {self.algorithm}: {self.spec}>"


_plans: dict[tuple[Any, ...], Plan] = {}
_MOST_PLANS = 4096  # a model has hundreds; a stream of ever new shapes must not grow without end


def plan(spec: Any, family: str, settings: Settings) -> Plan:
    """The plan for a spec among the algorithms of a family's folder, remembered.

    Raises `NoAlgorithmError` if none can do it under these settings and `ArgumentError` if
    `settings.algorithm` names none.
    """
    threads = 0
    if settings.measure:
        from . import trials  # noqa: PLC0415  (planning by estimates needs no PyTorch)

        if trials.possible():
            threads = trials.threads()
        else:
            settings = by_estimate(settings)
    key = (spec, family, settings, threads)
    found = _plans.get(key)
    if found is None:
        if len(_plans) >= _MOST_PLANS:
            _forget()
        found = _plans[key] = _make(spec, family, settings, threads)
        if settings.debug:
            print(found)
    return found


def algorithms(family: str, device: str) -> tuple[Algorithm, ...]:
    """The algorithms of a family that run on a device: the files of its folder, by name."""
    return _algorithms(family, device.partition(":")[0])


def usage() -> Counter[str]:
    """How often each algorithm ran in this process; `native_torch` counts the fallbacks.

    Counts may miss a few calls made at the same instant by several threads.
    """
    return +Counter({name: count for name, (count,) in list(_tallies.items())})


def readable_bytes(count: float) -> str:
    """A byte count for people.

    >>> readable_bytes(3_500_000)
    '3.5 MB'
    """
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _forget() -> None:
    """Drop the older half of the plans."""
    for key in list(itertools.islice(_plans, len(_plans) // 2)):
        _plans.pop(key, None)


@cache
def _algorithms(family: str, device: str) -> tuple[Algorithm, ...]:
    package = importlib.import_module(f"{__package__}.ops.{family}.algorithms")
    names = sorted(info.name for info in pkgutil.iter_modules(package.__path__))
    # a family may make more of an algorithm than its file says
    adapted: Callable[[Algorithm], Algorithm] = getattr(package, "adapted", lambda a: a)
    found = []
    for name in names:
        suffix = name.rpartition("_")[2]
        if device not in _DEVICES.get(suffix, (device,)):
            continue
        try:
            module = importlib.import_module(f"{package.__name__}.{name}")
            found.append(adapted(module.ALGORITHM))
        except ModuleNotFoundError as missing:
            if (missing.name or "").partition(".")[0] not in _COMPILERS:
                raise
    return tuple(found)


def _microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:10.1f} us"


def _counted_threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _make(spec: Any, family: str, settings: Settings, threads: int) -> Plan:
    machine = this_machine()
    available = algorithms(family, spec.device)
    wanted = settings.algorithm
    if wanted is not None and wanted not in (names := [a.name for a in available]):
        raise ArgumentError(
            f"algorithm={wanted!r} is none of the algorithms of {family} on {spec.device}: "
            f"{', '.join(names)}"
        )
    candidates, rejected = [], {}
    for algorithm in available:
        reasons = _reasons(algorithm, spec, settings)
        if reasons:
            rejected[algorithm.name] = reasons
        else:
            before = algorithm.preparing(spec, machine) if settings.changing_weight else 0.0
            estimate = algorithm.seconds(spec, machine) + before
            space = algorithm.workspace(spec)
            candidates.append(Candidate(algorithm, estimate, space, preparing=before))
    if not candidates:
        refusals = "\n".join(f"  {name}: {'; '.join(why)}" for name, why in rejected.items())
        raise NoAlgorithmError(f"no algorithm of {family} can do\n  {spec}\nbecause\n{refusals}")
    candidates.sort(key=lambda c: (c.seconds, c.name))
    if threads and len(candidates) > 1:
        candidates = _measured(spec, family, candidates, settings)
    return Plan(spec, tuple(candidates), rejected, threads)


def _measured(
    spec: Any, family: str, candidates: list[Candidate], settings: Settings
) -> list[Candidate]:
    """The candidates with what they were seen to take, fastest first; then those not run."""
    from . import trials  # noqa: PLC0415  (planning by estimates needs no PyTorch)

    contestants = [
        trials.Contestant(c.name, c.seconds, partial(c.algorithm.build, spec)) for c in candidates
    ]
    figures = trials.figures(spec, family, contestants, settings.memory_limit)
    seen = [replace(c, measured=figures.get(c.name)) for c in candidates]
    # sorting keeps the order of the estimates among equals
    return sorted(seen, key=lambda c: math.inf if c.measured is None else c.measured + c.preparing)


def _reasons(algorithm: Algorithm, spec: Any, settings: Settings) -> list[str]:
    """Why an algorithm is out: the settings' reasons, then its own."""
    reasons = []
    if settings.algorithm is not None and algorithm.name != settings.algorithm:
        return [f"algorithm={settings.algorithm!r} was asked for"]
    if spec.task not in algorithm.tasks:
        return [f"does {', '.join(sorted(algorithm.tasks))}, not {spec.task}"]
    if settings.accuracy == "exact" and algorithm.error_factor > 1:
        reasons.append(f"rounds {algorithm.error_factor:g} times as much as a direct sum")
    if settings.deterministic and not algorithm.deterministic:
        reasons.append("is not deterministic")
    reasons += algorithm.unsupported(spec)
    limit = settings.memory_limit
    if not reasons and limit is not None and (need := algorithm.workspace(spec)) > limit:
        reasons.append(
            f"needs {readable_bytes(need)} of workspace, memory_limit is {readable_bytes(limit)}"
        )
    return reasons
