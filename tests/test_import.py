"""Importing faltung in a fresh process: nothing optional, nothing compiled, nothing read twice."""

import subprocess
import sys

SCRIPT = """
import sys
for name in ("llvmlite", "triton", "typer", "rich", "matplotlib", "torchvision", "onnx"):
    sys.modules[name] = None  # importing it now raises ImportError
import torch
import faltung
y = faltung.functional.conv2d(torch.ones(1, 2, 5, 5), torch.ones(3, 2, 3, 3), padding=1)
assert y.shape == (1, 3, 5, 5) and y[0, 0, 2, 2] == 18, y
assert faltung.by_hand.conv(torch.ones(1, 1, 3), torch.ones(1, 1, 2)).tolist() == [[[2.0, 2.0]]]
assert "faltung.tools" not in sys.modules
print("fine")
"""


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:faltung", "-c", script],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_core_needs_no_optional_package() -> None:
    done = run(SCRIPT)
    assert done.stdout.strip() == "fine", done.stderr


def test_importing_starts_no_algorithm() -> None:
    done = run(
        "import torch, faltung, sys; "
        "print([m for m in sys.modules if m.startswith('faltung.ops') and '.algorithms.' in m])"
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_importing_leaves_torch_settings_alone() -> None:
    done = run(
        "import torch; before = (torch.get_num_threads(), torch.get_default_dtype(), "
        "torch.are_deterministic_algorithms_enabled(), torch.random.initial_seed()); "
        "import faltung; print(before == (torch.get_num_threads(), torch.get_default_dtype(), "
        "torch.are_deterministic_algorithms_enabled(), torch.random.initial_seed()))"
    )
    assert done.stdout.strip() == "True", done.stderr
