"""A world without time for each test."""

import pytest

from tools.bench.pretend import World


@pytest.fixture
def world() -> World:
    return World()
