"""Counting for the suites; the lines after the last test come from `tests/conftest.py`."""

import math

import pytest

import faltung
from faltung import planning
from suites.tally import FAMILIES, Cases


@pytest.fixture
def cases(request):
    return Cases(request.node)


@pytest.fixture
def pytorchs_last(monkeypatch):
    """PyTorch's own algorithm runs only where none of ours can do what is asked.

    The images of a suite are so small that estimates prefer PyTorch's, and then its derivatives
    would be checked.
    """
    for family in FAMILIES:
        for algorithm in planning.algorithms(family, "cpu"):
            if algorithm.name == "native_torch":
                monkeypatch.setattr(algorithm, "seconds", lambda *_: math.inf)
    with faltung.using(memory_limit=1 << 62):  # plans of its own, which others do not remember
        yield
