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

# level -> LLVM's name of the plain processor, what it takes for granted of which a machine might
# have none, bits of a vector; in the operating system's spelling, best level first
_V3 = ("avx2", "fma", "f16c", "bmi1", "bmi2", "abm", "movbe")
_LEVELS = {
    "avx512": ("x86-64-v4", (*_V3, *(f"avx512{p}" for p in ("f", "bw", "cd", "dq", "vl"))), 512),
    "avx2": ("x86-64-v3", _V3, 256),
    "sse4.2": ("x86-64-v2", ("sse4_2",), 128),
}
_SPELLING = {"sse4.2": "sse4_2", "bmi": "bmi1", "lzcnt": "abm"}  # LLVM's -> the system's


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
    triple, machine = llvm.get_process_triple(), platform.machine().lower()
    if machine in ("aarch64", "arm64"):
        return Target(triple, "generic", NEON.features, 128, has_fma=True)
    wanted = os.environ.get("FALTUNG_CPU", "")
    if wanted and wanted not in _LEVELS:
        raise ValueError(f"FALTUNG_CPU must be one of {', '.join(_LEVELS)}, got {wanted}")
    seen = _features_of_both()
    for level, (cpu, needed, bits) in _LEVELS.items() if machine in ("x86_64", "amd64") else ():
        if wanted == level or (not wanted and seen.issuperset(needed)):
            return Target(triple, cpu, "", bits, has_fma="fma" in needed)
    return Target(triple, "generic", "", 128, has_fma=False)


@cache
def unavailable() -> str | None:
    """Why routines cannot run on this machine; None if they can."""
    if not host_target().has_fma:
        return "routines need fused multiply-add (x86-64-v3 or ARMv8), which this processor has not"
    try:
        llvm.check_jit_execution()
    except OSError as error:
        return f"this system lets no process run code it has made: {error}"
    return None


def _features_of_both() -> set[str]:
    try:
        by_llvm = {name for name, on in llvm.get_host_cpu_features().items() if on}
    except RuntimeError:  # LLVM does not know this machine
        return set()
    by_llvm = {_SPELLING.get(name, name) for name in by_llvm}
    try:
        lines = _CPUINFO.read_text(errors="replace").splitlines()
    except OSError:  # not Linux
        return by_llvm
    flags = next((line for line in lines if line.startswith("flags")), None)
    return by_llvm & set(flags.partition(":")[2].split()) if flags else by_llvm
