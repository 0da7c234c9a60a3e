"""The entry point `faltung`: runs a command and turns a user's mistake into one line.

Exit status: 0 all is well, 1 a check failed, 2 the call was wrong. Commands are in `commands`.
"""

import sys
from collections.abc import Sequence
from typing import Any

from ..errors import ArgumentError, ArgumentTypeError
from ..planning import NoAlgorithmError

_EXTRA = {"typer", "rich", "matplotlib", "jinja2"}  # what the optional dependency `tools` installs


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv`, by default the process's own; returns the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without our signs still gets numbers
    try:
        return _run(argv)
    except ModuleNotFoundError as missing:
        name = (missing.name or "").partition(".")[0]
        if name not in _EXTRA:
            raise
        return _complain(f"the tools need {name}: pip install 'faltung[tools]'")
    except (ArgumentError, ArgumentTypeError, NoAlgorithmError) as mistake:
        return _complain(str(mistake))


def _run(argv: Sequence[str] | None) -> int:
    import typer  # noqa: PLC0415  (optional: its absence must be a sentence, not a traceback)

    from .commands import app  # noqa: PLC0415

    usage_error: type[Any] = typer.BadParameter.__mro__[1]  # typer does not export it by name
    command = typer.main.get_command(app)
    arguments = None if argv is None else list(argv)
    try:
        status = command.main(arguments, prog_name="faltung", standalone_mode=False)
    except usage_error as mistake:
        return _complain(f"{mistake.format_message()} (see faltung --help)")
    return int(status or 0)


def _complain(message: str) -> int:
    print("faltung:", " ".join(message.split()), file=sys.stderr)
    return 2
