"""The whole demo on its small sizes: what it writes, says and returns."""

import functools
from html.parser import HTMLParser

import pytest
import torch
from PIL import Image

from faltung.tools import demo, verify
from faltung.tools.demo.layers import LAYERS
from faltung.tools.demo.scenes import SCENES
from faltung.tools.demo.sizes import QUICK
from faltung.tools.verification.checks import Failure, Row

GREEN = Row("2", "sliding window", 36, 0.0, ())
NEAR = Row("19", "output size", 8, 0.93, ())
RED = Row("6", "kernel matrix", 9, 7.5, (Failure("forward n1 c1", "by hand", "differs in 3"),))


class Page(HTMLParser):
    """The images, ids and links of a page."""

    def __init__(self, text):
        super().__init__()
        self.images, self.ids, self.sources, self.links = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag == "img":
            self.images.append(found)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found["href"]] if "href" in found else []
        self.sources += [found[name] for name in ("src", "srcset") if name in found]


def systems(*rows):
    """Stands in for the verification, which has its own tests and takes half a minute."""
    return lambda source: rows


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verify, "verify_systems", systems(GREEN, NEAR))
        status = demo.run(folder, sizes=QUICK)
    return status, folder


@pytest.fixture(scope="module")
def text(made):
    return (made[1] / "index.html").read_text(encoding="utf-8")


def test_all_holds_and_exit_status_is_zero(made, text):
    assert made[0] == 0
    assert "Everything holds" in text
    assert "✗" not in text


def test_report_has_every_section_and_the_contents_lead_there(text):
    page = Page(text)
    sections = {"systems", "layers", "edges", "matrices", "dilated", "grouped", "separable",
                "transposed", "deformable", "large", "signal", "padding", "learned",
                "template"}  # fmt: skip
    assert sections == set(page.ids)
    assert len(sections) == len(SCENES) + 2
    assert {link.removeprefix("#") for link in page.links} == sections


def test_report_shows_rows_layers_and_facts(text):
    assert "sliding window" in text
    assert "exact" in text
    assert "0.93" in text
    for layer in LAYERS[: QUICK.layers]:
        assert layer.name in text
        assert layer.problem in text
    assert "⌊(120 + 1 + 1 − 1·(3 − 1) − 1) / 1⌋ + 1 = 120" in text
    assert "(60 − 1)·2 − 1 − 1 + 1·(4 − 1) + 0 + 1 = 120" in text


def test_report_needs_nothing_else(text):
    page = Page(text)
    assert page.images
    assert all(source.startswith("data:image/") for source in page.sources)
    assert "url(" not in text
    assert "<script" not in text
    assert "@import" not in text


def test_every_image_says_what_it_shows(text):
    assert all(image.get("alt") for image in Page(text).images)


def test_slides_are_of_slide_size_and_not_empty(made):
    slides = sorted((made[1] / "slides").glob("*.png"))
    assert {path.name.rsplit("-", 1)[0] for path in slides} >= {"edges", "learned", "template"}
    for path in slides:
        with Image.open(path) as slide:
            assert slide.size == (1920, 1080)
            assert len(slide.convert("L").getcolors()) > 30


def test_a_red_row_makes_the_exit_status_one(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(verify, "verify_systems", systems(GREEN, RED))
    monkeypatch.setattr(demo, "SCENES", {})
    monkeypatch.setattr(demo, "check_layers", lambda source, count: ())
    assert demo.run(tmp_path, sizes=QUICK) == 1
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "1 statement does not hold" in text
    assert "differs in 3" in text
    assert "kernel matrix" in capsys.readouterr().out


def test_a_wrong_convolution_makes_the_exit_status_one(tmp_path, monkeypatch):
    from faltung import functional

    right = functional.conv2d

    @functools.wraps(right)
    def wrong(*operands, **arguments):
        return right(*operands, **arguments) * 1.001

    monkeypatch.setattr(verify, "verify_systems", systems(GREEN))
    monkeypatch.setattr(demo, "SCENES", {})
    monkeypatch.setattr(functional, "conv2d", wrong)
    assert demo.run(tmp_path, sizes=QUICK) == 1


def test_the_demo_leaves_the_random_numbers_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(verify, "verify_systems", systems(GREEN))
    monkeypatch.setattr(demo, "SCENES", {"learned": SCENES["learning a filter"]})
    monkeypatch.setattr(demo, "check_layers", lambda source, count: ())
    before = torch.get_rng_state()
    demo.run(tmp_path, sizes=QUICK)
    assert torch.equal(before, torch.get_rng_state())
