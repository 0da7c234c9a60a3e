"""Results as JSON: what a file holds, how it is named, and the check that it holds that.

One file per version and machine, `<version>/<machine>.json`, so that nothing is ever compared
across machines by accident. Times are seconds, rates are per second.
"""

import json
import os
import platform
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import UnionType
from typing import Any

from ... import __version__
from ...errors import ArgumentError
from ...machine import Machine, Rates
from .outcome import Entry, Outcome, means
from .overhead import Making

SCHEMA = 1
"""Changes when what a file holds does."""

_PACKAGES = ("torch", "onnxruntime", "llvmlite", "numpy")
_NUMBER = int | float

_ENTRY = {
    "who": str, "layout": str, "algorithm": str | None, "planned": bool,
    "median": _NUMBER, "rounds": [_NUMBER],
}  # fmt: skip
_SPEED = {
    "algorithm": str, "layout": str, "seconds": _NUMBER, "flops": _NUMBER, "of_peak": _NUMBER,
    "of_copying": _NUMBER,
}  # fmt: skip

# what a file looks like: a type, a list of one thing, a dictionary of known or of any (*) names;
# a pair of None and something may be null
_SHAPE: Any = {
    "schema": int,
    "version": str,
    "commit": str | None,
    "date": str,
    "machine": {
        "name": str, "processor": str, "architecture": str, "cores": int, "vector_bits": int,
        "memory": int, "system": str, "load": (None, [_NUMBER]),
    },
    "software": {"*": str | None},
    "method": {
        "threads": int, "rounds": int, "pause": _NUMBER, "turn": _NUMBER, "limit": _NUMBER,
    },
    "rates": {"peak": _NUMBER, "bandwidth": _NUMBER},
    "cases": [
        {
            "family": str, "name": str, "problem": str, "network": str,
            "executed_flops": int, "bytes": int,
            "ours": (None, _SPEED),
            "best_peer": (None, {"who": str, "layout": str, "seconds": _NUMBER}),
            "ratio": int | float | None,
            "everyone": [_ENTRY], "notes": [str], "complaints": [str],
        }
    ],
    "geometric_means": {"*": _NUMBER},
    "routines": [
        {"algorithm": str, "problem": str, "compile_seconds": _NUMBER, "load_seconds": _NUMBER}
    ],
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """Everything that a run of the benchmark found, and under what conditions."""

    machine: Machine
    rates: Rates
    threads: int
    method: dict[str, float]
    date: str
    outcomes: Sequence[Outcome]
    makings: Sequence[Making] = ()


def facts(run: Run) -> dict[str, Any]:
    """What goes into the file."""
    machine = run.machine
    return {
        "schema": SCHEMA,
        "version": __version__,
        "commit": commit(),
        "date": run.date,
        "machine": {
            "name": machine_name(machine),
            "processor": machine.processor,
            "architecture": machine.architecture,
            "cores": machine.cores,
            "vector_bits": machine.vector_bits,
            "memory": machine.memory,
            "system": f"{platform.system()} {platform.release()}",
            "load": _load(),
        },
        "software": {"python": platform.python_version()} | {p: _version(p) for p in _PACKAGES},
        "method": {"threads": run.threads} | run.method,
        "rates": vars(run.rates),
        "cases": [_case(outcome, run.rates) for outcome in run.outcomes],
        "geometric_means": means(run.outcomes),
        "routines": [
            {
                "algorithm": making.algorithm,
                "problem": making.case.problem,
                "compile_seconds": making.compile_seconds,
                "load_seconds": making.load_seconds,
            }
            for making in run.makings
        ],
    }


def write(run: Run, target: Path) -> Path:
    """Write the file, into a folder under its own name; the path it has in the end."""
    return write_document(facts(run), target, run.machine)


def write_document(document: Any, target: Path, machine: Machine, kind: str = "") -> Path:
    """Write anything that is JSON; in a folder it is named for version, machine and kind."""
    if target.is_dir():
        name = machine_name(machine) + (kind and f"-{kind}")
        target = target / __version__ / f"{name}.json"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    except OSError as trouble:
        raise ArgumentError(f"--json {target} cannot be written: {trouble}") from trouble
    return target


def machine_name(machine: Machine) -> str:
    """The machine's kind as a file name.

    >>> from faltung.machine import Machine
    >>> machine_name(Machine("AMD EPYC 7B13 (R)", "x86_64", 2, 2.4e9, 256, (), (), 0))
    'amd-epyc-7b13-2-cores-256-bits'
    """
    words = re.findall(r"[a-z0-9]+", re.sub(r"\((r|tm)\)", "", machine.processor.lower()))
    return "-".join([*words, f"{machine.cores}-cores-{machine.vector_bits}-bits"])


def complaints(found: Any, shape: Any = None, where: str = "") -> list[str]:
    """What a file's contents have that they should not, or lack; empty if nothing.

    >>> complaints({"schema": 1})[0]
    'cases is missing'
    """
    shape = _SHAPE if shape is None else shape
    if isinstance(shape, tuple):
        return [] if found is None else complaints(found, shape[1], where)
    if isinstance(shape, type | UnionType):
        fits = isinstance(found, shape) and (shape is bool or not isinstance(found, bool))
        return [] if fits else [f"{where} is {found!r}, not {_type_name(shape)}"]
    if isinstance(shape, list):
        if not isinstance(found, list):
            return [f"{where} is no list"]
        return [
            c for n, item in enumerate(found) for c in complaints(item, shape[0], f"{where}[{n}]")
        ]
    if not isinstance(found, dict):
        return [f"{where} is no dictionary"]
    if "*" in shape:
        shape = dict.fromkeys(found, shape["*"])
    path = f"{where}." if where else ""
    lacking = [f"{path}{name} is missing" for name in sorted(shape.keys() - found.keys())]
    unknown = [f"{path}{name} is not known" for name in sorted(found.keys() - shape.keys())]
    known = sorted(shape.keys() & found.keys())
    inside = [c for name in known for c in complaints(found[name], shape[name], f"{path}{name}")]
    return lacking + unknown + inside


def commit() -> str | None:
    """The commit that runs, with + if files differ from it; None outside of a repository."""
    package = Path(__file__).parents[2]
    try:
        # installed below someone else's repository, the package is not a part of it
        _git(package, "ls-files", "--error-unmatch", "__init__.py")
        found = _git(package, "rev-parse", "--short", "HEAD")
        changed = _git(package, "status", "--porcelain", ".")
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.strip() + ("+" if changed.strip() else "")


def _git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _case(outcome: Outcome, rates: Rates) -> dict[str, Any]:
    case, ours, peer = outcome.case, outcome.ours, outcome.best_peer
    return {
        "family": case.family,
        "name": case.name,
        "problem": case.problem,
        "network": case.network,
        "executed_flops": 2 * outcome.spec.executed_macs,
        "bytes": outcome.spec.bytes,
        "ours": None if ours is None else {
            "algorithm": ours.who.algorithm,
            "layout": ours.who.layout,
            "seconds": ours.seconds,
            "flops": outcome.flops(ours),
            "of_peak": outcome.of_peak(ours, rates),
            "of_copying": outcome.of_copying(ours, rates),
        },
        "best_peer": None if peer is None else {
            "who": peer.who.who, "layout": peer.who.layout, "seconds": peer.seconds,
        },
        "ratio": outcome.ratio,
        "everyone": [_entry(entry) for entry in outcome.entries],
        "notes": list(outcome.notes),
        "complaints": list(outcome.complaints),
    }  # fmt: skip


def _entry(entry: Entry) -> dict[str, Any]:
    who = entry.who
    return {
        "who": who.who, "layout": who.layout, "algorithm": who.algorithm, "planned": who.planned,
        "median": entry.seconds, "rounds": list(entry.timing.rounds),
    }  # fmt: skip


def _load() -> list[float] | None:
    """How busy the machine was on average, over 1, 5 and 15 minutes."""
    return list(os.getloadavg()) if hasattr(os, "getloadavg") else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _type_name(shape: Any) -> str:
    return getattr(shape, "__name__", str(shape))
