"""The knobs: inside the block, back after it, apart in each thread."""

import threading
from typing import Any

import pytest

from faltung.errors import ArgumentError, ArgumentTypeError
from faltung.settings import (
    by_estimate,
    current,
    for_changing_weight,
    planner_chooses,
    using,
    with_algorithm,
)


def test_a_block_turns_knobs_and_turns_them_back() -> None:
    before = current()
    with using(accuracy="exact") as outer:
        assert outer is current() and outer.accuracy == "exact"
        with using(memory_limit=5, algorithm="x") as inner:
            assert (inner.accuracy, inner.memory_limit, inner.algorithm) == ("exact", 5, "x")
        assert current() is outer
        with using(memory_limit=None, algorithm=None):
            assert current() is outer  # equal settings are one object
    assert current() is before


def test_turned_back_after_an_error() -> None:
    before = current()
    with pytest.raises(RuntimeError, match="inside"), using(debug=True):
        raise RuntimeError("inside")
    assert current() is before


def test_each_thread_has_its_own() -> None:
    seen = []
    with using(accuracy="fast"):
        thread = threading.Thread(target=lambda: seen.append(current().accuracy))
        thread.start()
        thread.join()
    assert seen == ["default"]


def test_the_algorithm_of_one_call() -> None:
    assert with_algorithm(None) is current()
    named = with_algorithm("native_torch")
    assert named.algorithm == "native_torch" and current().algorithm is None
    assert planner_chooses(named) is current()


def test_measuring_stays_on_for_gradients_and_can_be_taken_back() -> None:
    assert by_estimate(current()) is current() and not current().measure
    with using(measure=True) as knobs:
        assert planner_chooses(with_algorithm("native_torch")) is knobs
    assert by_estimate(knobs) is current()


@pytest.mark.parametrize(
    ("knobs", "kind", "message"),
    [
        ({"accuracy": "good"}, ArgumentError, "accuracy must be one of 'exact', .* got 'good'"),
        ({"memory_limit": -1}, ArgumentError, "memory_limit must be at least 0 bytes, got -1"),
        ({"memory_limit": 1.5}, ArgumentTypeError, "memory_limit must be a byte count or None"),
        ({"memory_limit": True}, ArgumentTypeError, "memory_limit must be a byte count or None"),
        ({"deterministic": 1}, ArgumentTypeError, "deterministic must be True or False, got 1"),
        ({"measure": 1}, ArgumentTypeError, "measure must be True or False, got 1"),
        ({"debug": "yes"}, ArgumentTypeError, "debug must be True or False, got 'yes'"),
        ({"algorithm": ["a"]}, ArgumentTypeError, r"algorithm must be the name of one or None"),
    ],
)
def test_values_that_a_knob_does_not_have(
    knobs: dict[str, Any], kind: type[Exception], message: str
) -> None:
    before = current()
    with pytest.raises(kind, match=message), using(**knobs):
        pass
    assert current() is before


def test_a_changing_weight_is_a_setting_that_blocks_keep() -> None:
    changing = for_changing_weight(current())
    assert changing.changing_weight and not current().changing_weight
    assert for_changing_weight(changing) is changing
    assert planner_chooses(changing) is changing
