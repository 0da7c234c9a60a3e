"""What people read."""

import io
from collections.abc import Iterable
from dataclasses import replace

from rich.console import Console, RenderableType

from faltung.tools.bench.cases import CASES
from faltung.tools.bench.outcome import Outcome
from faltung.tools.bench.overhead import Making
from faltung.tools.bench.table import makings_table, remarks, tables
from tools.bench.pretend import CASE, RATES, contestant, ours, outcome, usual


def text(things: Iterable[RenderableType], width: int = 100) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width, highlight=False)
    for thing in things:
        console.print(thing)
    return stream.getvalue()


def row(printed: str, name: str) -> list[str]:
    (line,) = [line for line in printed.splitlines() if line.strip().startswith(name)]
    return line.split()


def lost() -> Outcome:
    return outcome(
        (ours("native_torch"), 2e-3), (ours("a_cpu", planned=False), 1.5e-3),
        (contestant("PyTorch"), 1e-3), case=replace(CASE, name="lost dw"),
    )  # fmt: skip


def test_a_row_has_every_figure() -> None:
    printed = text(tables([usual()], RATES))
    # 2 · 4 · 22² operations in 4 ms are 0.1 % of the peak, 2192 bytes 0.55 % of copying
    assert row(printed, "small dw") == [
        "small", "dw", "depthwise", "4.00", "0.001", "1%", "copy", "9.00", "5.00", "7.00", "1.25",
    ]  # fmt: skip
    assert "ONNX" not in printed and "geometric" not in printed  # one case has no mean
    faster = replace(RATES, bandwidth=1e12)
    assert row(text(tables([usual()], faster)), "small dw")[5:7] == ["0%", "peak"]


def test_a_family_has_a_mean_and_missing_peers_a_dash() -> None:
    printed = text(tables([usual(), lost()], RATES))
    assert row(printed, "lost dw")[-4:] == ["1.00", "–", "–", "0.50"]
    assert row(printed, "geometric mean")[-1] == "0.79"
    two = text(tables([usual(), replace(lost(), case=replace(CASE, family="dense"))], RATES))
    assert [line.strip() for line in two.splitlines()].count("dense") == 1


def test_a_wrong_case_has_no_number() -> None:
    wrong = outcome(case=replace(CASE, name="bad dw"), complaints=("a_cpu: is off",))
    assert row(text(tables([wrong], RATES)), "bad dw") == ["bad", "dw", "WRONG"]
    assert "WRONG bad dw: a_cpu: is off" in text(remarks([wrong]))
    assert "losses" not in text(remarks([wrong]))


def test_small_times_are_microseconds() -> None:
    tiny = outcome((ours("a_cpu"), 4e-6), (contestant("PyTorch"), 6e-6))
    printed = text(tables([tiny], RATES))
    assert "µs" in printed and row(printed, "small dw")[3] == "4.00"


def test_remarks_say_what_was_lost_missed_and_missing() -> None:
    printed = text(remarks([usual(), lost()]))
    assert "losses, 1 of 2:\n  lost dw: 0.50, ours native_torch 2.00 ms, PyTorch 1.00 ms" in printed
    assert "not our fastest:\n  lost dw: native_torch 2.00 ms, but a 1.50 ms" in printed
    assert "losses, 0 of 1:\n  none" in text(remarks([usual()]))
    noted = [replace(usual(), notes=("nobody came",)), replace(lost(), notes=("nobody came",))]
    assert text(remarks(noted)).splitlines()[0] == "nobody came"
    assert text(remarks([usual(), noted[1]])).splitlines()[0] == "lost dw: nobody came"


def test_the_longest_names_fit_a_hundred_columns() -> None:
    def everyone(name: str) -> Outcome:
        return outcome(
            (ours("native_torch", "channels_last"), 4.957), (contestant("PyTorch"), 4.957),
            (contestant("PyTorch", "channels_last"), 4.957), (contestant("ONNX Runtime"), 4.957),
            case=replace(CASE, name=name),
        )  # fmt: skip

    found = [everyone(case.name) for case in CASES]
    for width in (100, 140):
        printed = text(tables(found, RATES), width)
        lines = printed.splitlines()
        assert max(map(len, lines)) <= width
        for case in CASES:
            assert any(line.strip().startswith(case.name) for line in lines), case.name


def test_making_routines() -> None:
    things: list[RenderableType] = [makings_table([Making("depthwise_cpu", CASE, 0.0414, 0.00125)])]
    assert row(text(things), "small dw") == ["small", "dw", "depthwise", "41.4", "1.25"]
