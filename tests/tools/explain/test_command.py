"""`faltung explain` at a terminal: what it prints, and its exit statuses."""

import json

import pytest

import faltung
from faltung.tools.cli import main

SPELLED = "forward n1 c64 o128 i56x57 k3x3 s2 p1 bias float32 cpu"


@pytest.fixture
def run(capsys):
    def call(*argv):
        status = main(["explain", *argv])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return call


def test_what_it_prints(run, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)  # some who run tests set it
    status, out, err = run(*SPELLED.split())
    assert (status, err) == (0, "")
    assert out.strip() == str(faltung.explain(SPELLED)).strip()
    for text in (
        "2-D convolution, kernel size 3×3, stride 2",
        "64 channels of 56×57 → 128 channels of 28×29, bias",
        "= ⌊(57 + 1 + 1 − 1·(3−1) − 1) / 2⌋ + 1",
        "The floor drops the last position of the padded input, which is padding only.",
        "59,867,136  = 1·128·64·3·3·28·29",
        "depthwise-separable",
        "gradient of the weight",
        "F.conv2d(x, w, b, stride=2, padding=1)",
        "torch.nn.Conv2d(64, 128, 3, stride=2, padding=1)",
        "def conv2d_sliding_window(",
    ):
        assert " ".join(text.split()) in " ".join(out.split())
    assert max(len(line) for line in out.splitlines()) <= 100
    assert not any(line != line.rstrip() for line in out.splitlines())


def test_a_narrow_terminal(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "72")
    status, out, _ = run(*SPELLED.split())
    assert status == 0
    assert max(len(line) for line in out.splitlines()) <= 72


def test_a_row_that_is_never_read(run):
    _, out, _ = run("-i", "80x81", "-k", "3", "-s", "2")
    assert "The floor drops the last position of the padded input: input row 79 is never" in out
    _, out, _ = run("-i", "11", "-k", "3", "-s", "4")
    assert "read 1 1 1 ✗ 1 1 1 ✗ 1 1 1" in " ".join(out.split())
    _, out, _ = run("-i", "5", "-k", "3", "-s", "3", "--transposed", "--output-padding", "2")
    assert "output_padding 1 gives 16" in out and "stamped" in out


def test_options_mean_what_the_spelling_means(run):
    line = "-i 56x57 -k 3 -s 2 -p 1 -c 64 -o 128 --bias --json"
    _, described, _ = run(*line.split())
    _, spelled, _ = run(*SPELLED.split(), "--json")
    assert json.loads(described) == json.loads(spelled)


def test_json_and_page(run, tmp_path):
    status, out, err = run(*SPELLED.split(), "--json")
    assert (status, err) == (0, "")
    assert json.loads(out) == json.loads(json.dumps(faltung.explain(SPELLED).facts()))
    file = tmp_path / "layer.html"
    status, out, _ = run(*SPELLED.split(), "--html", str(file))
    assert (status, out) == (0, f"wrote {file}\n")
    assert file.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_layer_of_a_model(run, tmp_path):
    file = tmp_path / "nets.py"
    file.write_text(
        "from torch import nn\n"
        "def net(width):\n"
        "    return nn.Sequential(nn.Conv2d(3, width, 3), nn.Conv2d(width, 1, 1))\n"
    )
    status, out, err = run(f"{file}:net(5)", "-i", "1x3x9x9", "--layer", "1", "--json")
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert (found["name"], found["spec"]) == ("1", "forward n1 c5 o1 i7x7 k1x1 bias float32 cpu")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "explain needs a spelled problem, --input and --kernel, or a model"),
        ("-k 3", "explain needs a spelled problem"),
        ("-i 9 -k 3 --layer a", "--layer names a layer of a model, and there is no model"),
        ("-i 3 -k 5", "kernel size (5,) with dilation (1,) spans (5,), larger than"),
        ("forward n1 c8", "does not say"),
        ("grad_weight n1 c2 o2 i9 k3 float32 cpu", "a layer is one of forward, grad_input"),
        ("torch.nn:Conv2d(3,8,3)", "needs --input, once per input"),
        ("torch.nn:Conv2d(3,8,3) -i 1x4x9x9", "does not run on 1x4x9x9: Given groups=1"),
        ("torch.nn:ReLU -i 1x4", "the model runs no convolution"),
        ("torch.nn:Nothing -i 1x4", "'torch.nn' has no 'Nothing'"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(run, line, message):
    status, out, err = run(*line.split())
    assert (status, out) == (2, "")
    assert err.startswith("faltung: ") and err.count("\n") == 1
    assert message in err
