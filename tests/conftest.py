"""What every test shares: one thread, fixed seeds, and uninitialised memory that shows itself."""

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from faltung import machine
from faltung.machine import Rates
from suites.tally import summary

# compiled routines of the tests' own, shared by all workers, kept from run to run
os.environ.setdefault("FALTUNG_CACHE", str(Path(__file__).parents[1] / ".pytest_cache" / "faltung"))
_SHARED = os.environ["FALTUNG_CACHE"]

# imports and fifteen thousand tests stay: half a second each time that the collector goes over them
gc.set_threshold(10_000, 20, 50)

# plans must not depend on what was measured while other tests ran: two cores of 512 bits, idle
_RATES = {1: Rates(2.1e11, 2.6e10), 2: Rates(4.2e11, 5.2e10)}


@pytest.fixture(autouse=True, scope="session")
def _rates_of_an_idle_machine() -> Iterator[None]:
    """Only a test that has a folder of its own sees rates that it measured."""
    kept_rates = machine._kept_rates

    def steady(kind: str) -> Iterator[tuple[int, Rates]]:
        shared = os.environ.get("FALTUNG_CACHE") == _SHARED
        return iter(_RATES.items()) if shared else kept_rates(kind)

    machine.this_machine.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "_kept_rates", steady)
        yield


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    # workers share two cores; more threads only get in each other's way
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _unwritten_memory_is_nan() -> Iterator[None]:
    """`torch.empty` comes filled with NaN, so a result that was not written everywhere fails."""
    torch.utils.deterministic.fill_uninitialized_memory = True
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def whole() -> Callable[..., Tensor]:
    """Tensors of small whole numbers: their sums are exact in every dtype, in any order."""

    def make(*shape: int, dtype: torch.dtype = torch.float64, most: int = 4) -> Tensor:
        return torch.randint(-most, most + 1, shape).to(dtype)

    return make


@pytest.fixture
def between_nans() -> Callable[[Tensor], Tensor]:
    """A copy of a tensor with NaN before and after it in memory: a stray read shows."""

    def embed(tensor: Tensor, band: int = 67) -> Tensor:
        storage = torch.full((tensor.numel() + 2 * band,), float("nan"), dtype=tensor.dtype)
        storage[band : band + tensor.numel()] = tensor.reshape(-1)
        return storage[band : band + tensor.numel()].view(tensor.shape)

    return embed


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What ran where nothing else says so: a line for each foreign suite, and each algorithm."""
    reports = [report for group in terminalreporter.stats.values() for report in group]
    sections = {
        "suites no one here wrote": summary(reports),
        "small problems that each algorithm ran": _accepted(reports),
    }
    for title, lines in sections.items():
        if lines:
            terminalreporter.section(title)
            for line in lines:
                terminalreporter.line(line)


def _accepted(reports: list[pytest.TestReport]) -> list[str]:
    """A line for each algorithm; what it refuses is not skipped but never collected."""
    counts = {
        value
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == "problems"
    }
    return [f"{name}: {accepted} of {total}" for name, accepted, total in sorted(counts)]
