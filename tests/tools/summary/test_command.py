"""`faltung summary` at a terminal, and as a page: what they show, and the exit statuses."""

import json
import re

import pytest

import faltung
from faltung.tools.cli import main
from faltung.tools.summary.terminal import text
from faltung.tools.summary.words import field, short, times
from tools_page import read

from .nets import Branches

INPUT = (2, 3, 64, 48)


@pytest.fixture
def run(capsys):
    def call(*argv):
        status = main(["summary", *argv])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return call


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "nets.py"
    path.write_text(
        "from torch import nn\n"
        "WIDTH = 4\n"
        "def net(width=WIDTH):\n"
        "    return nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU(), nn.Conv2d(width, 1, 1))\n"
        "made = net(2)\n"
    )
    return path


def test_what_it_prints():
    found = faltung.summary(Branches(), INPUT)
    printed = text(found, 160)
    assert str(found) == text(found)
    header, first = [line.split() for line in printed.splitlines()[2:5:2]]
    assert header == [
        "layer", "kind", "output", "parameters", "multiply-adds", "gradients", "bytes", "sees",
        "algorithm", "gain",
    ]  # fmt: skip
    row = found.layers[0]
    assert first[:8] == [
        "stem", "Conv2d", "5×5", "s2", "2×8×32×24", "608", "922", "k",
    ]  # fmt: skip
    assert row.plan.algorithm in first and "5×5" in first[3:]
    total = next(line for line in printed.splitlines() if line.startswith(" total"))
    for number in (found.parameters, found.macs, found.gradients):
        assert short(number) in total
    assert "2 BatchNorm2d (32)" in printed


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_it_fits_the_terminal(width):
    printed = text(faltung.summary(Branches(), INPUT), width)
    assert max(len(line) for line in printed.splitlines()) <= width
    assert re.search(r"Not shown: .* \(there is room at \d+ columns\)", printed.replace("\n", " "))
    for name in ("stem", "multiply-adds", "sees", "algorithm", "gain"):
        assert name in printed


def test_json(run, file):
    status, out, err = run(f"{file}:net", "--input", "1x3x9x9", "--json")
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert [row["name"] for row in found["layers"]] == ["0", "2"]
    assert found["total"]["parameters"] == 4 * 27 + 4 + 4 + 1


@pytest.mark.parametrize(
    ("expression", "parameters"),
    [("net", 117), ("net(8)", 233), ("net(width=1)", 30), ("made", 59)],
)
def test_expressions(run, file, expression, parameters):
    status, out, _ = run(f"{file}:{expression}", "-i", "1x3x9x9", "--json")
    assert status == 0 and json.loads(out)["total"]["parameters"] == parameters


def test_modules_are_found_from_here(run, file, monkeypatch):
    monkeypatch.chdir(file.parent)
    monkeypatch.syspath_prepend(str(file.parent))
    file.rename(file.parent / "nets_from_here.py")  # another test may have imported `nets`
    status, out, err = run("nets_from_here:net", "-i", "1x3x9x9")
    assert status == 0 and "Sequential" in out, err


def test_page(run, tmp_path):
    path = tmp_path / "model.html"
    status, out, _ = run("torch.nn:Conv2d(3, 8, 3)", "-i", "1x3x9x9", "--html", str(path))
    assert (status, out) == (0, f"wrote {path}\n")
    checked = read(path.read_text(encoding="utf-8"))
    assert "1×8×7×7" in checked.text and "10.6 k" in checked.text


def test_page_of_a_model():
    found = faltung.summary(Branches(), INPUT)
    checked = read(found.html())
    for row in found.layers:
        assert row.name in checked.text and field(row.field) in checked.text
    fragment = found._repr_html_()
    assert read(fragment).seen.isdisjoint({"html", "body", "script"})


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["torch.nn:Conv2d(3,8,3)"], "summary needs --input"),
        (["torch.nn:Conv2d(3,8,3)", "-i", "1x4x9x9"], "does not run on 1x4x9x9: Given groups=1"),
        (["torch.nn:Conv2d(3,8,3)", "-i", "a"], "--input must be a number, or one per axis"),
        (["torch.nn:Conv2d(3)", "-i", "1x3x9x9"], "cannot be made: Conv2d.__init__() missing"),
        (["torch.nn:Conv2d(open('x'))", "-i", "1"], "a model reads like package.module:name"),
        (["torch.nn", "-i", "1"], "a model reads like package.module:name"),
        (["torch.nn:Conv9d", "-i", "1"], "'torch.nn' has no 'Conv9d'"),
        (["nowhere.at_all:x", "-i", "1"], "there is no module 'nowhere.at_all' to import"),
        (["nowhere.py:x", "-i", "1"], "there is no file 'nowhere.py'"),
        (["torch:float32", "-i", "1"], "is no module and no factory of one"),
        (["torch:get_num_threads", "-i", "1"], "makes a int, not a torch.nn.Module"),
        ([], "Missing argument"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(run, argv, message):
    status, out, err = run(*argv)
    assert (status, out) == (2, "")
    assert err.startswith("faltung: ") and err.count("\n") == 1
    assert message in err


def test_words():
    assert [short(n) for n in (0, 999, 1000, 999_499, 999_500, 10**9)] == [
        "–", "999", "1 k", "999 k", "1 M", "1 G",
    ]  # fmt: skip
    assert times(1.04) == "–" and times(0.5) == "–"
    assert field((3, None)) == "3×?" and field(()) == "–"
