"""The figures of the documentation exist, are small, and show what their commands say."""

import re
from pathlib import Path

import pytest

from faltung.tools.draw import figure

ROOT = Path(__file__).parents[3]
NOTE = (ROOT / "docs/design/012-figures.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^faltung draw (\w+) +(.+?) +-o (\S+)$", NOTE, re.MULTILINE)


def test_there_are_five():
    assert len(COMMANDS) == 5
    assert {ROOT / path for _, _, path in COMMANDS} == set((ROOT / "docs/figures").iterdir())


@pytest.mark.parametrize(("kind", "layer", "path"), COMMANDS)
def test_a_figure_is_what_its_command_draws(kind, layer, path):
    text = (ROOT / path).read_text(encoding="utf-8")
    assert len(text) < 150_000
    shown = figure(kind, layer)
    assert shown.title in text and shown.subtitle in text
    numbers = [cell.text for grid in shown.frame(shown.still).grids for cell in grid.cells]
    drawn = re.findall(r"<!-- (.+?) -->", text)  # matplotlib notes what each outline says
    missing = [number for number in numbers if number and number not in drawn]
    assert not missing
