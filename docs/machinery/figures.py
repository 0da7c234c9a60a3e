"""The figures of a page: each `$ faltung draw … -o name.svg` in it is run, light and dark."""

import contextlib
import html
import io
import re
import shlex
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_BLOCK = re.compile(
    r"^```console\n(\$ faltung draw [^\n]* -o [^\n]*)\n.*?^```\n", re.MULTILINE | re.DOTALL
)
_THEMES = ("light", "dark")


@dataclass(frozen=True)
class Drawing:
    """A command that draws, as its page has it."""

    command: str

    @property
    def words(self) -> list[str]:
        """The arguments, without the file."""
        words = shlex.split(self.command.removeprefix("$ faltung "))
        at = words.index("-o")
        return words[:at] + words[at + 2 :]

    @property
    def file(self) -> Path:
        """The file that the page names."""
        words = shlex.split(self.command)
        return Path(words[words.index("-o") + 1])

    def name(self, theme: str) -> str:
        """The file of one theme."""
        return f"{self.file.stem}-{theme}{self.file.suffix}"


def of_page(markdown: str) -> list[Drawing]:
    """The drawings that a page asks for."""
    return [Drawing(command) for command in _BLOCK.findall(markdown)]


def drawn(drawing: Drawing) -> dict[str, bytes]:
    """The files of a drawing by their names."""
    return {drawing.name(theme): _picture(drawing, theme) for theme in _THEMES}


def with_pictures(markdown: str, to_root: str) -> str:
    """The page with a picture in front of each command that draws one and is not yet shown."""

    def with_picture(match: re.Match[str]) -> str:
        drawing = Drawing(match[1])
        if drawing.name("light") in markdown:
            return match[0]  # the page shows it at a place of its own
        told = html.escape(drawing.command.removeprefix("$ "))
        images = "".join(
            f'<img src="{to_root}figures/{drawing.name(theme)}#only-{theme}" alt="{told}">'
            for theme in _THEMES
        )
        return f'<figure class="drawn">{images}</figure>\n\n{match[0]}'

    return _BLOCK.sub(with_picture, markdown)


@cache
def _picture(drawing: Drawing, theme: str) -> bytes:
    """The bytes of a figure."""
    from faltung.tools.cli import main  # noqa: PLC0415  (loads PyTorch; not every page draws)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, drawing.file.name)
        with contextlib.redirect_stdout(io.StringIO()):
            status = main([*drawing.words, "--theme", theme, "-o", str(path)])
        if status:
            raise ValueError(f"failed: {drawing.command}")
        return path.read_bytes()
