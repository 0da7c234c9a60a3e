"""What this computer is: cores, vector width, caches, memory, and how fast it has been seen to be.

Facts are read from the system once. Nothing is timed here: `peak` and `bandwidth` are what
`measure.py` measured on some earlier occasion and kept in a file, or else nominal figures (what the
hardware could do on paper), good enough to order algorithms whose estimates lie far apart.

The file is `machine.json` in the folder of the object cache (see `kept.py`). A home may be shared
by many computers, so the file holds the figures of each kind. Trouble with it means nominal
figures, and never an error.
"""

import math
import os
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from . import kept

_CPUINFO = Path("/proc/cpuinfo")
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_NOMINAL_CLOCK = 2.5e9  # where the system does not say
_NOMINAL_BYTES_PER_CYCLE = 4  # a core's share of memory bandwidth on today's servers and laptops
_KEPT_BYTES = 1 << 19  # of a core's caches that an image is likely to be in
_KEPT_WAITING = 0.25  # of the time that memory takes for as many bytes
_MOST_BYTES = 1 << 20  # a kind of computer takes a hundred


@dataclass(frozen=True)
class Rates:
    """What some threads were seen to do at once, each on its core."""

    peak: float
    """float32 operations a second, a fused multiply-add counting two."""

    bandwidth: float
    """Bytes a second read and written together while copying."""


@dataclass(frozen=True)
class Machine:
    """One computer, seen from a process on it."""

    processor: str
    architecture: str
    cores: int
    clock: float
    vector_bits: int
    features: tuple[str, ...]
    caches: tuple[tuple[str, int], ...]
    memory: int
    measured: tuple[tuple[int, Rates], ...] = ()

    @property
    def kind(self) -> str:
        """What figures are kept under: the hardware, and what routines are limited to on it."""
        return _kind(self.processor, self.cores, self.vector_bits)

    @property
    def nominal(self) -> Rates:
        """On paper: cores · lanes · 2 units · 2 operations · clock, and some bytes a cycle."""
        peak = self.cores * self.vector_bits / 32 * 2 * 2 * self.clock
        return Rates(peak, self.cores * _NOMINAL_BYTES_PER_CYCLE * self.clock)

    @property
    def peak(self) -> float:
        """float32 operations a second of all cores: measured, else nominal."""
        return (self.rates(self.cores) or self.nominal).peak

    @property
    def bandwidth(self) -> float:
        """Bytes a second to and from memory with all cores: measured, else nominal."""
        return (self.rates(self.cores) or self.nominal).bandwidth

    def moving(self, count: float) -> float:
        """Seconds for that many bytes, less than memory takes where caches are likely to have them.

        An image that fits a quarter of the second caches is mostly still there from the layer
        before; one twice as large has pushed itself out.
        """
        kept = self.cores * _KEPT_BYTES
        waiting = min(max(count / kept - 1, _KEPT_WAITING), 1.0)
        return waiting * count / self.bandwidth

    def rates(self, threads: int) -> Rates | None:
        """What that many threads were measured to do, if they ever were."""
        return dict(self.measured).get(threads)


@lru_cache(maxsize=1)
def this_machine() -> Machine:
    """The computer this process runs on, with the measured rates that are kept for its kind."""
    info = _CPUINFO.read_text() if _CPUINFO.exists() else ""
    flags = _line(info, "flags") or _line(info, "Features")
    features = tuple(sorted(set(flags.split()) & set(_VECTOR_BITS)))
    bits = max((_VECTOR_BITS[name] for name in features), default=128)
    bits = min(bits, _LIMITS.get(os.environ.get("FALTUNG_CPU", ""), bits))
    megahertz = _line(info, "cpu MHz")
    processor = _line(info, "model name") or platform.processor() or "unknown"
    cores = _cores()
    return Machine(
        processor=processor,
        architecture=platform.machine(),
        cores=cores,
        clock=float(megahertz) * 1e6 if megahertz else _NOMINAL_CLOCK,
        vector_bits=bits,
        features=features,
        caches=_caches(),
        memory=_memory(),
        measured=tuple(_kept_rates(_kind(processor, cores, bits))),
    )


def keep_rates(threads: int, rates: Rates) -> None:
    """Keep measured rates for this kind of computer; `this_machine()` has them from now on.

    Another process may write at the same moment: then one of the two figures is lost, and measured
    again some day. Where nothing can be kept, nothing is.
    """
    kind, path = this_machine().kind, rates_file()
    if path is not None:
        table = kept.read_table(path, _MOST_BYTES)
        found = dict(_read_rates(table.get(kind)))
        found[threads] = rates
        table[kind] = {str(n): vars(rates) for n, rates in sorted(found.items())}
        kept.write_table(path, table)
    this_machine.cache_clear()


def forget_rates() -> None:
    """Remove what is kept, of every kind of computer; `this_machine()` is nominal again."""
    kept.remove(rates_file())
    this_machine.cache_clear()


def rates_file() -> Path | None:
    """Where measured rates are kept; None where the user wants nothing kept, or has no home."""
    return kept.path_of("machine.json")


# instruction sets that matter here, with the width of their registers
_VECTOR_BITS = {"sse4_2": 128, "asimd": 128, "fma": 128, "avx": 256, "avx2": 256, "avx512f": 512}
# to which `FALTUNG_CPU` limits routines: estimates are for a machine that has no more
_LIMITS = {"sse4.2": 128, "avx2": 256, "avx512": 512}


def _kind(processor: str, cores: int, vector_bits: int) -> str:
    limit = os.environ.get("FALTUNG_CPU", "")
    return f"{processor}, {cores} cores, {vector_bits} bits{limit and f', as {limit}'}"


def _kept_rates(kind: str) -> Iterator[tuple[int, Rates]]:
    path = rates_file()
    if path is not None:
        yield from _read_rates(kept.read_table(path, _MOST_BYTES).get(kind))


def _read_rates(entry: Any) -> Iterator[tuple[int, Rates]]:
    """The rates that a table's entry makes sense as; what makes none is as good as not there."""
    for threads, rates in entry.items() if isinstance(entry, dict) else ():
        numbers = [rates.get(n) for n in ("peak", "bandwidth")] if isinstance(rates, dict) else [0]
        sensible = all(isinstance(n, float) and 0 < n < math.inf for n in numbers)
        if sensible and threads.isdecimal():
            yield int(threads), Rates(*numbers)


def _cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _line(info: str, name: str) -> str:
    match = re.search(rf"^{name}\s*:\s*(.*)$", info, re.MULTILINE)
    return match[1].strip() if match else ""


def _caches() -> tuple[tuple[str, int], ...]:
    """Name and bytes of each data cache of one core, nearest first."""
    found = []
    for index in sorted(_CACHES.glob("index*")):
        try:
            level = (index / "level").read_text().strip()
            kind = (index / "type").read_text().strip()
            size = (index / "size").read_text().strip()
        except OSError:
            continue
        if kind != "Instruction":
            found.append((f"L{level}", _parsed_size(size)))
    return tuple(found)


def _parsed_size(text: str) -> int:
    unit = {"K": 1024, "M": 1024**2, "G": 1024**3}.get(text[-1:], 1)
    return int(text.rstrip("KMG")) * unit


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 0
