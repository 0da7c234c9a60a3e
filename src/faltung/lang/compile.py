"""From a routine to machine code in this process.

    record -> LLVM assembly -> object code (kept on disk) -> address of `launch`

The record is already unrolled and vectorised, so LLVM runs no optimising passes on it; its code
generator, which allocates registers and schedules, is where most of the time goes.
"""

import ctypes
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import llvmlite.binding as llvm

from . import threads
from .cache import ObjectCache
from .llvm_ir import llvm_ir
from .routine import Routine
from .target import Target, host_target

_lock = threading.Lock()  # llvmlite is not to be entered twice at a time
_engines: list[Any] = []  # what keeps the loaded code alive


class Compiled:
    """A routine's machine code: called with a number of threads and the buffers' addresses."""

    def __init__(self, address: int, buffers: int) -> None:
        kind = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, ctypes.c_int64,
                                *[ctypes.c_void_p] * buffers)  # fmt: skip
        self._launch = kind(address)
        self._address = address

    def __call__(self, wanted: int, *addresses: int) -> None:
        """Run all items on at most `wanted` threads; ctypes lets go of the interpreter's lock."""
        pool = threads.pool()
        if pool is None or wanted <= 1:
            self._launch(None, None, None, 1, *addresses)
        else:
            self._launch(pool.parallel, pool.thread, pool.threads, wanted, *addresses)


def compiled(
    key: str, buffers: int, record: Callable[[], Routine], store: ObjectCache | None = None
) -> Compiled:
    """The machine code of the routine that `record()` records.

    `key` must change whenever the routine would: if the store has an object for it, nothing is
    recorded. The target and the compiler's version are added to it here.
    """
    target = host_target()
    store = store or ObjectCache.default()
    whole = f"{key}\n{target}\nllvmlite {llvm.llvm_version_info}"
    found = store.load(whole)
    if found is None:
        routine = record()
        assert len(routine.buffers) == buffers, routine.name
        found = object_code(llvm_ir(routine), target)
        store.save(whole, found)
    return Compiled(_loaded(found), buffers)


def object_code(ir: str, target: Target) -> bytes:
    """The object file of a module's text."""
    with _lock:
        machine = _machine(target)
        with llvm.parse_assembly(ir) as module:
            module.triple = target.triple
            code: bytes = machine.emit_object(module)
    return code


def assembly(ir: str, target: Target) -> str:
    """A module as the target's assembler text, for reading and for tests."""
    with _lock, llvm.parse_assembly(ir) as module:
        module.triple = target.triple
        text: str = _machine(target).emit_assembly(module)
    return text


@cache
def _machine(target: Target) -> Any:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=2, reloc="pic", codemodel="small"
    )


def _loaded(code: bytes) -> int:
    """Put an object into executable memory; the address of `launch`."""
    with _lock:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        host = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(jit=True)
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), host)
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        _engines.append(engine)
        address: int = engine.get_function_address("launch")
    return address
