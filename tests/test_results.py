"""The recorded results: each file holds what the schema says and lies where its contents say."""

import json
import math
from pathlib import Path

import pytest

from faltung.tools.bench.cases import CASES
from faltung.tools.bench.record import SCHEMA, complaints

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
RESULTS = sorted((BENCHMARKS / "results").rglob("*"))
FILES = [path for path in RESULTS if path.is_file()]


def named(path: Path) -> str:
    return "/".join(path.parts[-2:])


def test_the_method_is_written_down() -> None:
    text = (BENCHMARKS / "README.md").read_text()
    assert [f"{n}. " in text for n in range(1, 11)] == [True] * 10


@pytest.mark.parametrize("path", FILES, ids=named)
def test_a_file_holds_what_the_schema_says(path: Path) -> None:
    found = json.loads(path.read_text())
    assert found["schema"] == SCHEMA
    assert complaints(found) == []


@pytest.mark.parametrize("path", FILES, ids=named)
def test_a_file_lies_where_its_contents_say(path: Path) -> None:
    found = json.loads(path.read_text())
    expected = Path("results") / found["version"] / f"{found['machine']['name']}.json"
    assert path.relative_to(BENCHMARKS) == expected


@pytest.mark.parametrize("path", FILES, ids=named)
def test_a_recorded_run_is_green_whole_and_careful(path: Path) -> None:
    found = json.loads(path.read_text())
    assert len({case["name"] for case in found["cases"]}) == len(found["cases"]) >= len(CASES) // 2
    assert found["method"]["rounds"] >= 9  # not `--quick`
    assert found["commit"] and not found["commit"].endswith("+"), "which code was that?"
    for case in found["cases"]:
        assert case["complaints"] == [], case["name"]
        ratio = case["best_peer"]["seconds"] / case["ours"]["seconds"]
        assert math.isclose(case["ratio"], ratio), case["name"]
        assert case["best_peer"]["seconds"] == min(
            entry["median"] for entry in case["everyone"] if entry["algorithm"] is None
        )
