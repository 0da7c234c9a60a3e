"""Routines find scratch memory for the threads of a call by themselves."""

import ctypes
import importlib
import struct
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from faltung.lang import scratch as layout
from faltung.lang.compile import Compiled, compiled
from faltung.lang.routine import Routine
from faltung.ops import memory
from faltung.ops.calling import launcher
from faltung.ops.conv import transformed_filters
from faltung.ops.conv.spec import ConvSpec
from faltung.ops.scratch import scratch_bytes, with_scratch


class Filling(Compiled):
    """A routine that notes how it is called and fills its memory, which may be read and written.

    `meanwhile` is done while it runs.
    """

    def __init__(self, thread_bytes: int, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.thread_bytes, self.meanwhile = thread_bytes, meanwhile
        self.calls: list[tuple[int, ...]] = []
        self.places: list[int] = []
        self.alone = lambda *addresses: self(1, *addresses)

    def __call__(self, wanted: int, *addresses: int) -> None:
        *given, own = addresses
        self.calls.append((wanted, *given))
        self.places.append(own)
        size = layout.bytes_for(self.thread_bytes, wanted)
        ctypes.memset(own, wanted, size)
        self.meanwhile()
        assert ctypes.string_at(own, size) == bytes([wanted]) * size
        assert own % 64 == 0


@pytest.mark.parametrize("size", [64, 4096, 1 << 20])
def test_memory_comes_last_and_is_as_large_as_the_threads_need(size: int) -> None:
    inner = Filling(size)
    routine = with_scratch(inner)
    routine(3, 11, 12)
    routine.alone(21)
    routine(1)
    routine(0, 31)
    assert inner.calls == [(3, 11, 12), (1, 21), (1,), (0, 31)]


@pytest.mark.parametrize("size", [64, 1 << 20])
def test_calls_at_a_time_have_different_memory(size: int) -> None:
    depth = [3]

    def again() -> None:
        depth[0] -= 1
        if depth[0]:
            routine(depth[0] + 1, 1)

    inner = Filling(size, again)
    routine = with_scratch(inner)
    routine(4, 1)
    assert [threads for threads, _ in inner.calls] == [4, 3, 2]
    assert len(set(inner.places)) == 3


def test_large_memory_is_kept_for_the_next_call() -> None:
    memory.empty_cache()
    inner = Filling(1 << 20)
    routine = with_scratch(inner)
    torch.use_deterministic_algorithms(False)  # new memory is asked for to see what is unwritten
    for _ in range(3):
        routine(2)
    assert len(set(inner.places)) == 1
    assert memory.kept_bytes() == layout.bytes_for(1 << 20, 2)
    memory.empty_cache()


def test_what_needs_no_scratch_stays_as_it_is() -> None:
    assert with_scratch(routine := Filling(0)) is routine


def test_a_launcher_runs_it_alone_or_on_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 5)
    inner = Filling(128)
    launcher(with_scratch(inner), 1000, 1000)(7)
    launcher(with_scratch(inner), 10**9, 1000)(8)
    assert inner.calls == [(1, 7), (5, 8)]


def test_bytes_are_those_of_the_routine(monkeypatch: pytest.MonkeyPatch) -> None:
    r = Routine("any", items=1)
    y, _, _ = (
        r.writes("y", "float32", 1),
        r.scratch("a", "float32", 1000),
        r.scratch("b", "float64", 3),
    )
    with r.work():
        r.store(y, 0, r.const(1, "f32"))
    routine = compiled("scratch of any routine", 1, lambda: r, sources=[__file__])
    assert scratch_bytes(4, 1000, 0, 6) == routine.thread_bytes > 4024
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert scratch_bytes(4, 1000, 6) == 3 * routine.thread_bytes + 2 * 4096
    assert scratch_bytes(8, 0) == scratch_bytes(8) == 0
    with pytest.raises(struct.error, match="expected 4 items"):  # it cannot be forgotten
        routine(1, y.count)


def operands_of(spec: ConvSpec) -> list[Tensor]:
    orders = {4: torch.channels_last, 5: torch.channels_last_3d}
    last = spec.layout == "channels_last"
    return [
        t.contiguous(memory_format=orders[t.dim()] if last else torch.contiguous_format)
        for t in (torch.ones(shape) for shape in spec.operand_shapes)
    ]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("depthwise_blocked", "forward n1 c20 o20 i9x8 k3x3 p1 g20"),
        ("depthwise_channels_last", "forward n1 c20 o20 i9x8 k3x3 p1 g20 gelu channels_last"),
        ("depthwise_winograd", "forward n1 c20 o20 i20x8 k7x3 p3x1 g20"),
        ("direct_channels", "forward n1 c3 o20 i9x8 k3x3 p1"),
        ("implicit_gemm", "forward n1 c20 o20 i9x8 k3x3 p1"),
        ("phases", "grad_input n1 c20 o20 i9x8 k3x3 s2"),
        ("row_pairs", "forward n1 c20 o20 i9x8 k3x3 p1"),
        ("strassen", "forward n1 c40 o40 i9x8 k1x1"),
        ("winograd", "forward n1 c20 o20 i9x8 k3x3 p1"),
        ("weight_channels_last", "grad_weight n1 c20 o20 i9x8 k3x3 p1 g20 channels_last"),
        ("weight_gemm", "grad_weight n1 c20 o20 i9x8 k3x3 p1"),
        ("weight_rows", "grad_weight n1 c20 o20 i9x8 k3x3 p1 g20"),
        ("weight_winograd", "grad_weight n1 c20 o20 i9x8 k3x3 p1"),
    ],
)
def test_workspace_counts_what_routines_need(
    monkeypatch: pytest.MonkeyPatch, name: str, problem: str, threads: int
) -> None:
    module = importlib.import_module(f"faltung.ops.conv.algorithms.{name}_cpu")
    spec = ConvSpec.parse(f"{problem} float32 cpu")
    needed, counted = [], []

    def noting(routine: Compiled) -> Compiled:
        needed.append(layout.bytes_for(routine.thread_bytes, threads))
        return with_scratch(routine)

    def counting(item_size: int, *counts: int) -> int:
        counted.append(scratch_bytes(item_size, *counts))
        return counted[-1]

    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(module, "with_scratch", noting)
    monkeypatch.setattr(module, "scratch_bytes", counting)
    monkeypatch.setattr(transformed_filters, "with_scratch", noting)
    module.ALGORITHM.build(spec)(*operands_of(spec))
    assert module.ALGORITHM.workspace(spec) >= sum(needed) == sum(counted) > 0
