"""The page before it is in a browser: how it is put together, what it is opened on, the command."""

import json
import re
from pathlib import Path

import pytest
import torch

from faltung.errors import ArgumentError
from faltung.ops.conv.spec import ConvSpec
from faltung.tools.cli import main
from faltung.tools.explore import Explorer, bundle, explore, layer

FOLDER = Path(bundle.__file__).parent
PLAIN = "forward n1 c1 o1 i5x5 k3x3 s2 p1 float32 cpu"


def opened_on(explorer: Explorer) -> dict:
    """The state inside the page."""
    match = re.search(r'id="initial">\n(.*?)\n</script>', explorer.html, re.DOTALL)
    assert match is not None
    return json.loads(match[1])


def test_every_source_is_in_the_page():
    html = explore().html
    scripts = [*FOLDER.glob("*.js"), *FOLDER.glob("views/*.js")]
    assert len(scripts) >= 15
    for path in scripts:
        name = path.relative_to(FOLDER).as_posix()
        assert f'modules["{name}"] = (() => {{' in html
    assert "/*{" not in html
    assert "import {" not in html


def test_sources_stay_short():
    for path in (*FOLDER.rglob("*.js"), *FOLDER.rglob("*.css"), *FOLDER.rglob("*.html")):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 400, path.name
        if path.suffix == ".js":
            assert max(map(len, lines)) <= 100, path.name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('import x from "./y.js";\n', 'not known to the page: import x from "./y.js"'),
        ('import { x } from "elsewhere";\n', "not known to the page"),
        ("export default 3;\n", "not known to the page: export default 3"),
        ('const a = "</script>";\n', "would end the script element early"),
    ],
)
def test_forms_that_the_page_does_not_know_are_refused(monkeypatch, text, message):
    monkeypatch.setattr(bundle, "_text", lambda _: text)
    with pytest.raises(ArgumentError, match=re.escape(message)):
        bundle._wrapped("main.js")


def test_a_circle_of_imports_is_refused(monkeypatch):
    texts = {"a.js": 'import { b } from "./b.js";\n', "b.js": 'import { a } from "./a.js";\n'}
    monkeypatch.setattr(bundle, "_text", texts.__getitem__)
    with pytest.raises(ArgumentError, match="import each other in a circle"):
        bundle._ordered("a.js", ())


def test_limits_are_those_of_the_page():
    text = (FOLDER / "state.js").read_text()
    table = re.search(r"export const MOST = \{(.*?)\n\};", text, re.DOTALL)
    assert table is not None
    pairs = re.findall(r"^  (\w+): (\{[^}]*\}|\d+),$", table[1], re.MULTILINE)
    most = {
        name: {int(k): int(v) for k, v in re.findall(r"(\d): (\d+)", value)} or int(value)
        for name, value in pairs
    }
    assert most == {
        "input": layer.MOST_INPUT, "kernel": layer.MOST_KERNEL, "stride": layer.MOST_STEP,
        "dilation": layer.MOST_STEP, "low": layer.MOST_PADDING, "high": layer.MOST_PADDING,
        "extra": layer.MOST_STEP - 1, "channels": layer.MOST_CHANNELS,
        "outputs": layer.MOST_CHANNELS, "groups": layer.MOST_CHANNELS,
    }  # fmt: skip


def test_nothing_said_opens_the_page_as_it_is():
    assert opened_on(explore()) is None


def test_a_transposed_layer_is_told_from_its_adjoint():
    spec = "grad_input n1 c2 o3 i12x9 k3x3 y6x5 s2 p1 bias float32 cpu"
    state = opened_on(explore(spec))
    assert state["transposed"] is True
    assert (state["channels"], state["outputs"]) == (3, 2)
    assert (state["input"], state["extra"]) == ([6, 5], [1, 0])


def test_own_numbers_are_in_the_page():
    x, w, b = torch.arange(25.0).view(1, 1, 5, 5), torch.full((1, 1, 3, 3), 0.5), torch.ones(1)
    state = opened_on(explore(PLAIN.replace("float32", "bias float32"), x, w, b))
    assert state["x"] == {"values": list(range(25)), "shape": [1, 5, 5]}
    assert state["w"] == {"values": [0.5] * 9, "shape": [1, 1, 3, 3]}
    assert state["b"] == {"values": [1.0], "shape": [1]}
    assert opened_on(explore(PLAIN, x[0]))["x"]["shape"] == [1, 5, 5]


@pytest.mark.parametrize(
    ("spec", "drawn", "notes"),
    [
        (PLAIN, PLAIN, ()),
        (
            "forward n1 c3 o64 i224x224 k7x7 s2 p3 float32 cpu",
            "forward n1 c3 o2 i9x9 k7x7 s2 p3 float32 cpu",
            ("2 of 64 output channels", "9×9 of 224×224 inputs"),
        ),
        (
            "forward n2 c96 o96 i56x40 k7x7 p3 g96 float32 cpu",
            "forward n1 c2 o2 i9x40 k7x7 p3 g2 float32 cpu",
            ("1 of 2 images", "2 of 96 input channels", "2 of 96 output channels",
             "9×40 of 56×40 inputs"),
        ),
        (
            "grad_input n1 c1 o1 i200x200 k4x4 y100x100 s2 p1 float32 cpu",
            "grad_input n1 c1 o1 i18x18 k4x4 s2 p1 float32 cpu",
            ("9×9 of 100×100 inputs",),
        ),
        (
            "forward n1 c1 o1 i100 k1 p12 reflect float32 cpu",
            "forward n1 c1 o1 i16 k1 p12 reflect float32 cpu",
            ("16 of 100 inputs",),
        ),
    ],
)  # fmt: skip
def test_large_layers_are_drawn_small(spec, drawn, notes):
    found = layer.shrunk(ConvSpec.parse(spec))
    assert (str(found.spec), found.notes) == (drawn, notes)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (PLAIN.replace("forward", "grad_weight"), "draws layers: forward or grad_input"),
        ("forward n0 c1 o1 i5 k3 float32 cpu", "nothing to draw in an empty layer"),
        ("forward n1 c1 o1 i64x64 k31x31 float32 cpu", "kernel size (31, 31) is more than 11"),
        ("forward n1 c1 o1 i64 k3 s9 float32 cpu", "stride (9,) is more than 8"),
        ("forward n1 c1 o1 i500 k20 d8 float32 cpu", "one window of this layer needs 153"),
        ("forward n1 c1 o1 i64 k3 d9 float32 cpu", "dilation (9,) is more than 8"),
        ("forward n1 c1 o1 i64 k3 p0+17 float32 cpu", "padding (17,) is more than 16"),
        ("forward n1 c1 o1 i9 k3 y5 float32 cpu", "every output that exists, (7,), but the"),
    ],
)
def test_what_cannot_be_drawn_is_refused(spec, message):
    with pytest.raises(ArgumentError, match=re.escape(message)):
        explore(spec)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"x": torch.ones(5, 5)}, "x must have the shape (1, 5, 5), got (5, 5)"),
        ({"w": torch.ones(1, 1, 3, 2)}, "w must have the shape (1, 1, 3, 3), got (1, 1, 3, 2)"),
        ({"x": torch.full((1, 5, 5), torch.nan)}, "x must be finite to be drawn"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(tensors, message):
    with pytest.raises(ArgumentError, match=re.escape(message)):
        explore(PLAIN, **tensors)


def test_the_command_writes_and_opens_the_page(tmp_path, capsys, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    path = tmp_path / "new" / "page.html"
    line = "explore -i 6x5 -k 3x2 -s 2 -p 1x0 -c 4 -o 2 -g 2 --padding-mode circular --output"
    assert main([*line.split(), str(path)]) == 0
    assert capsys.readouterr().out == f"{path}\n"
    assert opened == [path.as_uri()]
    state = opened_on(Explorer(path.read_text(encoding="utf-8")))
    assert (state["input"], state["kernel"], state["mode"]) == ([6, 5], [3, 2], "circular")
    assert (state["channels"], state["outputs"], state["groups"]) == (4, 2, 2)
    assert state["bias"] is True


def test_the_command_takes_a_problem_and_need_not_open_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("webbrowser.open", lambda _: pytest.fail("opened"))
    path = tmp_path / "page.html"
    problem = "forward n1 c64 o64 i56x56 k3x3 p1 float32 cpu"
    assert main([*f"explore --no-open --output {path}".split(), *problem.split()]) == 0
    out = capsys.readouterr().out
    assert out.endswith(
        "Drawn small: 2 of 64 input channels, 2 of 64 output channels, 9×9 of 56×56 inputs.\n"
    )
    assert main(f"explore --no-open --output {path} --padding-mode odd".split()) == 2
    assert "padding_mode must be one of" in capsys.readouterr().err


def test_a_notebook_gets_a_frame_of_its_own():
    html = Explorer('<p class="a">&</p>')._repr_html_()
    assert 'srcdoc="&lt;p class=&quot;a&quot;&gt;&amp;&lt;/p&gt;"' in html
    assert 'sandbox="allow-scripts"' in html
