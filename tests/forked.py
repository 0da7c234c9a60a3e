"""Scripts in a process of their own, which a routine may crash, without the wait for imports.

For each kind of environment one server imports PyTorch and the algorithms once, and forks for
every script: what crashes is the fork. The server computes nothing itself, so that a fork starts
as a fresh process would: no thread runs, no routine is compiled, nothing is measured.
"""

import atexit
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import BinaryIO

import pytest

HERE = Path(__file__).parent
SECONDS = 300  # that a script may take


def run(script: str, *arguments: str, level: str = "") -> subprocess.CompletedProcess[str]:
    """The exit status and the output of a script with these arguments, as `subprocess.run` has it.

    `script` is Python code; `level` is the processor's (`FALTUNG_CPU`), of this machine if empty.
    """
    server = _server(level, os.environ["FALTUNG_CACHE"])
    assert server.stdin is not None and server.stdout is not None
    server.stdin.write(json.dumps([script, *arguments]) + "\n")
    server.stdin.flush()
    answer = server.stdout.readline()
    assert answer, f"the process that forks ended with {server.wait()}"
    return subprocess.CompletedProcess([script, *arguments], *json.loads(answer))


def run_guarded(name: str, texts: Sequence[str], level: str = "") -> None:
    """Raise unless the algorithm stays inside its memory in every problem: see `guard.py`."""
    done = run("import guard; guard.main()", name, *texts, level=level)
    if level and "routines need fused multiply-add" in done.stderr:
        pytest.skip(f"this machine has no {level}")
    assert done.returncode == 0, f"{done.stdout[-300:]}\n{done.stderr[-2000:]}"
    assert done.stdout.endswith("fine\n")


@cache
def _server(level: str, objects: str) -> subprocess.Popen[str]:
    """A process that forks, which keeps the code that its forks compile in the folder `objects`."""
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "FALTUNG_CACHE": objects}
    if level:
        environment["FALTUNG_CPU"] = level
    server = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    atexit.register(_end, server)
    return server


def _end(server: subprocess.Popen[str]) -> None:
    server.communicate()  # the end of its input is its own


def _serve() -> None:
    """Fork for every line of the input; a line of the output says how that ended."""
    sys.path.insert(0, str(HERE))
    for module in ("guard", "by_taps"):
        importlib.import_module(module)
    from faltung.planning import algorithms

    assert algorithms("conv", "cpu")
    for line in sys.stdin:
        script, *arguments = json.loads(line)
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            child = os.fork()
            if not child:
                _become(script, arguments, output, errors)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            output.seek(0)
            errors.seek(0)
            print(json.dumps([code, output.read().decode(), errors.read().decode()]), flush=True)


def _become(script: str, arguments: list[str], output: BinaryIO, errors: BinaryIO) -> None:
    """Run a script in place of the server, and end."""
    os.dup2(output.fileno(), 1)
    os.dup2(errors.fileno(), 2)
    signal.alarm(SECONDS)
    sys.argv = ["-c", *arguments]
    code = 1
    try:
        exec(compile(script, "<script>", "exec"), {"__name__": "__main__"})
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
