"""Huge pages: asked for what lies inside, where that does something, and never a reason to fail."""

import mmap
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from faltung.ops import pages
from faltung.ops.calling import allocator
from faltung.ops.packed import packer

PAGE = mmap.PAGESIZE


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What the system is asked for, and nothing happens."""
    found: list[tuple[int, int]] = []

    def note(address: int, size: int, advice: int) -> int:
        assert advice == 14
        found.append((address, size))
        return -1  # refused

    monkeypatch.setattr(pages, "_madvise", lambda: note)
    monkeypatch.setattr(pages, "available", lambda: True)
    return found


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A file to stand for the system's switch."""
    switch = tmp_path / "enabled"
    monkeypatch.setattr(pages, "_SWITCH", switch)
    for cached in (pages._madvise, pages.available):
        cached.cache_clear()
    yield switch
    for cached in (pages._madvise, pages.available):
        cached.cache_clear()


@pytest.mark.parametrize(
    ("first", "size", "begin", "end"),
    [
        (0, 3 * PAGE, 0, 3 * PAGE),
        (1, 3 * PAGE, PAGE, 3 * PAGE),
        (PAGE - 1, 2 * PAGE, PAGE, 2 * PAGE),
        (64, PAGE + 64, None, None),
        (64, 100, None, None),
        (0, 0, None, None),
    ],
)
def test_only_whole_pages_inside(
    asked: list[tuple[int, int]], first: int, size: int, begin: int | None, end: int | None
) -> None:
    pages.advise(7 * PAGE + first, size)
    expected = [] if begin is None or end is None else [(7 * PAGE + begin, end - begin)]
    assert asked == expected


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_large_results_are_asked_for_and_a_refusal_is_ignored(
    asked: list[tuple[int, int]], dtype: str
) -> None:
    item = getattr(torch, dtype).itemsize
    small = allocator((pages.LARGE // item - 1,), dtype, "contiguous")
    small()
    assert not asked
    make = allocator((1, 2, 3, pages.LARGE // item), dtype, "channels_last")
    y = make()
    assert y.is_contiguous(memory_format=torch.channels_last)
    ((begin, size),) = asked
    assert y.data_ptr() <= begin < y.data_ptr() + PAGE
    assert begin + size <= y.data_ptr() + y.nbytes < begin + size + PAGE
    again = make()
    assert len(asked) == 2 and again.data_ptr() != y.data_ptr()


def test_a_large_packed_weight_is_copied_once_it_is_asked_for_again(
    asked: list[tuple[int, int]],
) -> None:
    pack = packer(lambda w: w + 1)
    w = torch.arange(pages.LARGE // 4 + 6, dtype=torch.float32).view(-1, 2)
    assert torch.equal(pack(w), w + 1) and not asked  # in training it is another one next time
    packed = pack(w)
    assert torch.equal(packed, w + 1)
    assert packed.data_ptr() % (2 << 20) == 0
    assert pack(w) is packed and len(asked) == 1
    small = torch.ones(100)
    assert torch.equal(pack(small), small + 1) and len(asked) == 1


def test_what_is_not_contiguous_is_left_alone(asked: list[tuple[int, int]]) -> None:
    t = torch.zeros(4, pages.LARGE // 8).t()
    assert pages.in_huge_pages(t) is t and not asked


@pytest.mark.parametrize(
    ("text", "does"),
    [
        ("always [madvise] never", True), ("[always] madvise never", False),
        ("always madvise [never]", False), ("", False), (None, False),
    ],
)  # fmt: skip
def test_asks_only_where_that_does_something(system: Path, text: str | None, does: bool) -> None:
    if text is not None:
        system.write_text(text)
    if pages.sys.platform != "linux":
        does = False
    assert pages.available() is does
    pages.advise(PAGE, PAGE)  # not ours: the system says no, or is not asked


def test_huge_pages_come(monkeypatch: pytest.MonkeyPatch) -> None:
    # what tests make visible was written to, and it is too late to ask
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)
    if not pages.available():
        pytest.skip("this system has no huge pages for those who ask")
    t = pages.in_huge_pages(torch.ones(4 << 20))
    lines = Path("/proc/self/smaps").read_text().splitlines()
    inside, found = False, 0
    for line in lines:
        head = line.split()[0]
        if "-" in head and not head.endswith(":"):
            begin, end = (int(part, 16) for part in head.split("-"))
            inside = begin < t.data_ptr() + t.nbytes and t.data_ptr() < end
        elif inside and head == "AnonHugePages:":
            found += int(line.split()[1]) << 10
    if not found:
        pytest.skip("this system has none left")
    assert found >= 2 << 20
