"""The examples run, and print the tables that they promise."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
NEEDS = {
    "speed_up_a_network": (),  # it has a network of its own where transformers is not installed
    "train_digits": ("sklearn",),
    "export_onnx": ("onnx", "onnxscript"),
}
PROMISES = {
    "speed_up_a_network": ("against PyTorch", "restored", "faltung.optimize_"),
    "train_digits": ("faltung loss", "what ran, forward and backward"),
    "export_onnx": ("operators:", "max|error|", "faltung"),
}


@pytest.mark.parametrize("name", NEEDS)
def test_runs(name: str) -> None:
    missing = [package for package in NEEDS[name] if importlib.util.find_spec(package) is None]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)}: pip install '.[examples]'")
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py")],
        capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-500:]}\n{done.stderr[-2000:]}"
    for words in PROMISES[name]:
        assert words in done.stdout, done.stdout


def test_every_example_is_run() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(NEEDS)
