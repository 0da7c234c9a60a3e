"""A summary as HTML: a fragment for notebooks, and a page that needs nothing else."""

from functools import cache

from jinja2 import ChoiceLoader, Environment, PackageLoader

from ..explain import page as sheets
from . import words
from .table import Summary


def page(found: Summary) -> str:
    """A whole document."""
    return sheets.wrapped(f"faltung summary of {found.model}", fragment(found))


def fragment(found: Summary) -> str:
    """An element with its style, to stand in another document."""
    return _environment().get_template("page.html.jinja").render(found=found, words=words)


@cache
def _environment() -> Environment:
    """The explanations' templates and style sheet, with the one here before them."""
    shared = sheets.environment()
    assert shared.loader is not None
    here = PackageLoader("faltung.tools.summary", ".")
    return shared.overlay(loader=ChoiceLoader([here, shared.loader]))
