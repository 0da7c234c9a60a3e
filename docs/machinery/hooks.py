"""What the site shows and nobody wrote by hand, made while mkdocs builds it.

    explorer.html       `faltung explore`; pages link to it with a layer behind the #
    figures/*.svg|gif   what each `$ faltung draw … -o name` of a page draws, on light and on dark
    design/*.md         the design notes, which live in docs/design
    {{ functions … }}   the reference of every name of an index, from its docstring
    {{ commands }}      the help of every command
    {{ benchmarks }}    the tables of the newest file in benchmarks/results

mkdocs calls the functions here by their names.
"""

import importlib
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

HERE = Path(__file__).parent
DOCS = HERE.parent
sys.path.insert(0, str(HERE))

figures = importlib.import_module("figures")
links = importlib.import_module("links")
tables = importlib.import_module("tables")
listings = importlib.import_module("listings")

LANGUAGES = {"en": ("", "English"), "zh": ("zh/", "简体中文")}
# the end of a line in the source is a space, which Chinese does not have
_BREAK = re.compile(r"(?<=[\u3001-\u9fff\uff00-\uffef])\n(?=[\u4e00-\u9fff])")
_SHARED = ("design", "assets")  # folders beside those of the languages, part of each site


def language_of(config: Any) -> str:
    """The folder of the site that is being built: en or zh."""
    return Path(config.docs_dir).name


def on_config(config: Any) -> Any:
    """Put the design notes into the navigation: the folder is the list."""
    notes = [{_title(path): f"design/{path.name}"} for path in sorted((DOCS / "design").glob("*"))]
    _replace(config.nav, "Design notes", notes)
    return config


def _title(note: Path) -> str:
    return note.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")


def _replace(items: list[Any], section: str, entries: list[Any]) -> None:
    for item in items:
        for name, content in item.items() if isinstance(item, dict) else ():
            if name == section:
                item[name] = entries
            elif isinstance(content, list):
                _replace(content, section, entries)


def on_files(files: Files, config: Any) -> Files:
    """Add what is made and what the languages share."""
    from faltung.tools.explore import explore  # noqa: PLC0415  (the site's, not mkdocs's)

    files.append(File.generated(config, "explorer.html", content=explore().html))
    for folder in _SHARED:
        if folder == "design" and language_of(config) != "en":
            continue  # English only
        for path in sorted((DOCS / folder).iterdir()):
            name = f"{folder}/{path.name}"
            files.append(File.generated(config, name, abs_src_path=str(path)))
    if language_of(config) != "en":
        return files  # the figures are those of the English site, which lies around this one
    for page in [file for file in files if file.is_documentation_page()]:
        for figure in figures.of_page(page.content_string):
            for name, content in figures.drawn(figure).items():
                if files.get_file_from_path(f"figures/{name}") is None:
                    files.append(File.generated(config, f"figures/{name}", content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Put pictures behind the commands that draw them, and lists where a page asks for them."""
    to_root = "../" * page.file.dest_uri.count("/")
    if language_of(config) != "en":
        to_root += "../"
        markdown = _BREAK.sub("", markdown)
        markdown = links.to_english(markdown, page.file.src_uri, DOCS / language_of(config))
    markdown = figures.with_pictures(markdown, to_root)
    markdown = listings.filled_in(markdown)
    return tables.filled_in(markdown, language_of(config))


def on_page_context(context: Any, page: Any, config: Any, nav: Any) -> Any:
    """Offer the page in the other languages where it was translated, and else their front pages."""
    config.extra["alternate"] = [
        {"name": name, "link": _link(page, config, language), "lang": language}
        for language, (_, name) in LANGUAGES.items()
    ]
    return context


def _link(page: Any, config: Any, language: str) -> str:
    """What the theme's templates turn into a link from this page to the one in that language."""
    here = LANGUAGES[language_of(config)][0]
    target = page.file.dest_uri if _exists(page, language) else "index.html"
    if language == language_of(config):
        return str(page.file.dest_uri)
    if not here:
        return LANGUAGES[language][0] + target
    # the templates go up from the page's own folder, so that folder is named once more
    folder, slash, _ = page.file.dest_uri.rpartition("/")
    return "../" * (page.file.dest_uri.count("/") + 1) + folder + slash + target


def _exists(page: Any, language: str) -> bool:
    return (DOCS / language / page.file.src_uri).exists()


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Do not tell search engines of translations that are not there."""
    for language in LANGUAGES:
        if not _exists(page, language):
            output = re.sub(rf'\s*<link rel="alternate"[^>]*hreflang="{language}">', "", output)
    return output
