"""The tools' tests measure nothing: figures come from here, and none are kept."""

import pytest

from faltung.machine import Rates


@pytest.fixture(autouse=True)
def _given_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "faltung.measure.measure", lambda threads: Rates(1e11 * threads, 2e10 * threads)
    )
