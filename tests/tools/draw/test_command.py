"""`faltung draw` from the command line."""

import pytest

from faltung.tools.cli import main
from faltung.tools.draw import all_kinds


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(line):
        status = main(["draw", *line.split()])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return call


def test_the_list_names_every_kind(run):
    status, out, _ = run("--list")
    assert status == 0
    assert all(name in out for name in all_kinds())
    assert run("")[1] == out


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("slide", "slide.svg: Sliding window: convolution; input 5×5 → 3×3, kernel 3×3, stride 2"),
        ("slide -i 9 -k 3 -s 2 -o a.png", "a.png: Sliding window: 1-D convolution; input 9 → 4"),
        ("slide --frame 0 -o b.svg", "padding 1 (frame 0 of 0 to 8)"),
        ("slide --stride 1 -k 2x2 -i 3 -o c.gif", "(4 frames)"),
        ("scatter -i 3 -k 2 -s 2 -o d.svg", "input 3 → 6, kernel 2, stride 2"),
        ("matrix --transposed -i 2x2 -o e.svg", "input 2×2 → 4×4, kernel 3×3"),
        ("channels -c 2 --out-channels 4 -g 2 -o f.svg", "channels 2 → 4, groups 2"),
        ("slide forward n1 c1 o1 i4x4 k2x2 float32 cpu --theme dark -o g.svg", "4×4 → 3×3"),
        ("field k3 k3s2 -o h.svg", "Receptive field of 2 layers: 5"),
        ("field k3 --input 9 -o i.svg", "input 9 → 7"),
    ],
)
def test_a_figure_is_written(run, tmp_path, line, said):
    status, out, err = run(line)
    assert (status, err) == (0, "")
    assert said in out
    assert (tmp_path / out.partition(":")[0]).stat().st_size > 1000


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("sliding", "there is no figure 'sliding'; there are channels, deform, fft, field"),
        ("slide -o a.jpg", "the file must end in .svg, .png or .gif, got 'a.jpg'"),
        ("slide -o no/such/a.svg", "cannot write no/such/a.svg: No such file or directory"),
        ("slide --theme pink", "--theme must be one of light, dark, got 'pink'"),
        ("slide --frame 9", "--frame must be from 0 to 8, got 9"),
        ("slide -o a.gif --frame 2", "--frame is for still pictures: a GIF shows all frames"),
        ("slide -c 3", "slide draws one channel in and one out, got 3 and 3"),
        ("slide -i 300x300", "too large to draw"),
        ("slide -k 9", "kernel size (9, 9) with dilation (1, 1) spans (9, 9), larger than"),
        ("slide forward n1 c1 o1 i4 k2 float32 cpu -s 2", "a spelled problem or options"),
        ("field k3 --stride 2", "field takes its layers as words: k3 k3s2 k3"),
        ("fft --transposed", "fft draws a convolution, not a transposed one"),
    ],
)
def test_mistakes_are_answered_in_one_line(run, line, message):
    status, out, err = run(line)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
