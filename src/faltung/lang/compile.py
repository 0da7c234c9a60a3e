"""From a routine to machine code in this process.

    record -> LLVM assembly -> object code (kept on disk) -> address of `launch`

The record is already unrolled and vectorised, so LLVM runs no optimising passes on it; its code
generator, which allocates registers and schedules, is where most of the time goes.
"""

import ctypes
import hashlib
import os
import struct
import threading
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm

from . import threads
from .cache import ObjectCache
from .llvm_ir import llvm_ir
from .routine import Routine
from .target import Target, host_target, unavailable

_lock = threading.RLock()  # llvmlite is not to be entered twice at a time
if hasattr(os, "register_at_fork"):  # a child must not start with LLVM half way through something
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
    )
_engines: list[Any] = []  # what keeps the loaded code alive


class Compiled:
    """A routine's machine code: called with a number of threads and the buffers' addresses.

    `alone(*addresses)` does the same on the calling thread, which it starts on a little sooner. If
    `thread_bytes` is not 0, every thread needs so many bytes of scratch memory, and the address of
    `scratch.bytes_for(thread_bytes, threads)` comes last; `ops/scratch.py` gives it.
    """

    def __init__(self, loaded: tuple[int, int], buffers: int) -> None:
        address, self.thread_bytes = loaded
        self._addresses = buffers + (self.thread_bytes > 0)
        # ctypes hands on where the bytes of its argument are, and lets go of the interpreter's lock
        self._start: Callable[[bytes], None] = ctypes.CFUNCTYPE(None)(address)
        self._words = struct.Struct(f"{2 + self._addresses}q").pack
        self.alone: Callable[..., None] = _alone(self._start, self._words, self._addresses)

    def __call__(self, wanted: int, *addresses: int) -> None:
        """Run all items on at most `wanted` threads."""
        if wanted <= 1 or (pool := threads.pool()) is None:
            self.alone(*addresses)
        else:
            self._start(self._words(pool.address, wanted, *addresses))

    def on(self, count: Callable[[], int]) -> Callable[..., None]:
        """What runs it on at most `count()` threads, asked at each call: `launch(*addresses)`."""
        pool = threads.pool()
        if pool is None:
            return self.alone
        # the pool's words say that there is none any more in a forked child
        return _together(self._start, self._words, self._addresses, pool.address, count)


def _alone(
    start: Callable[[bytes], None], words: Callable[..., bytes], addresses: int
) -> Callable[..., None]:
    """What starts a routine on the calling thread; to collect any number of addresses is slower."""

    def three(a: int, b: int, c: int) -> None:
        start(words(0, 1, a, b, c))

    def four(a: int, b: int, c: int, d: int) -> None:
        start(words(0, 1, a, b, c, d))

    def several(*given: int) -> None:
        start(words(0, 1, *given))

    exact: dict[int, Callable[..., None]] = {3: three, 4: four}
    return exact.get(addresses, several)


def _together(
    start: Callable[[bytes], None], words: Callable[..., bytes], addresses: int, pool: int,
    count: Callable[[], int],
) -> Callable[..., None]:  # fmt: skip
    """What starts a routine on the threads of a pool."""

    def three(a: int, b: int, c: int) -> None:
        start(words(pool, count(), a, b, c))

    def four(a: int, b: int, c: int, d: int) -> None:
        start(words(pool, count(), a, b, c, d))

    def several(*given: int) -> None:
        start(words(pool, count(), *given))

    exact: dict[int, Callable[..., None]] = {3: three, 4: four}
    return exact.get(addresses, several)


def compiled(
    key: str,
    buffers: int,
    record: Callable[[], Routine],
    *,
    sources: Sequence[str] = (),
    store: ObjectCache | None = None,
) -> Compiled:
    """The machine code of the routine that `record()` records, of so many shared buffers.

    `key` says which routine of its author's file it is and `sources` which files, besides this
    package's, made it (`__file__` of the author, of its parts): if the store has an object for all
    of them as they are now, for this target and compiler, nothing is recorded. Raises
    `RuntimeError` where `unavailable()` has a reason to.
    """
    if reason := unavailable():
        raise RuntimeError(reason)
    target = host_target()
    store = store or ObjectCache.default()
    made_by = f"{_digest_of(tuple(sources))} llvmlite {llvm.llvm_version_info}"
    whole = f"{key}\n{target}\n{made_by}"
    found = store.load(whole)
    if found is None:
        routine = record()
        assert sum(not buffer.scratch for buffer in routine.buffers) == buffers, routine.name
        found = object_code(llvm_ir(routine), target)
        store.save(whole, found)
    return Compiled(_loaded(found), buffers)


@cache
def _digest_of(sources: tuple[str, ...]) -> str:
    """One digest of this package's files and the given ones, so that no old code outlives them."""
    ours = sorted(Path(__file__).parent.glob("*.py"))
    digest = hashlib.sha256()
    for path in (*ours, *map(Path, sources)):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def object_code(ir: str, target: Target) -> bytes:
    """The object file of a module's text."""
    if not target.has_fma:  # LLVM would call the C library for it, from inside of loops
        raise RuntimeError(f"routines need fused multiply-add, which {target.cpu} has not")
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


def _loaded(code: bytes) -> tuple[int, int]:
    """Put an object into executable memory; the address of `launch`, and its `thread_bytes`."""
    with _lock:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        host = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(jit=True)
        # LLVM's own memory manager may put code and constants too far apart for their relocations
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), host, use_lmm=True)
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        _engines.append(engine)
        address: int = engine.get_function_address("launch")
        thread_bytes = ctypes.CFUNCTYPE(ctypes.c_int64)(engine.get_function_address("thread_bytes"))
        return address, thread_bytes()
