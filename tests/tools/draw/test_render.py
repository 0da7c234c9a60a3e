"""Every kind, drawn: letters that can be read and do not run into each other, and whole files."""

import io
import itertools
from xml.etree import ElementTree

import pytest
from PIL import Image

from faltung.errors import ArgumentError
from faltung.tools.draw import all_kinds, draw, figure
from faltung.tools.draw.figure import Cell, box_of
from faltung.tools.draw.fitting import fitted
from faltung.tools.draw.furniture import furnished
from faltung.tools.draw.render import drawn, save, still
from faltung.tools.draw.theme import DARK, LIGHT, SERIES, THEMES, contrast, parsed, theme_of

SMALL = {
    "channels": "forward n1 c2 o2 i3x3 k2x2 g2 float32 cpu",
    "deform": "forward n1 c1 o1 i24x20 k3x3 p4 d4 float32 cpu",
    "fft": "forward n1 c1 o1 i4x3 k2x2 float32 cpu",
    "field": "k3 k3s2",
    "im2col": "forward n1 c1 o1 i3x4 k2x2 float32 cpu",
    "matrix": "forward n1 c1 o1 i3x3 k2x2 float32 cpu",
    "scatter": "grad_input n1 c1 o1 i5x5 k3x3 s2 float32 cpu",
    "separable": "forward n1 c2 o2 i3x3 k2x2 float32 cpu",
    "slide": "forward n1 c1 o1 i4x4 k2x2 s2 p0+1 float32 cpu",
    "winograd": "forward n1 c1 o1 i4x4 k3x3 float32 cpu",
    "zeros": "grad_input n1 c1 o1 i5x5 k3x3 s2 p1 float32 cpu",
}
MORE = [
    ("slide", "forward n1 c1 o1 i9 k3 s2 p1 d2 float32 cpu"),
    ("slide", "grad_input n1 c1 o1 i9 k3 s2 float32 cpu"),
    ("slide", "forward n1 c1 o1 i3x4x4 k2x3x3 p0x1x0 float32 cpu"),
    ("scatter", "grad_input n1 c1 o1 i8 k4 s2 p1 float32 cpu"),
    ("winograd", "forward n1 c1 o1 i6 k3 p1 float32 cpu"),
    ("field", "k3s2p1 k3x5 Tk4s2p1"),
    ("matrix", "grad_input n1 c1 o1 i4x4 k3x3 float32 cpu"),
    ("slide", "forward n1 c1 o1 i40x60 k5x5 s2 p2 float32 cpu"),
]


def test_every_kind_has_a_small_layer_here():
    assert SMALL.keys() == all_kinds().keys()


def texts(kind, layer, frame=None):
    """Words and boxes in pixels of all texts of a figure, and its size."""
    shown = figure(kind, layer)
    one, note = fitted(shown.frame(shown.still if frame is None else frame))
    items = furnished(shown, one.items, one.bounds, note)
    canvas = drawn(items, box_of(items), LIGHT)
    canvas.draw_without_rendering()
    found = [(t.get_text(), t.get_window_extent()) for t in canvas.axes[0].texts]
    return [(word, box) for word, box in found if word.strip()], canvas.bbox


@pytest.mark.parametrize(("kind", "layer"), [*SMALL.items(), *MORE])
def test_no_text_runs_into_another_or_off_the_page(kind, layer):
    found, page = texts(kind, layer)
    for word, box in found:
        assert page.x0 <= box.x0 and box.x1 <= page.x1, word
        assert page.y0 <= box.y0 and box.y1 <= page.y1, word
    ordered = sorted(found, key=lambda pair: pair[1].x0)
    for (word, box), (other, beside) in itertools.combinations(ordered, 2):
        apart = beside.x0 >= box.x1 or beside.y0 >= box.y1 or box.y0 >= beside.y1
        assert apart, f"{word!r} runs into {other!r}"


def test_rows_go_down_and_columns_right_each_number_in_its_cell():
    shown = figure("im2col", SMALL["im2col"])
    frame = shown.frame(0)
    canvas = drawn(frame.items, frame.bounds, LIGHT)
    canvas.draw_without_rendering()
    axes = canvas.axes[0]
    placed = [(t.get_text(), *t.get_window_extent().get_points().mean(0)) for t in axes.texts]
    for grid in frame.grids:
        for cell in grid.cells:
            left, top = grid.corner(cell)
            (x0, y0), (x1, y1) = axes.transData.transform([(left, top + 1), (left + 1, top)])
            inside = [word for word, x, y in placed if x0 < x < x1 and y0 < y < y1]
            assert cell.text in inside
    first, below, beside = (
        next(c for c in frame.cells("regions") if (c.row, c.column) == at)
        for at in ((0, 0), (1, 0), (0, 1))
    )
    (grid,) = (g for g in frame.grids if g.name == "regions")
    (x, y), (_, lower), (right, _) = (
        axes.transData.transform(grid.corner(cell)) for cell in (first, below, beside)
    )
    assert lower < y and right > x


@pytest.mark.parametrize("kind", SMALL)
def test_every_kind_is_an_svg_with_its_title(kind, tmp_path):
    path = draw(kind, SMALL[kind], tmp_path / "a.svg", theme="dark")
    root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
    assert root.tag.endswith("svg")
    assert figure(kind, SMALL[kind]).title in path.read_text(encoding="utf-8")


def test_the_same_figure_is_the_same_file():
    shown = figure("slide", SMALL["slide"])
    assert still(shown, LIGHT, "svg") == still(shown, LIGHT, "svg")


def test_a_png_shows_the_page_of_its_theme():
    for theme in THEMES.values():
        data = still(figure("slide", SMALL["slide"]), theme, "png")
        with Image.open(io.BytesIO(data)) as image:
            corner = tuple(v / 255 for v in image.convert("RGB").getpixel((2, 2)))
        assert corner == parsed(theme.page)


def test_a_gif_has_all_frames_and_they_differ(tmp_path):
    shown = figure("slide", SMALL["slide"])
    save(shown, tmp_path / "a.gif", LIGHT)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == shown.frames == 4
        seen = set()
        for number in range(image.n_frames):
            image.seek(number)
            seen.add(image.convert("RGB").tobytes())
    assert len(seen) == 4


def test_a_frame_can_be_chosen():
    shown = figure("slide", SMALL["slide"])
    assert still(shown, LIGHT, "svg", 0) != still(shown, LIGHT, "svg", 1)
    with pytest.raises(ArgumentError, match="--frame must be from 0 to 3, got 4"):
        still(shown, LIGHT, "svg", 4)


def test_a_gif_of_too_many_frames_is_refused_before_it_is_drawn(tmp_path):
    large = figure("slide", "forward n1 c1 o1 i30x30 k3x3 float32 cpu")
    with pytest.raises(ArgumentError, match="this layer has 784 frames, a GIF holds 400"):
        save(large, tmp_path / "a.gif", LIGHT)


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match=r"must end in .svg, .png or .gif, got 'a.jpeg'"):
        save(figure("slide", SMALL["slide"]), tmp_path / "a.jpeg", LIGHT)


@pytest.mark.parametrize("theme", THEMES.values(), ids=lambda theme: theme.name)
def test_every_number_can_be_read_in_its_cell(theme):
    roles = ["input", "weight", "output", "count", "mark", "plain"]
    roles += [f"series{number}" for number in range(len(SERIES))]
    cells = [Cell(role=role, lit=lit) for role in roles for lit in (False, True)]
    cells += [Cell(role=role, shade=1.0) for role in roles]
    cells += [Cell(role=role) for role in ("padding", "zero", "unread")]
    for cell in cells:
        assert contrast(theme.letters(cell), theme.fill(cell)) >= 4.5, cell
    for role in (*roles, "ink", "faint", "formula"):
        assert contrast(theme.text(role), parsed(theme.page)) >= 4.5, role


def test_there_are_two_themes():
    assert theme_of("dark") is DARK
    with pytest.raises(ArgumentError, match="--theme must be one of light, dark, got 'blue'"):
        theme_of("blue")
