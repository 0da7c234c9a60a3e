"""`faltung doctor`: what machine and what software this is, and whether a convolution is right."""

import platform
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import torch
from rich.console import Group, RenderableType

from .. import __version__, by_hand, functional, measure
from ..machine import Machine, Rates, this_machine
from ..planning import algorithms, readable_bytes
from .budget import WrongResultError, assert_equal
from .printing import new_table
from .problems import READERS

_PACKAGES = ("torch", "numpy", "llvmlite", "typer", "rich", "matplotlib", "onnxruntime")


@dataclass(frozen=True)
class Diagnosis:
    """Everything the doctor saw."""

    versions: dict[str, str]
    machine: Machine
    measured: dict[int, Rates]
    unmeasured: str
    device: str
    threads: int
    families: dict[str, list[str]]
    complaint: str

    @property
    def healthy(self) -> bool:
        """Whether the check passed and every family has an algorithm."""
        return not self.complaint and all(self.families.values())


def examine() -> Diagnosis:
    """Look at the machine, the installation, and one convolution."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    families = {name: [a.name for a in algorithms(name, device)] for name in READERS}
    versions = {"faltung": __version__, "Python": platform.python_version()}
    versions |= {name: _version(name) for name in _PACKAGES}
    measured, unmeasured = _measured()
    return Diagnosis(
        versions, this_machine(), measured, unmeasured, device, torch.get_num_threads(), families,
        check(device),
    )  # fmt: skip


def check(device: str) -> str:
    """What is wrong with a convolution on the device, by its definition; empty if nothing is."""
    numbers = torch.Generator().manual_seed(0)
    x = torch.randint(-3, 4, (1, 4, 9, 7), generator=numbers).float()
    w = torch.randint(-3, 4, (6, 2, 3, 3), generator=numbers).float()
    try:
        y = functional.conv2d(x.to(device), w.to(device), stride=2, padding=1, groups=2)
        assert_equal(y.cpu(), by_hand.conv(x, w, stride=2, padding=1, groups=2))
    except (WrongResultError, RuntimeError, NotImplementedError, OSError) as wrong:
        return f"conv2d {wrong}"
    return ""


def report(found: Diagnosis) -> RenderableType:
    """The diagnosis for people."""
    machine = found.machine
    caches = ", ".join(f"{name} {_binary(size)}" for name, size in machine.caches)
    table = new_table("", "")
    table.show_header = False
    table.columns[1].justify = "left"
    for name, version in found.versions.items():
        table.add_row(name, version)
    table.add_section()
    table.add_row("system", f"{platform.system()} {platform.release()}, {machine.architecture}")
    table.add_row("processor", machine.processor)
    table.add_row("cores", f"{machine.cores}, PyTorch uses {found.threads}")
    table.add_row("vectors", f"{machine.vector_bits} bits ({' '.join(machine.features) or '-'})")
    table.add_row("caches of a core", caches or "unknown")
    table.add_row("memory", _binary(machine.memory) if machine.memory else "unknown")
    table.add_row("nominal", _rates(machine.nominal))
    for threads, rates in found.measured.items():
        threads_used = "1 thread" if threads == 1 else f"{threads} threads"
        table.add_row(f"measured, {threads_used}", _rates(rates))
    if found.unmeasured:
        table.add_row("measured", f"not: {found.unmeasured}")
    table.add_section()
    for family, names in found.families.items():
        table.add_row(f"{family} on {found.device}", ", ".join(names) or "no algorithm")
    table.add_section()
    verdict = found.complaint or "equals its definition"
    table.add_row("a convolution", verdict, style="red" if found.complaint else "green")
    return Group(table)


def facts(found: Diagnosis) -> dict[str, Any]:
    """The diagnosis for programs."""
    machine = found.machine
    return {
        "healthy": found.healthy,
        "complaint": found.complaint,
        "versions": found.versions,
        "system": platform.platform(),
        "processor": machine.processor,
        "architecture": machine.architecture,
        "cores": machine.cores,
        "threads": found.threads,
        "vector_bits": machine.vector_bits,
        "features": list(machine.features),
        "caches": dict(machine.caches),
        "memory": machine.memory,
        "peak": machine.peak,
        "bandwidth": machine.bandwidth,
        "nominal": vars(machine.nominal),
        "measured": {str(threads): vars(rates) for threads, rates in found.measured.items()},
        "device": found.device,
        "algorithms": found.families,
    }


def _measured() -> tuple[dict[int, Rates], str]:
    """The rates of one core and of all, measured and kept; and why there are none."""
    found: dict[int, Rates] = {}
    try:
        for threads in sorted({1, this_machine().cores}):
            found[threads] = measure.measure(threads)
    except RuntimeError as reason:
        return found, str(reason)
    return found, ""


def _rates(rates: Rates) -> str:
    return f"{rates.peak / 1e9:.0f} GF/s float32, copying {readable_bytes(rates.bandwidth)}/s"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _binary(size: float) -> str:
    """A memory size in the powers of two that caches and memory come in."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:g} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
