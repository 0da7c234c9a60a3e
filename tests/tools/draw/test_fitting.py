import pytest

from faltung.errors import ArgumentError
from faltung.tools.draw import figure
from faltung.tools.draw.fitting import fitted


def test_a_small_figure_stays_as_it_is():
    frame = figure("slide").frame(0)
    assert fitted(frame) == (frame, "")


def test_numbers_go_first_and_the_figure_says_so():
    frame = figure("slide", "forward n1 c1 o1 i20x50 k3x3 p1 float32 cpu").frame(0)
    shown, note = fitted(frame)
    assert all(not cell.text and not cell.corner for cell in shown.cells("x"))
    assert [cell.ref for cell in shown.lit("x")] == [cell.ref for cell in frame.lit("x")]
    assert note.startswith("Numbers are left out: this figure is")
    assert "they can be read up to 48 × 30" in note


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (
            "forward n1 c1 o1 i10x300 k3x3 float32 cpu",
            "x would have 10 × 300 cells, a figure holds",
        ),
        (
            "forward n1 c1 o1 i100x150 k3x3 float32 cpu",
            r"too large to draw: 30\d × 10\d cells",
        ),
        ("forward n1 c1 o1 i9000x9000 k3x3 float32 cpu", "is too large to draw"),
    ],
)
def test_what_no_slide_holds_is_refused_with_the_limit(problem, message):
    with pytest.raises(ArgumentError, match=message):
        fitted(figure("slide", problem).frame(0))
