"""The lists in the reference: every function of an index, and the help of every command."""

import importlib
import os
import re

_FUNCTIONS = re.compile(r"^\{\{ functions ([\w.]+)((?: \w+)*) \}\}$", re.MULTILINE)
_COMMANDS = re.compile(r"^\{\{ commands \}\}$", re.MULTILINE)
_WIDTH = 88  # columns of the help


def filled_in(markdown: str) -> str:
    """The page with its lists."""
    markdown = _FUNCTIONS.sub(lambda match: _references(match[1], match[2].split()), markdown)
    return _COMMANDS.sub(lambda _: commands(), markdown)


def public_names(module: str) -> list[str]:
    """The public names of an index, in its own order."""
    found = importlib.import_module(module)
    listed = getattr(found, "__all__", None) or vars(found)
    own = [name for name in vars(found) if name in set(listed) and not name.startswith("_")]
    return [name for name in own if callable(getattr(found, name))]


def _references(module: str, names: list[str]) -> str:
    """What mkdocstrings turns into the reference of these names, or of all."""
    return "\n\n".join(f"::: {module}.{name}" for name in names or public_names(module))


def commands() -> str:
    """The help of every command, as it is printed."""
    import typer  # noqa: PLC0415  (the tools are optional)

    from faltung.tools.commands import app  # noqa: PLC0415

    os.environ.update(TERMINAL_WIDTH=str(_WIDTH), COLUMNS=str(_WIDTH))
    group = typer.main.get_command(app)
    sections = []
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        sections.append(f"## faltung {name}\n\n{_help(command, name)}")
    return "\n\n".join(sections)


def _help(command: object, name: str) -> str:
    """A command's sentence and a table of what it takes."""
    lines = [command.help or "", "", "| | |", "| --- | --- |"]  # type: ignore[attr-defined]
    for parameter in command.params:  # type: ignore[attr-defined]
        if parameter.param_type_name == "argument":
            spelled = f"`{parameter.name.upper()}`"
        else:
            spelled = ", ".join(f"`{option}`" for option in reversed(parameter.opts))
        default = parameter.default
        shown = "" if default in (None, False, True, [], ()) else f" Default: `{default}`."
        lines.append(f"| {spelled} | {(parameter.help or '').strip()}{shown} |")
    return "\n".join(lines) if command.params else lines[0]  # type: ignore[attr-defined]
