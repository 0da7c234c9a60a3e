"""The site builds without a warning, needs no network, and its links lead somewhere."""

import json
import os
import re
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import faltung
from faltung.tools.explore import layer as explorer
from faltung.tools.options import LayerOptions, layer_spec

pytest.importorskip("mkdocs")
pytest.importorskip("material")
pytest.importorskip("mkdocstrings")

ROOT = Path(__file__).parents[1]
LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
SITES = {"mkdocs.yml": "", "mkdocs.zh.yml": "zh"}


class Page(HTMLParser):
    """What a page links to, what it loads, and the places in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.places: set[str] = set()
        self.languages: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.places |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag == "link" and found.get("rel") == "alternate":
            self.languages.append(found.get("hreflang", ""))
        elif tag in LOADS and LOADS[tag] in found and found.get("rel") != "canonical":
            self.loads.append(found[LOADS[tag]])


@cache
def page_of(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    for config, below in SITES.items():
        done = subprocess.run(
            [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet",
             "--config-file", str(ROOT / config), "--site-dir", str(folder / below)],
            env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "WARNING" not in done.stderr
    return folder


def test_no_page_asks_the_network_for_anything(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 40
    for path in pages:
        loaded = [url for url in page_of(path).loads if urlsplit(url).netloc]
        assert not loaded, f"{path.name} loads {loaded}"
    for path in site.rglob("*.css"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"url\(\s*['\"]?(https?:)?//|@import", text), path.name


def test_every_link_leads_somewhere(site: Path) -> None:
    lost = []
    for path in site.rglob("*.html"):
        if path.name in ("404.html", "explorer.html"):
            continue
        page = page_of(path)
        for url in [*page.links, *page.loads]:
            parts = urlsplit(url)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.is_file():
                lost.append(f"{path.relative_to(site)}: {url}")
            elif parts.fragment and target.suffix == ".html" and target.name != "explorer.html":
                place = unquote(parts.fragment)
                if place not in page_of(target).places and not place.startswith("__"):
                    lost.append(f"{path.relative_to(site)}: {url} has no such place")
    assert not lost, "\n".join(lost)


def test_links_to_the_explorer_open_layers_that_exist(site: Path) -> None:
    count = 0
    for path in site.rglob("*.html"):
        for url in page_of(path).links if path.name != "explorer.html" else ():
            parts = urlsplit(url)
            if parts.path.endswith("explorer.html") and parts.fragment:
                count += 1
                check_layer(parts.fragment)
    assert count >= 20


def check_layer(fragment: str) -> None:
    """The link's layer exists, and the explorer draws all of it."""
    words = dict(part.split("=", 1) for part in fragment.split("&"))
    made = {"x": {"disc", "ones"}, "w": {"edges", "ones"}, "bias": {"0"}, "t": {"1"}}
    for name, known in made.items():
        assert words.pop(name, next(iter(known))) in known or name == "t", fragment
    transposed = "t=1" in fragment.split("&")
    pin = words.pop("pin", None)
    names = {"i": "input", "k": "kernel", "s": "stride", "p": "padding", "d": "dilation",
             "e": "output_padding"}  # fmt: skip
    counts = {"c": "channels", "o": "out_channels", "g": "groups"}
    assert set(words) <= set(names) | set(counts), fragment
    spec = layer_spec(
        LayerOptions(
            **{names[k]: v for k, v in words.items() if k in names},
            **{counts[k]: int(v) for k, v in words.items() if k in counts},
            transposed=transposed,
        )
    )
    assert not explorer.shrunk(spec).notes, fragment
    if pin is not None:
        outputs = spec.out_channels
        for n in spec.output_size:
            outputs *= n
        assert pin[0] == "y" and int(pin[1:]) < outputs, fragment


def test_everything_public_is_in_the_reference(site: Path) -> None:
    for index in ("functional", "nn", "by_hand"):
        names = {
            name
            for name, value in vars(getattr(faltung, index)).items()
            if callable(value) and not name.startswith("_") and value.__module__ != "typing"
        }
        places = page_of(site / "reference" / f"{index}.html").places
        missing = [name for name in names if f"faltung.{index}.{name}" not in places]
        assert names and not missing, f"the reference of {index} lacks {missing}"
    models = page_of(site / "reference" / "models.html").places
    planning = page_of(site / "reference" / "planning.html").places
    tools = page_of(site / "reference" / "tools.html").places
    known = models | planning | tools | {
        place.replace("tools.summary.", "").replace("tools.explain.", "")
        .replace("ops.conv.receptive_field.", "").replace("ops.conv.spec.", "")
        .replace("planning.", "")
        for place in models | planning | tools
    }  # fmt: skip
    public = {
        name
        for name in dir(faltung)
        if callable(getattr(faltung, name)) and not name.startswith("_") and name != "import_module"
    } - {"Any"}
    missing = [name for name in public if f"faltung.{name}" not in known]
    assert not missing, missing


def test_only_what_is_translated_is_called_a_translation(site: Path) -> None:
    for path in site.rglob("*.html"):
        if path.name in ("404.html", "explorer.html"):
            continue
        below = path.relative_to(site).with_suffix(".md")
        if below.parts[0] == "zh":
            below = Path(*below.parts[1:])
        there = {name for name in ("en", "zh") if (ROOT / "docs" / name / below).exists()}
        told = set(page_of(path).languages)
        assert told <= (there or {"en"}), f"{path.relative_to(site)}: {told}, {there}"


def test_benchmarks_tolerate_what_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "machinery"))
    import tables

    assert tables.newest(tmp_path / "nothing") is None
    for version, date in (("0.9.0", "2026-01-02"), ("0.10.0", "2026-01-01"), ("0.10.0b", "2025")):
        file = tmp_path / version / "machine.json"
        file.parent.mkdir()
        file.write_text(f'{{"date": "{date}"}}')
    (tmp_path / "0.10.0b").rename(tmp_path / "0.8.0")
    newest = tables.newest(tmp_path)
    assert newest is not None and newest.parent.name == "0.10.0"
    wrong = {"family": "dense", "name": "a", "problem": "p", "ours": None, "best_peer": None,
             "ratio": None, "complaints": ["off"]}  # fmt: skip
    fine = wrong | {
        "ours": {"algorithm": "direct_cpu", "layout": "channels_last", "seconds": 1e-3,
                 "of_peak": 0.5, "of_copying": 0.9},
        "best_peer": {"who": "PyTorch", "layout": "contiguous", "seconds": 2e-3},
        "ratio": 2.0, "complaints": [],
    }  # fmt: skip
    results = {
        "version": "0.10.0", "date": "2026-01-01T00:00:00", "machine": {"processor": "a core"},
        "method": {"threads": 1}, "software": {"torch": "2", "onnxruntime": None},
        "rates": {"peak": 2e11, "bandwidth": 1e10}, "cases": [wrong, fine],
        "geometric_means": {"dense": 2.0},
    }  # fmt: skip
    newest.write_text(json.dumps(results))
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    for language in ("en", "zh"):
        shown = tables.filled_in("{{ benchmarks }}", language)
        assert "200 GF/s" in shown and "onnxruntime" not in shown and "**2.00**" in shown
        assert "direct channels-last | 1.000 | 90% | PyTorch | 2.000 | 2.00" in shown
    assert "wrong: no number" in tables.filled_in("{{ benchmarks }}", "en")
    monkeypatch.setattr(tables, "RESULTS", tmp_path / "nothing")
    assert "faltung bench" in tables.filled_in("{{ benchmarks }}", "en")


def test_docstrings_become_markdown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "machinery"))
    import docstrings

    written = "Sum of [N].\n\ny[q] = x[q]\n\nx\n    A `[N]`, or\n    (N).\n\n>>> 1 + 1\n2"
    assert docstrings.markdown(written) == (
        "Sum of \\[N].\n\n```formula\ny[q] = x[q]\n```\n\n`x`\n:   A `[N]`, or\n    (N).\n\n"
        "```pycon\n>>> 1 + 1\n2\n```"
    )
