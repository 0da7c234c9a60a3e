"""Counting for the suites; the lines after the last test come from `tests/conftest.py`."""

import pytest

from suites.tally import Cases


@pytest.fixture
def cases(request):
    return Cases(request.node)
