"""What this computer is: cores, vector width, caches, memory.

Facts are read from the system once; nothing is timed here yet, so `peak` and `bandwidth` are
nominal figures (what the hardware could do on paper), good enough to order algorithms whose
estimates lie far apart.
"""

import os
import platform
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_NOMINAL_CLOCK = 2.5e9  # where the system does not say
_NOMINAL_BYTES_PER_CYCLE = 4  # a core's share of memory bandwidth on today's servers and laptops


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

    @property
    def peak(self) -> float:
        """Nominal float32 operations a second: cores · lanes · 2 units · 2 operations · clock."""
        return self.cores * self.vector_bits / 32 * 2 * 2 * self.clock

    @property
    def bandwidth(self) -> float:
        """Nominal bytes a second to and from memory."""
        return self.cores * _NOMINAL_BYTES_PER_CYCLE * self.clock


@lru_cache(maxsize=1)
def this_machine() -> Machine:
    """The computer this process runs on."""
    info = _CPUINFO.read_text() if _CPUINFO.exists() else ""
    flags = _line(info, "flags") or _line(info, "Features")
    features = tuple(sorted(set(flags.split()) & set(_VECTOR_BITS)))
    bits = max((_VECTOR_BITS[name] for name in features), default=128)
    megahertz = _line(info, "cpu MHz")
    return Machine(
        processor=_line(info, "model name") or platform.processor() or "unknown",
        architecture=platform.machine(),
        cores=_cores(),
        clock=float(megahertz) * 1e6 if megahertz else _NOMINAL_CLOCK,
        vector_bits=bits,
        features=features,
        caches=_caches(),
        memory=_memory(),
    )


# instruction sets that matter here, with the width of their registers
_VECTOR_BITS = {"sse4_2": 128, "asimd": 128, "fma": 128, "avx": 256, "avx2": 256, "avx512f": 512}


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
