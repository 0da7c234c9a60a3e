"""Links of a translation to what exists in English only: the reference, design notes."""

import posixpath
import re
from pathlib import Path

_NAME = re.compile(r"\]\[(faltung\.(\w+)[\w.]*)\]")
_PAGE = re.compile(r"\]\(((?:\.\./|[\w-]+/)*[\w-]+)\.md(#[\w.-]+)?\)")
_INDEXES = ("functional", "nn", "by_hand")


def to_english(markdown: str, src_uri: str, translated: Path) -> str:
    """The page with links out of the translation's folder where it has no such page."""
    folder = posixpath.dirname(src_uri)
    out = "../" * (src_uri.count("/") + 1)  # from this page's folder to the English site

    def page(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, match[1]))
        if (translated / f"{target}.md").exists():
            return match[0]
        return f"]({out}{target}.html{match[2] or ''})"

    def name(match: re.Match[str]) -> str:
        index = match[2] if match[2] in _INDEXES else "planning"
        return f"]({out}reference/{index}.html#{match[1]})"

    return _NAME.sub(name, _PAGE.sub(page, markdown))
