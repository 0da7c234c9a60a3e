"""Who may import whom: the table of the design, checked on the source."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src"
FAMILIES = ("conv", "unfold", "deform", "separable")

# module pattern -> what of ours it may import (its own folder is never implied);
# patterns are matched in order, `{family}` is the file's own
MAY_IMPORT = (
    ("faltung.errors", ()),
    ("faltung.lang", ("faltung.lang",)),
    ("faltung.kept", ()),
    ("faltung.machine", ("faltung.errors", "faltung.kept")),
    ("faltung.measure", ("faltung.lang", "faltung.machine")),
    ("faltung.settings", ("faltung.errors",)),
    ("faltung.trials", ("faltung.kept", "faltung.machine", "faltung.ops.operands")),
    (
        "faltung.planning",
        ("faltung.errors", "faltung.machine", "faltung.settings", "faltung.trials"),
    ),
    # the arithmetic of sizes is for everyone: it knows no tensor
    ("faltung.ops.naming", ("faltung.errors",)),
    (
        "faltung.parts",
        ("faltung.lang", "faltung.parts", "faltung.ops.geometry", "faltung.ops.naming"),
    ),
    ("faltung.ops.arguments", ("faltung.errors",)),
    ("faltung.ops.geometry", ("faltung.errors",)),
    (
        "faltung.ops.spelling",
        (
            "faltung.errors", "faltung.ops.arguments", "faltung.ops.geometry",
            "faltung.ops.naming",
        ),
    ),
    ("faltung.ops.operands", ("faltung.errors",)),
    ("faltung.ops.pages", ()),
    ("faltung.ops.tracing", ()),
    ("faltung.ops.memory", ("faltung.ops.pages",)),
    ("faltung.ops.calling", ("faltung.lang", "faltung.ops.memory")),
    ("faltung.ops.scratch", ("faltung.lang", "faltung.ops.memory")),
    (
        "faltung.ops.rearranged",
        ("faltung.lang", "faltung.parts", "faltung.ops.calling", "faltung.ops.operands"),
    ),
    ("faltung.ops.layouts", ("faltung.ops.operands", "faltung.ops.rearranged")),
    ("faltung.ops.gathered", ()),
    ("faltung.ops.packed", ("faltung.errors", "faltung.ops.operands", "faltung.ops.pages")),
    ("faltung.ops.activations", ("faltung.errors", "faltung.ops.naming")),
    ("faltung.ops.padding", ("faltung.ops.geometry",)),
    (
        "faltung.ops.{family}.by_hand",
        (
            "faltung.errors", "faltung.ops.arguments", "faltung.ops.geometry",
            "faltung.ops.operands", "faltung.ops.{family}.spec", "faltung.ops.{family}.arguments",
            "faltung.ops.{family}.by_hand",
        ),
    ),
    (
        "faltung.ops.{family}.algorithms",
        (
            "faltung.planning", "faltung.machine", "faltung.lang", "faltung.parts",
            "faltung.ops.geometry", "faltung.ops.padding", "faltung.ops.operands",
            "faltung.ops.activations", "faltung.ops.calling", "faltung.ops.packed",
            "faltung.ops.rearranged", "faltung.ops.gathered", "faltung.ops.layouts",
            "faltung.ops.scratch",
            "faltung.ops.{family}.mirrored", "faltung.ops.{family}.residual",
            "faltung.ops.{family}.dense_memory", "faltung.ops.{family}.parted",
            "faltung.ops.{family}.group_algorithm", "faltung.ops.{family}.group_layout",
            "faltung.ops.{family}.refusals", "faltung.ops.{family}.spec",
            "faltung.ops.{family}.filtered_lines", "faltung.ops.{family}.spans",
            "faltung.ops.{family}.transformed_filters", "faltung.ops.{family}.row_cut",
            "faltung.ops.{family}.bias_gradient",
        ),
    ),
    (
        "faltung.ops.{family}.spec",
        (
            "faltung.errors", "faltung.ops.arguments", "faltung.ops.geometry",
            "faltung.ops.naming", "faltung.ops.spelling", "faltung.ops.{family}.spelling",
        ),
    ),
    (
        "faltung.ops.{family}.spelling",
        ("faltung.errors", "faltung.ops.arguments", "faltung.ops.geometry", "faltung.ops.spelling"),
    ),
    (
        "faltung.ops.{family}.arguments",
        (
            "faltung.errors", "faltung.ops.arguments", "faltung.ops.geometry",
            "faltung.ops.{family}.spec",
        ),
    ),
    (
        "faltung.ops.{family}.residual",
        (
            "faltung.planning", "faltung.machine", "faltung.ops.activations",
            "faltung.ops.layouts", "faltung.ops.operands", "faltung.ops.{family}.spec",
        ),
    ),
    (
        "faltung.ops.{family}.dense_memory",
        (
            "faltung.planning", "faltung.machine", "faltung.ops.layouts",
            "faltung.ops.{family}.spec",
        ),
    ),
    (
        "faltung.ops.{family}.mirrored",
        (
            "faltung.planning", "faltung.machine", "faltung.ops.geometry", "faltung.ops.layouts",
            "faltung.ops.packed", "faltung.ops.rearranged", "faltung.ops.{family}.spec",
        ),
    ),
    ("faltung.ops.{family}.parted", ()),
    ("faltung.ops.{family}.bias_gradient", ()),
    (
        "faltung.ops.{family}.row_cut",
        (
            "faltung.lang", "faltung.parts", "faltung.ops.{family}.refusals",
            "faltung.ops.{family}.spec",
        ),
    ),
    ("faltung.ops.{family}.spans", ("faltung.parts", "faltung.ops.geometry")),
    (
        "faltung.ops.{family}.transformed_filters",
        (
            "faltung.lang", "faltung.parts", "faltung.ops.calling", "faltung.ops.scratch",
            "faltung.ops.{family}.spec",
        ),
    ),
    (
        "faltung.ops.{family}.filtered_lines",
        ("faltung.machine", "faltung.ops.geometry", "faltung.ops.{family}.spec", "faltung.parts"),
    ),
    (
        "faltung.ops.{family}.group_layout",
        (
            "faltung.lang", "faltung.parts", "faltung.ops.gathered", "faltung.ops.geometry",
            "faltung.ops.{family}.refusals", "faltung.ops.{family}.spec",
        ),
    ),
    (
        "faltung.ops.{family}.group_recording",
        (
            "faltung.lang", "faltung.parts", "faltung.ops.geometry",
            "faltung.ops.{family}.group_layout",
        ),
    ),
    (
        "faltung.ops.{family}.group_algorithm",
        (
            "faltung.planning", "faltung.machine", "faltung.lang", "faltung.parts",
            "faltung.ops.calling", "faltung.ops.packed", "faltung.ops.{family}.group_layout",
            "faltung.ops.{family}.group_recording", "faltung.ops.{family}.refusals",
            "faltung.ops.{family}.spec",
        ),
    ),
    ("faltung.ops.{family}.refusals", ("faltung.lang", "faltung.ops.{family}.spec")),
    (
        "faltung.ops.{family}.receptive_field",
        ("faltung.errors", "faltung.ops.geometry", "faltung.ops.{family}.spec"),
    ),
    # separable is two convolutions in a row and nothing else
    (
        "faltung.ops.separable",
        (
            "faltung.errors", "faltung.ops.conv.api", "faltung.ops.conv.modules",
            "faltung.ops.operands", "faltung.ops.separable",
        ),
    ),
    (
        "faltung.ops.{family}",
        (
            "faltung.errors", "faltung.planning", "faltung.settings", "faltung.torch_ops",
            "faltung.ops.arguments", "faltung.ops.geometry", "faltung.ops.operands",
            "faltung.ops.activations", "faltung.ops.layouts", "faltung.ops.tracing",
            "faltung.ops.{family}.spec",
            "faltung.ops.{family}.arguments", "faltung.ops.{family}.autograd",
            "faltung.ops.{family}.dispatch", "faltung.ops.{family}.api",
            "faltung.ops.{family}.modules", "faltung.ops.{family}.operator",
            "faltung.ops.{family}.bias_gradient",
        ),
    ),
    ("faltung.ops", ()),
    # what PyTorch is told of our operators
    (
        "faltung.torch_ops",
        (
            "faltung.torch_ops", "faltung.settings", "faltung.ops.activations",
            "faltung.ops.operands", "faltung.ops.layouts", "faltung.ops.conv.autograd",
            "faltung.ops.conv.operator",
            "faltung.planning", "faltung.ops.deform.api", "faltung.ops.unfold.autograd",
            "faltung.ops.unfold.operator", "faltung.ops.unfold.spec", "faltung.ops.tracing",
        ),
    ),
    ("faltung.tools", ("faltung",)),
    ("faltung.__main__", ("faltung.tools.cli",)),
    (
        "faltung.optimize",
        (
            "faltung.errors", "faltung.functional", "faltung.machine", "faltung.nn",
            "faltung.ops.conv.dispatch", "faltung.ops.conv.spec", "faltung.ops.operands",
            "faltung.ops.layouts", "faltung.ops.naming", "faltung.optimize", "faltung.planning",
            "faltung.settings",
        ),
    ),
    ("faltung", ("faltung.errors", "faltung.planning", "faltung.settings", "faltung.by_hand",
                 "faltung.functional", "faltung.nn", "faltung.optimize", "faltung.ops",
                 "faltung.torch_ops")),
)  # fmt: skip

# the one exception to "nobody imports tools": names that `faltung.__getattr__` loads when asked for
ON_DEMAND = {"faltung": ("faltung.tools.explain", "faltung.tools.summary")}

NO_TORCH = ("spec", "arguments", "naming", "spelling", "geometry", "receptive_field", "planning",
            "settings", "machine", "measure", "kept", "errors")  # fmt: skip
NO_EXTRAS = ("typer", "rich", "matplotlib", "PIL", "jinja2")


@cache
def modules() -> list[tuple[str, Path]]:
    found = []
    for path in sorted((ROOT / "faltung").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found.append((".".join(parts[:-1] if parts[-1] == "__init__" else parts), path))
    return found


@cache
def imports(name: str, path: Path) -> set[str]:
    """Full names of everything a file imports, submodules written as submodules."""
    found = set()
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    known = {module for module, _ in modules()}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1]
            module = ".".join([*base, node.module or ""]).strip(".") if node.level else node.module
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                found.add(inner if inner in known else str(module))
    return found


def allowed(name: str) -> tuple[str, ...]:
    family = next((f for f in FAMILIES if f".{f}." in f"{name}."), "")
    for pattern, targets in MAY_IMPORT:
        prefix = pattern.format(family=family)
        if name == prefix or name.startswith(prefix + "."):
            return tuple(target.format(family=family) for target in targets)
    raise AssertionError(f"{name} has no row in the table")


@pytest.mark.parametrize(("name", "path"), modules(), ids=lambda v: v if isinstance(v, str) else "")
def test_imports_only_what_its_layer_may(name: str, path: Path) -> None:
    targets = (*allowed(name), *ON_DEMAND.get(name, ()))
    for used in imports(name, path):
        if used.split(".")[0] == "faltung" and used != name:
            assert any(used == t or used.startswith(t + ".") for t in targets), (
                f"{name} imports {used}; it may import {targets}"
            )


@pytest.mark.parametrize(("name", "path"), modules(), ids=lambda v: v if isinstance(v, str) else "")
def test_outside_libraries_stay_in_their_layer(name: str, path: Path) -> None:
    used = {target.split(".")[0] for target in imports(name, path)}
    if ".tools" not in name:
        assert not used & set(NO_EXTRAS), f"{name} needs the tools extra"
    if name.rpartition(".")[2] in NO_TORCH and ".tools" not in name:
        assert "torch" not in used, f"{name} is plain Python"
    if ".lang" in name:
        assert "torch" not in used


def test_no_algorithm_imports_another() -> None:
    for name, path in modules():
        if ".algorithms." in name:
            others = {used for used in imports(name, path) if ".algorithms" in used} - {name}
            assert not others, f"{name} imports {others}"


def test_the_table_catches_a_forbidden_import(tmp_path: Path) -> None:
    bad = tmp_path / "native_torch.py"
    bad.write_text("from ..by_hand.definition import conv\nfrom . import winograd_cpu\n")
    used = imports("faltung.ops.conv.algorithms.native_torch", bad)
    targets = allowed("faltung.ops.conv.algorithms.native_torch")
    assert "faltung.ops.conv.by_hand.definition" in used
    assert not any("faltung.ops.conv.by_hand.definition".startswith(t) for t in targets)


def test_files_and_functions_stay_short() -> None:
    for name, path in modules():
        text = path.read_text()
        assert text.count("\n") <= 400, f"{name} has {text.count(chr(10))} lines"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                assert length <= 50, f"{name}.{node.name} has {length} lines"
