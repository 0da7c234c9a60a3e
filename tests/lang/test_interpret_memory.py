"""Loads and stores: what leaves a buffer, what is masked, and how narrow numbers lie in memory."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from faltung.lang.interpret import interpret
from faltung.lang.ops import F32
from faltung.lang.routine import Routine

Memory = dict[str, Any]
Agree = Callable[[Routine, Memory], Memory]

every_lanes = pytest.mark.parametrize("lanes", [1, 4, 8, 16])


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize(("at", "masked"), [(-1, False), (13, True), (2**40, False)])
@pytest.mark.parametrize("access", ["load", "store"])
def test_leaving_a_buffer_is_an_error(access: str, at: int, masked: bool, lanes: int) -> None:
    at = at + (4 if masked and lanes == 1 else 0)
    r = Routine("stray")
    x, y = r.reads("image", "float32", 16), r.writes("image2", "float32", 16)
    with r.work() as item:
        mask = r.mask([True] * lanes) if masked else None
        if access == "load":
            r.load(x, item + at, lanes, mask)
        else:
            r.store(y, item + at, r.const(0, F32, lanes), mask)
    name = {"load": "image", "store": "image2"}[access]
    memory = {b.name: np.zeros(16, np.float32) for b in r.buffers}
    said = rf"stray: {name}\[{at}:{at + lanes}\] leaves \[0, 16\)"
    with pytest.raises(IndexError, match=said):
        interpret(r, memory)


def test_masked_lanes_may_lie_outside(agree: Agree) -> None:
    r = Routine("edges")
    x, y = r.reads("x", "float32", 16), r.writes("y", "float32", 16)
    with r.work() as item:
        first = r.load(x, item - 3, 8, mask=r.mask([n >= 3 for n in range(8)]))
        last = r.load(x, item + 13, 8, mask=r.below(3, 8))
        r.store(y, item - 3, first, mask=r.mask([n >= 3 for n in range(8)]))
        r.store(y, item + 8, last)
        r.store(y, item + 99, r.load(x, item + 99, 8, mask=r.below(0, 8)), mask=r.below(0, 8))
    memory = {"x": np.arange(1, 17, dtype=np.float32), "y": np.full(16, np.nan, np.float32)}
    y_after = agree(r, memory)["y"]
    assert y_after[:5].tolist() == [1, 2, 3, 4, 5]
    assert np.isnan(y_after[5:8]).all()
    assert y_after[8:].tolist() == [14, 15, 16, 0, 0, 0, 0, 0]


def masks(lanes: int) -> list[list[bool]]:
    """Every number of lanes that exist, every single lane, and some without order."""
    first = [[n < end for n in range(lanes)] for end in range(lanes + 1)]
    single = [[n == lane for n in range(lanes)] for lane in range(1, lanes)]
    random = np.random.default_rng(lanes).random((6, lanes)) < 0.5
    return [*first, *single, *([bool(on) for on in row] for row in random)]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@every_lanes
def test_masks(agree: Agree, dtype: str, lanes: int) -> None:
    """Masks known late, known to us, and known to LLVM: what is masked is neither read nor written.

    LLVM has instructions, and had mistakes, of its own for masks that it knows.
    """
    stored, every = np.dtype(memory_dtype(dtype)), masks(lanes)
    count = len(every) * lanes
    r = Routine("masks")
    x, chosen = r.reads("x", dtype, count), r.reads("chosen", "float32", count)
    ys = [r.writes(name, dtype, count) for name in ("late", "ours", "llvms")]
    with r.work():
        for n, mask in enumerate(every):
            places = [lane + lanes * on for lane, on in enumerate(mask)]
            made = r.pick(r.const(1, F32, lanes), r.const(2, F32, lanes), places)
            late, llvms = r.load(chosen, n * lanes, lanes) < 0.5, r.const(1.5, F32, lanes) < made
            for y, known in zip(ys, (late, r.mask(mask), llvms), strict=True):
                r.store(y, n * lanes, r.load(x, n * lanes, lanes, known) * 2.0, known)
    one = np.array([0x3F80], np.uint16) if dtype == "bfloat16" else np.ones(1, stored)
    two = np.array([0x4000], np.uint16) if dtype == "bfloat16" else 2 * one
    canary = np.array([0x4242], np.uint16).view(np.float16).astype(stored)
    memory = {b.name: np.resize(canary, count) for b in ys}
    flat = np.array(every).reshape(-1)
    memory |= {"x": np.resize(one, count), "chosen": (~flat).astype(np.float32)}
    found = agree(r, memory)
    for y in ys:
        assert np.array_equal(found[y.name], np.where(flat, two, canary)), y.name


def memory_dtype(dtype: str) -> str:
    return "uint16" if dtype == "bfloat16" else dtype


@every_lanes
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_numbers_are_those_of_torch(agree: Agree, bits: Any, dtype: str, lanes: int) -> None:
    """All 65536 patterns widened; then narrowed with neighbours, ties and what does not fit."""
    patterns = np.arange(2**16, dtype=np.uint16)
    narrow = torch.from_numpy(patterns.view(np.int16)).view(getattr(torch, dtype))
    as_memory = patterns if dtype == "bfloat16" else patterns.view(np.float16)
    if lanes == 1:  # one at a time is slow in the interpreter
        narrow, as_memory = narrow[::37], as_memory[::37].copy()
    whole = len(as_memory) // lanes * lanes
    narrow, as_memory = narrow[:whole], as_memory[:whole]

    r = Routine("widen", items=whole // lanes)
    x, y = r.reads("x", dtype, whole), r.writes("y", "float32", whole)
    with r.work() as item:
        r.store(y, item * lanes, r.load(x, item * lanes, lanes))
    wide = agree(r, {"x": as_memory, "y": np.zeros(whole, np.float32)})["y"]
    assert np.array_equal(bits(wide), bits(narrow.float().numpy()))

    exact = wide[np.isfinite(wide)][:: max(1, whole // 4096)].astype(np.float64)
    last_bit = np.float64(2) ** (-10 if dtype == "float16" else -7)
    ulp = last_bit * 2.0 ** np.floor(np.log2(np.abs(exact) + 1e-60))
    near = [exact, exact + ulp / 2, exact + ulp / 2 * (1 + 1e-4), exact + ulp / 2 * (1 - 1e-4)]
    beyond = [65504.0, 65519.9, 65520.0, -65520.0, 1e30, -1e30, 3.4e38, 3.3961776e38, 1e-45, -1e-45,
              5.96e-8, 2.98e-8, 2.99e-8, 0.0, -0.0, np.inf, -np.inf, np.nan]  # fmt: skip
    with np.errstate(over="ignore"):
        a = np.concatenate([*near, beyond]).astype(np.float32)
    a = np.concatenate(
        [a, np.array([0x7FBFFFFF, 0xFFC00001, 0x7F800001], np.uint32).view(np.float32)]
    )
    a = np.resize(a, -(-len(a) // lanes) * lanes)
    r = Routine("narrow", items=len(a) // lanes)
    x, y = r.reads("x", "float32", len(a)), r.writes("y", dtype, len(a))
    with r.work() as item:
        r.store(y, item * lanes, r.load(x, item * lanes, lanes))
    found = agree(r, {"x": a, "y": np.zeros(len(a), memory_dtype(dtype))})["y"]
    expected = torch.from_numpy(a).to(getattr(torch, dtype))
    as_torch = torch.from_numpy(found.view(np.int16)).view(getattr(torch, dtype))
    assert torch.equal(as_torch.isnan(), expected.isnan())
    there = ~expected.isnan()
    assert torch.equal(as_torch[there].view(torch.int16), expected[there].view(torch.int16))


def test_memory_must_be_what_the_routine_was_recorded_for() -> None:
    r = Routine("sizes")
    r.reads("x", "float32", 4)
    with r.work():
        pass
    interpret(r, {"x": np.zeros(4, np.float32)})
    for wrong in (np.zeros(5, np.float32), np.zeros(4), np.zeros((2, 2), np.float32)):
        with pytest.raises(ValueError, match=r"sizes: x is float32\[4\], got float"):
            interpret(r, {"x": wrong})


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_an_item_finds_nothing_of_another_in_scratch(dtype: str) -> None:
    r = Routine("forgetting", items=2)
    own, y = r.scratch("own", dtype, 4), r.writes("y", dtype, 2)
    with r.work() as item:
        found = r.load(own, 0)
        r.store(y, item, found)
        r.store(own, 0, r.const(1, found.type.kind))
    kind = {"bfloat16": np.dtype("uint16")}.get(dtype) or np.dtype(dtype)
    memory = {"own": np.zeros(4, kind), "y": np.zeros(2, kind)}
    interpret(r, memory)
    found = memory["y"]
    assert (found == 0x7FC0).all() if dtype == "bfloat16" else np.isnan(found).all()
