"""What the language's tests share: one routine run by the interpreter and as machine code."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faltung.lang import compile as lang_compile
from faltung.lang.compile import Compiled, object_code
from faltung.lang.interpret import interpret
from faltung.lang.llvm_ir import llvm_ir
from faltung.lang.routine import Routine
from faltung.lang.target import AVX2, Target, host_target, unavailable

Memory = dict[str, Any]

# the package's folder as `faltung`, without its __init__, which imports torch
_WITHOUT_TORCH = """
import sys, types
package = types.ModuleType("faltung")
package.__path__ = [{path!r}]
sys.modules["faltung"] = package
"""


def _runnable() -> list[Target]:
    """What this machine can run: its own target, and AVX2 where that is AVX-512."""
    host = host_target()
    return [host, *([AVX2] if host.vector_bits == 512 else [])]


def _bits(array: Any) -> Any:
    """The bits of floating-point numbers, of which a NaN has only one pattern."""
    whole = np.dtype(f"u{array.dtype.itemsize}")
    if array.dtype == np.uint16:  # bfloat16
        return np.where(array & 0x7FFF > 0x7F80, np.uint16(0x7FC0), array)
    return np.where(np.isnan(array), whole.type(2 ** (8 * whole.itemsize) - 1), array.view(whole))


def _machine_code(routine: Routine, target: Target | None = None) -> Compiled:
    code = object_code(llvm_ir(routine), target or host_target())
    shared = sum(not buffer.scratch for buffer in routine.buffers)
    return Compiled(lang_compile._loaded(code), shared)


@pytest.fixture(scope="session")
def bits() -> Callable[[Any], Any]:
    return _bits


@pytest.fixture(scope="session")
def machine_code() -> Callable[..., Compiled]:
    """A routine, and perhaps a target -> its machine code, past every cache."""
    if reason := unavailable():
        pytest.skip(reason)
    return _machine_code


@pytest.fixture(scope="session")
def agree() -> Callable[..., Memory]:
    """Run a routine both ways; the memory afterwards, which must be the same to the bit.

    What an item leaves in scratch memory is nobody's affair.
    """

    def run(routine: Routine, memory: Memory) -> Memory:
        meant = {name: array.copy() for name, array in memory.items()}
        interpret(routine, meant)
        if unavailable():
            return meant
        for target in _runnable():
            found = {name: array.copy() for name, array in memory.items()}
            shared = [b for b in routine.buffers if not b.scratch]
            addresses = [found[b.name].ctypes.data for b in shared]
            made = _machine_code(routine, target)
            own = np.full(made.thread_bytes, 0xFF, np.uint8)
            made(1, *addresses, *[own.ctypes.data] * bool(own.size))
            for buffer in shared:
                name = buffer.name
                same = _bits(found[name]) == _bits(meant[name])
                assert same.all(), (
                    f"{target.cpu} {name}[{np.flatnonzero(~same)[:4]}]: meant "
                    f"{meant[name][~same][:4]}, found {found[name][~same][:4]}"
                )
        return meant

    return run


@pytest.fixture(scope="session")
def python() -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Run a program in a process of its own, in which nothing has imported torch."""
    import faltung

    path = str(Path(faltung.__file__).parent)

    def run(
        program: str, *, exits: int = 0, timeout: float = 60.0
    ) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [sys.executable, "-c", _WITHOUT_TORCH.format(path=path) + program],
            capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        assert done.returncode == exits, (
            f"exit {done.returncode}, expected {exits}\n{done.stdout}\n{done.stderr}"
        )
        return done

    return run


@pytest.fixture(scope="session")
def segfault() -> int:
    return -int(signal.SIGSEGV)
