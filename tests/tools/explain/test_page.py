"""The page: well-formed, self-contained, light and dark, with the numbers of the facts."""

import random
import re

import pytest

import faltung
from counting import random_spec
from faltung.tools.explain.facts import explained
from tools_page import read

LAYERS = [random_spec(random.Random(seed)) for seed in range(12)]


@pytest.mark.parametrize("spec", LAYERS, ids=str)
def test_page(spec):
    found = faltung.explain(spec)
    page = found.html()
    checked = read(page)
    assert page.startswith("<!doctype html>")
    assert {"html", "head", "title", "style", "svg", "h1", "table", "pre"} <= checked.seen
    assert found.title in checked.text and str(spec) in checked.text
    for count in found.counts:
        assert f"{count.value:,} = {count.filled} = {count.formula}" in checked.text
    for axis in found.sizes:
        for remark in axis.remarks:
            assert remark in checked.text
    for task in found.tasks:
        assert task.plan.algorithm in checked.text
    # colours of the source put spaces between its words
    source = "".join(found.code.by_hand.source.split())
    assert source in "".join(checked.words).replace(" ", "").replace("\n", "")


@pytest.mark.parametrize("spec", LAYERS[:3], ids=str)
def test_a_page_needs_nothing_else_and_knows_the_dark(spec):
    page = faltung.explain(spec).html()
    assert not re.search(r"https?:|//cdn|@import|url\(|<script|<link|src=", page)
    assert "prefers-color-scheme: dark" in page and "color-scheme: light dark" in page


def test_a_fragment_stands_in_a_notebook():
    found = faltung.explain(LAYERS[0])
    fragment = found._repr_html_()
    assert read(fragment).seen.isdisjoint({"html", "head", "body", "script"})
    assert fragment.strip().startswith("<article") and fragment.strip() in found.html()
    # no rule of its style touches what is not inside
    style = re.search(r"<style>(.*?)</style>", fragment, re.DOTALL)[1]
    flat = re.sub(r"@media[^{]*\{|\{[^{}]*\}", "|", style)
    selectors = [s.strip() for part in flat.split("|") for s in part.split(",")]
    assert all(".faltung" in s for s in selectors if s.strip("} \n"))


def test_names_are_no_markup():
    page = explained(LAYERS[0], name="<b>&stem").html()
    assert "&lt;b&gt;&amp;stem" in page and "<b>&stem" not in page
    read(page)
