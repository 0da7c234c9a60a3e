"""The machine's facts, and the file of measured rates: kept, read back, and never an error."""

import json
import math
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from faltung import machine
from faltung.lang.cache import ObjectCache
from faltung.machine import Rates, forget_rates, keep_rates, rates_file, this_machine

RATES = Rates(4.5e11, 5.25e10)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of its own for what is kept, not yet there."""
    monkeypatch.setenv("FALTUNG_CACHE", str(tmp_path / "kept"))
    monkeypatch.delenv("FALTUNG_CPU", raising=False)
    this_machine.cache_clear()
    yield tmp_path / "kept"
    this_machine.cache_clear()


def cores() -> int:
    return this_machine().cores


def again() -> machine.Machine:
    """The machine as another process would see it."""
    this_machine.cache_clear()
    return this_machine()


def test_nominal_until_measured(folder: Path) -> None:
    found = this_machine()
    assert found.measured == ()
    assert found.rates(1) is None
    assert found.peak == found.nominal.peak == found.cores * found.vector_bits / 8 * found.clock
    assert found.bandwidth == found.nominal.bandwidth == found.cores * 4 * found.clock
    assert not folder.exists()


def test_measured_rates_of_all_cores_are_the_peak(folder: Path) -> None:
    keep_rates(cores(), RATES)
    for found in (this_machine(), again()):
        assert found.rates(cores()) == RATES
        assert (found.peak, found.bandwidth) == (RATES.peak, RATES.bandwidth)
        assert found.nominal != RATES
    assert [path.name for path in folder.iterdir()] == ["machine.json"]
    assert folder.stat().st_mode & 0o777 == 0o700


def test_rates_of_fewer_threads_do_not_stand_for_the_machine(folder: Path) -> None:
    keep_rates(cores() + 3, RATES)
    found = this_machine()
    assert found.rates(cores() + 3) == RATES
    assert found.peak == found.nominal.peak


def test_one_number_of_threads_does_not_replace_another(folder: Path) -> None:
    keep_rates(1, RATES)
    keep_rates(7, Rates(1e12, 1e11))
    keep_rates(1, Rates(2e11, 3e10))
    assert again().measured == ((1, Rates(2e11, 3e10)), (7, Rates(1e12, 1e11)))


def test_each_kind_of_computer_has_its_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_rates(1, RATES)
    wide = this_machine().vector_bits
    monkeypatch.setenv("FALTUNG_CPU", "avx2")  # routines are another kind of code then
    assert again().vector_bits == min(wide, 256)
    assert again().measured == ()
    keep_rates(1, Rates(1e11, 5e10))
    monkeypatch.delenv("FALTUNG_CPU")
    assert again().rates(1) == RATES
    monkeypatch.setattr(machine, "_cores", lambda: 96)
    assert again().measured == ()


def test_forgetting(folder: Path) -> None:
    keep_rates(1, RATES)
    forget_rates()
    assert this_machine().measured == () and list(folder.iterdir()) == []
    forget_rates()


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "7", '"x"', "null", "\x00\xff", "[" * 100_000, '{"KIND": 3}',
        '{"KIND": {"1": 3}}', '{"KIND": {"1": {}}}', '{"KIND": {"1": {"peak": 1e9}}}',
        '{"KIND": {"1": {"peak": "fast", "bandwidth": 1e9}}}',
        '{"KIND": {"1": {"peak": -1e9, "bandwidth": 1e9}}}',
        '{"KIND": {"1": {"peak": 0.0, "bandwidth": 1e9}}}',
        '{"KIND": {"1": {"peak": NaN, "bandwidth": 1e9}}}',
        '{"KIND": {"1": {"peak": Infinity, "bandwidth": 1e9}}}',
        '{"KIND": {"1": {"peak": true, "bandwidth": 1e9}}}',
        '{"KIND": {"one": {"peak": 1e9, "bandwidth": 1e9}}}',
        '{"KIND": {"1": {"peak": 1' + "0" * 5000 + ', "bandwidth": 1e9}}}',
    ],
)  # fmt: skip
def test_a_broken_file_is_no_file(folder: Path, text: str) -> None:
    keep_rates(1, RATES)
    (kind,) = json.loads((folder / "machine.json").read_text())
    (folder / "machine.json").write_text(text.replace('"KIND"', json.dumps(kind)), "latin-1")
    assert again().measured == ()
    keep_rates(1, RATES)  # and what is measured next replaces it
    assert again().rates(1) == RATES


def test_what_is_no_plain_file_is_no_file(folder: Path) -> None:
    folder.mkdir()
    os.mkfifo(folder / "machine.json")  # reading it would wait for ever
    assert again().measured == ()
    keep_rates(1, RATES)
    assert again().rates(1) == RATES
    forget_rates()
    (folder / "machine.json").mkdir()
    assert again().measured == ()
    keep_rates(1, RATES)  # cannot be kept, and that is all
    assert again().measured == ()
    assert [path.name for path in folder.iterdir()] == ["machine.json"]


def test_a_file_too_long_is_not_read(folder: Path) -> None:
    keep_rates(1, RATES)
    with (folder / "machine.json").open("a") as file:
        file.write(" " * (1 << 20))
    assert again().measured == ()


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path: Path, folder: Path) -> None:
    folder.write_text("a file where the folder should be")
    keep_rates(1, RATES)
    assert again().measured == ()


def test_an_unfinished_file_is_removed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Any, target: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    keep_rates(1, RATES)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("named", "base"), [("", None), ("", "/x"), ("/a/b", "/x"), (None, "/x"), (None, None)]
)
def test_the_folder_is_that_of_the_object_cache(
    monkeypatch: pytest.MonkeyPatch, named: str | None, base: str | None
) -> None:
    for name, value in (("FALTUNG_CACHE", named), ("XDG_CACHE_HOME", base)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    folder = ObjectCache.default().folder
    assert rates_file() == (None if folder is None else folder / "machine.json")


def test_without_a_home_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("FALTUNG_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert rates_file() is None
    keep_rates(1, RATES)
    forget_rates()
    assert again().rates(1) is None


def test_rates_survive_exactly(folder: Path) -> None:
    odd = Rates(math.pi * 1e11, math.e * 1e10)
    keep_rates(2, odd)
    assert again().rates(2) == odd


def test_what_caches_hold_takes_less_than_memory() -> None:
    seen = replace(this_machine(), cores=2, measured=((2, Rates(peak=1e11, bandwidth=1e9)),))
    assert seen.moving(0) == 0
    assert seen.moving(1e6) == pytest.approx(0.25e-3)  # a quarter of a millisecond at 1 GB/s
    assert seen.moving(8e6) == pytest.approx(8e-3)
    times = [seen.moving(count) for count in range(0, 4_000_000, 50_000)]
    assert times == sorted(times)
