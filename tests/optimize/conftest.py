"""Small models, in which convolutions wait all the same."""

import pytest

from faltung.optimize import found


@pytest.fixture(autouse=True)
def _waiting_takes_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(found, "_WAITING_SECONDS", 0.0)
