"""What code is generated for: a processor's name, its features, and the width of its vectors.

LLVM's idea of the host can be wrong in a virtual machine (a name that implies AVX-512 which the
hypervisor switched off), so only features count that LLVM and the operating system both see, the
name is one of the plain levels, and `FALTUNG_CPU` overrides it all: `sse4.2`, `avx2`, `avx512`.
"""

import os
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import llvmlite.binding as llvm

_CPUINFO = Path("/proc/cpuinfo")

# level -> LLVM's name of the plain processor, the features our code may use, bits of a vector;
# in the operating system's spelling, best level first
_LEVELS = {
    "avx512": (
        "x86-64-v4",
        ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "avx2", "fma", "f16c", "bmi2"),
        512,
    ),
    "avx2": ("x86-64-v3", ("avx2", "fma", "f16c", "bmi2"), 256),
    "sse4.2": ("x86-64-v2", ("sse4_2",), 128),
}


@dataclass(frozen=True)
class Target:
    """A processor to generate code for."""

    triple: str
    cpu: str
    features: str
    vector_bits: int
    has_fma: bool

    def lanes(self, item_size: int = 4) -> int:
        """Numbers of that many bytes in one vector."""
        return self.vector_bits // 8 // item_size


# for assembling what this machine cannot run
NEON = Target("aarch64-unknown-linux-gnu", "generic", "+neon,+fp-armv8", 128, has_fma=True)
AVX512 = Target("x86_64-unknown-linux-gnu", "x86-64-v4", "", 512, has_fma=True)
AVX2 = Target("x86_64-unknown-linux-gnu", "x86-64-v3", "", 256, has_fma=True)


@cache
def host_target() -> Target:
    """This machine, as far as LLVM and the operating system agree on it."""
    triple = llvm.get_process_triple()
    if platform.machine().lower() in ("aarch64", "arm64"):
        return Target(triple, "generic", NEON.features, 128, has_fma=True)
    seen = _features_of_both()
    wanted = os.environ.get("FALTUNG_CPU", "")
    for level, (cpu, needed, bits) in _LEVELS.items():
        if wanted == level or (not wanted and seen.issuperset(needed)):
            return Target(triple, cpu, "", bits, has_fma="fma" in needed)
    return Target(triple, "generic", "", 128, has_fma=False)


def _features_of_both() -> set[str]:
    by_llvm = {name for name, on in llvm.get_host_cpu_features().items() if on}
    by_llvm = {name.replace("sse4.2", "sse4_2") for name in by_llvm}
    if not _CPUINFO.exists():
        return by_llvm
    for line in _CPUINFO.read_text().splitlines():
        if line.startswith("flags"):
            return by_llvm & set(line.partition(":")[2].split())
    return by_llvm
