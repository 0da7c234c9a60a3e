"""The command line: its numbers, its manners, and its exit statuses."""

import json
import os
import subprocess
import sys
import types

import pytest
from typer.testing import CliRunner

import faltung
from faltung import trials
from faltung.ops.conv.spec import ConvSpec
from faltung.tools import doctor
from faltung.tools.cli import main
from faltung.tools.commands import app
from faltung.tools.counts import relatives
from faltung.tools.printing import new_table

SPELLED = "forward n1 c64 o128 i56x56 k3x3 s2 p1 float32 cpu"


@pytest.fixture
def run(capsys):
    """`run("size --input 5")` gives status, stdout and stderr of the command line."""

    def call(line):
        status = main(line.split())
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return call


@pytest.fixture
def good(run):
    """What a command prints that succeeds and complains of nothing."""

    def call(line):
        status, out, err = run(line)
        assert (status, err) == (0, "")
        return out

    return call


def process(*argv, before="pass", encoding="utf-8"):
    code = f"import sys; {before}; from faltung.tools.cli import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", code, *argv], capture_output=True, check=False, encoding=encoding,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )  # fmt: skip


def test_size_fills_in_the_formula(good):
    assert good("size --input 80 --kernel 3 --stride 2 --padding 1") == (
        "80 → 40\n\n"
        "  ⌊(n + low + high − d·(K−1) − 1) / s⌋ + 1\n"
        "  = ⌊(80 + 1 + 1 − 1·(3−1) − 1) / 2⌋ + 1\n"
        "  = ⌊79 / 2⌋ + 1\n"
        "  = 39 + 1 = 40\n\n"
        "The floor drops the last position of the padded input, which is padding only.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("-i 80 -k 3 -s 2", "input position 79 is never read"),
        ("-i 80x81 -k 3 -s 2", "input row 79 is never read"),
        (
            "-i 13 -k 3 -s 5",
            "drops nothing.\nBetween taps, input positions 3–4, 8–9 are never read",
        ),
        ("-i 11 -k 3 -s 4", "drops nothing.\nBetween taps, input positions 3, 7 are never read"),
        ("-i 12 -k 3 -s 7", "the last 2 positions of the padded input: input positions 10–11 are"),
        ("-i 64 -k 1 -s 4", "Between taps, input positions 1–3, 5–7, 9–11, 13–15, … are never"),
        ("-i 7 -k 3 -s 2", "The last window ends exactly at the end: the floor drops nothing."),
    ],
)
def test_size_says_what_is_never_read(good, arguments, expected):
    assert expected in good(f"size {arguments}")


@pytest.mark.parametrize(
    ("arguments", "first_line"),
    [
        ("-i 7 -k 5 -s 2 -p 2", "7 → 4"),
        ("-i 56x48 -k 3 -p 1", "56×48 → 56×48"),
        ("-i 10 -k 3x5", "10×10 → 8×6"),
        ("-i 9x9x9 -k 3 -s 1x2x3 -d 2", "9×9×9 → 5×3×2"),
        ("-i 5 -k 2 -p 1+2", "5 → 7"),
        ("-i 5x6 -k 2 -p 0x1+2", "5×6 → 4×8"),
        ("-i 15 -k 3 -s 2 -p same", "15 → 8"),
        ("-i 15 -k 3 -s 2 -p same_lower", "15 → 8"),
        ("-i 15 -k 3 -p valid", "15 → 13"),
        ("-i 15 -k 3 -d 4 -p causal", "15 → 15"),
        ("-i 16 -k 4 -s 2 -p 1 --transposed", "16 → 32"),
        ("-i 4x5 -k 3 -s 2x1 --transposed --output-padding 1x0", "4×5 → 10×7"),
        ("-i 5 -k 3 -s 2 -p same --transposed", "5 → 10"),
    ],
)
def test_size_understands_every_way_to_write_a_layer(good, arguments, first_line):
    assert good(f"size {arguments}").splitlines()[0] == first_line


def test_size_names_axes_only_where_they_differ(good):
    assert "rows\n" not in good("size -i 8x8 -k 3")
    differing = good("size -i 8x9x9 -k 3")
    assert "slices\n  ⌊" in differing
    assert "rows and columns\n  ⌊" in differing


def test_size_of_a_transposed_layer_lists_the_output_paddings(good):
    out = good("size -i 5 -k 3 -s 3 --transposed --output-padding 2")
    assert "= (5 − 1)·3 − 0 − 0 + 1·(3−1) + 1 + 2\n  = 17\n" in out
    assert "output_padding 0 gives 15\noutput_padding 1 gives 16\noutput_padding 2 gives 17" in out
    assert "(a convolution with these arguments maps 15 to 17 to 5 alike)" in out
    assert "output_padding 0 to 15 gives 68 to 83" in good("size -i 5 -k 4 -s 16 --transposed")
    only_bias = good("size -i 5 -k 2 -d 3 --transposed")
    assert "(positions from 9 on get only the bias)" in only_bias


def test_size_as_json(good):
    found = json.loads(good("size -i 80x12 -k 3 -s 2x7 --json"))
    assert (found["output"], found["transposed"]) == ([39, 2], False)
    assert found["axes"][0] == {"left_over": 1, "dropped": [79], "skipped": []}
    assert found["axes"][1] == {"left_over": 2, "dropped": [10, 11], "skipped": [3, 4, 5, 6]}
    found = json.loads(good("size -i 5 -k 3 -s 2 --transposed --json"))
    assert (found["input"], found["output"]) == ([5], [11])
    assert found["axes"] == [{"output_paddings": {"0": 11, "1": 12}}]


def test_count_of_a_spelled_problem(good):
    out = good(f"count {SPELLED}")
    assert out.startswith(SPELLED)
    for number in ("73,728", "57,802,752", "115,605,504", "1.5 MB", "1.8 MB", "1 × 128 × 28 × 28"):
        assert number in out
    spec = ConvSpec.parse(SPELLED)
    found = json.loads(good(f"count {SPELLED} --json"))
    assert found["spec"] == SPELLED
    assert found["parameters"] == spec.parameters
    assert set(found["multiply_adds"]) == {"forward", "grad_input", "grad_weight"}
    assert set(found["multiply_adds"].values()) == {spec.macs}
    assert found["executed"] == spec.executed_macs < spec.macs
    assert (found["bytes"], found["im2col_bytes"]) == (spec.bytes, spec.im2col_bytes)


def test_count_of_options_is_that_of_the_spelling(good):
    line = "count -i 56x56 -k 3 -s 2 -p 1 -c 64 -o 128 --json"
    assert json.loads(good(line)) == json.loads(good(f"count {SPELLED} --json"))
    found = json.loads(good("count -i 9 -k 3 -c 4 -g 2 -n 3 --bias --dtype float16 --json"))
    assert found["spec"] == "forward n3 c4 o4 i9 k3 g2 bias float16 cpu"
    transposed = json.loads(good("count -i 8 -k 4 -s 2 -p 1 -c 6 -o 2 --transposed --json"))
    assert (transposed["input"], transposed["output"]) == ([1, 6, 8], [1, 2, 16])


def test_relatives_count_what_they_do():
    dense, grouped, depthwise, separable = relatives(
        ConvSpec.parse("forward n1 c8 o8 i6x6 k3x3 p1 bias float32 cpu")
    )
    assert (dense.parameters, dense.macs) == (8 * 8 * 9 + 8, 8 * 8 * 9 * 36)
    assert (grouped.name, grouped.parameters) == ("grouped, 4", 8 * 2 * 9 + 8)
    assert (depthwise.name, depthwise.macs) == ("depthwise", 8 * 9 * 36)
    assert separable.parameters == (8 * 9 + 8) + (8 * 8 + 8)
    assert separable.macs == 8 * 9 * 36 + 8 * 8 * 36
    assert separable.executed == 8 * 16 * 16 + 8 * 8 * 36


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ("forward n1 c1 o1 i9 k3 float32 cpu", ["dense"]),
        ("forward n1 c3 o4 i9 k3 float32 cpu", ["dense", "depthwise-separable"]),
        ("forward n1 c4 o8 i9 k3 float32 cpu",
         ["dense", "grouped, 2", "depthwise", "depthwise-separable"]),
        ("forward n1 c9 o9 i9 k3 g3 float32 cpu",
         ["dense", "grouped, 3", "depthwise", "depthwise-separable"]),
        ("grad_input n1 c4 o8 i9 k3 float32 cpu", ["dense", "grouped, 2", "depthwise-separable"]),
    ],
)  # fmt: skip
def test_relatives_exist_where_the_channels_allow(spec, names):
    parsed = ConvSpec.parse(spec)
    found = relatives(parsed)
    assert [relative.name for relative in found] == names
    own = [r for r in found if len(r.specs) == 1 and r.specs[0] == parsed]
    assert len(own) == 1


def test_a_transposed_relative_keeps_input_and_output():
    spec = ConvSpec.parse("grad_input n2 c4 o8 i9 k3 s2 float32 cpu")
    depthwise, pointwise = relatives(spec)[-1].specs
    assert (depthwise.y_shape, depthwise.x_shape) == ((2, 8, 4), (2, 8, 9))
    assert (pointwise.x_shape, pointwise.y_shape) == ((2, 8, 9), (2, 4, 9))


def test_field_follows_a_stack(good):
    found = json.loads(good("field k7s2p3 k3s2p1 k3s1p1d2 Tk4s2p1 --json"))["layers"]
    assert [layer["size"] for layer in found] == [[7], [11], [27], [31]]
    assert [layer["jump"] for layer in found] == [[2], [4], [4], [2]]
    assert [layer["start"] for layer in found] == [[0], [0], [4], [3]]


def test_field_per_axis_and_with_fractions(good):
    found = json.loads(good("field k3x5p1x2 Tk2s2 k3p1+0 --json"))["layers"]
    assert [layer["size"] for layer in found] == [[3, 5], [3, 5], [4, 6]]
    assert found[1]["jump"] == [0.5, 0.5]
    assert found[1]["start"] == [-0.25, -0.25]
    assert "3 × 5" in good("field k3x5 k1")
    assert "1/2" in good("field k1 Tk2s2")


@pytest.mark.parametrize("word", ["x", "k", "s2", "k3k5", "t3", "k3q1", "k3s", "3"])
def test_a_layer_that_cannot_be_read(run, word):
    status, out, err = run(f"field k3 {word}")
    assert (status, out) == (2, "")
    assert err.startswith("faltung: ")
    assert "k7s2p3" in err or "must be" in err


def test_plan_measures_when_asked(good, monkeypatch):
    seen = []

    def figures(spec, family, contestants, memory_limit=None):
        seen.append((str(spec), family))
        return {c.name: 1e-3 * (n + 1) for n, c in enumerate(reversed(contestants))}

    monkeypatch.setattr(trials, "figures", figures)
    out = good("plan --measure unfold n2 c5 i30x4 k2x3 float32 cpu")
    assert "1000.0 us (measured)" in out and "2000.0 us (measured)" in out
    assert seen == [("unfold n2 c5 i30x4 k2x3 float32 cpu", "unfold")]


def test_plan_prints_the_plan(good):
    out = good(f"plan {SPELLED}")
    assert out.startswith(f"{SPELLED}\n  chosen: ")
    assert "native_torch" in out
    assert "chosen: slices_torch" in good(
        "plan unfold n2 c5 i3x4 k2x3 float32 cpu --algorithm slices_torch"
    )
    assert "gather_torch" in good(
        "plan forward n1 c8 o8 i9x9 k3x3 p1 mask float32 cpu --family deform"
    )


def test_doctor_sees_machine_and_software(good):
    found = json.loads(good("doctor --json"))
    assert found["healthy"] is True
    assert found["complaint"] == ""
    assert found["versions"]["faltung"] == faltung.__version__
    assert {"Python", "torch", "numpy", "llvmlite"} <= set(found["versions"])
    assert set(found["algorithms"]) == {"conv", "deform", "unfold"}
    assert "native_torch" in found["algorithms"]["conv"]
    out = good("doctor")
    for word in ("processor", "PyTorch uses 1", "conv on cpu", "equals its definition"):
        assert word in out


def test_doctor_notices_a_wrong_convolution(run, monkeypatch):
    right = doctor.functional.conv2d
    monkeypatch.setattr(doctor.functional, "conv2d", lambda *a, **k: right(*a, **k).roll(1, 2))
    status, out, _ = run("doctor")
    assert status == 1
    assert "conv2d differs in" in " ".join(out.split())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("size -i 3 -k 5", "kernel size (5,) with dilation (1,) spans (5,), larger than"),
        ("size -i a -k 3", "--input must be a number, or one per axis like 56x48, got 'a'"),
        ("size -i 3", "Missing option '--kernel' / '-k'"),
        ("size -i 9 -k 0", "--kernel must be at least 1, got 0"),
        ("size -i 9 -k 3 -s 0", "stride must be at least 1"),
        ("size -i 9 -k 3 -p 1-2", "--padding must be a number"),
        ("size -i 9x9 -k 3 -p causal", "is for 1-D only"),
        ("size -i 9x9x9 -k 3x3", "--kernel must have one number or 3 (one per axis), got 2"),
        ("size -i 9x9x9x9 -k 3", "1, 2 or 3 spatial axes, got 4"),
        ("size -i 9 -k 3 --output-padding 1", "--output-padding is for --transposed"),
        ("size -i 9 -k 3 -s 2 --transposed --output-padding 2", "output_padding=2 must be smaller"),
        ("count", "count needs --input and --kernel, or a spelled problem"),
        ("count -i 9 -k 3 -c 4 -g 3", "--groups 3 must divide both --channels 4 and"),
        ("count -i 9 -k 3 -c four", "Invalid value for '--channels' / '-c'"),
        ("count -i 9 -k 3 -n 0", "--batch must be at least 1, got 0"),
        ("count -i 9 -k 3 --dtype float17", "dtype must be one of"),
        ("count forward n1 c8", "does not say"),
        ("count sideways n1", "starts with one of forward, grad_input, grad_weight"),
        ("field", "Missing argument"),
        ("plan forward n1 c8 o8 i9 k3 float32 cpu --algorithm x", "algorithm='x' is none of the"),
        ("plan forward n1 c8 o8 i9 k3 float32 cpu --family x", "--family must be one of conv,"),
        ("plan forward n1 c8 o8 i9 k3 float32 cpu --accuracy x", "accuracy must be one of"),
        ("plan grad_weight n1 c2 o2 i9 k3 int64 cpu", "no algorithm of conv can do"),
        ("nonsense", "No such command 'nonsense'"),
        ("size --nonsense", "No such option"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(run, line, message):
    status, out, err = run(line)
    assert (status, out) == (2, "")
    assert err.startswith("faltung: ")
    assert message in err
    assert err.count("\n") == 1


def test_help_and_version(good):
    assert good("--version") == good("version") == f"faltung {faltung.__version__}\n"
    assert "Usage: faltung" in good("")
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    for command in ("size", "count", "field", "plan", "doctor", "verify", "demo", "version"):
        assert command in result.output
        assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0


def test_demo_is_called_with_its_arguments(monkeypatch, tmp_path):
    calls = []

    def fake_run(output, open_report=False):
        calls.append((output, open_report))
        return 3

    fake = types.ModuleType("faltung.tools.demo")
    fake.run = fake_run
    monkeypatch.setitem(sys.modules, "faltung.tools.demo", fake)
    monkeypatch.setattr(faltung.tools, "demo", fake, raising=False)
    assert main(["demo", str(tmp_path), "--open"]) == 3
    assert calls == [(tmp_path, True)]


def test_tables_have_numbers_on_the_right():
    assert [c.justify for c in new_table("a", "b", "c").columns] == ["left", "right", "right"]


def test_a_real_process():
    found = process("size", "-i", "80", "-k", "3", "-s", "2", "-p", "1")
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.startswith("80 → 40\n")
    assert "\x1b" not in found.stdout
    wrong = process("size", "-i", "3", "-k", "5")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("faltung: conv1d: kernel size (5,)")
    assert "Traceback" not in wrong.stderr


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra_the_message_says_what_to_install(missing):
    found = process("size", "-i", "5", "-k", "3", before=f"sys.modules[{missing!r}] = None")
    assert found.returncode == 2
    assert found.stdout == ""
    assert found.stderr == f"faltung: the tools need {missing}: pip install 'faltung[tools]'\n"


def test_importing_the_library_imports_no_tool():
    code = (
        "import sys, faltung; "
        "print([m for m in ('typer', 'rich', 'matplotlib', 'faltung.tools') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_a_terminal_without_our_signs_still_gets_the_numbers():
    found = process("size", "-i", "80", "-k", "3", encoding="ascii")
    assert found.returncode == 0
    assert found.stdout.startswith("80 ? 78\n")
