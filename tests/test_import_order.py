"""Imports point left or stay in their group (docs/architecture.md), and what needs no torch imports none."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "einthoven"
GROUPS = [
    {"errors", "record", "leads", "whole"},
    {"io", "signal", "simulate"},
    {"sources", "store"},
    {"ingest", "audit", "export"},
    {"augment", "layers", "models", "objectives", "tasks", "metrics"},
    {"train", "convert"},
    {"recipes"},
    {"infer", "bench", "report", "plot", "viewer", "cli"},
]
RANK = {name: rank for rank, group in enumerate(GROUPS) for name in group}


def imports(path: Path) -> set[str]:
    """First-level parts of the package that a file imports, at any depth inside it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: write imports from the package's root"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} if node.module == "einthoven" else {node.module}
    return {name.split(".")[1] for name in found if name.startswith("einthoven.")} - {"__version__"}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_left_or_stay(path):
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if part in ("__init__", "__main__"):
        return
    assert part in RANK, f"{part} has no place in the order; give it one in docs/architecture.md and here"
    wrong = {name for name in imports(path) if RANK[name] > RANK[part]}
    assert not wrong, f"{part} may not import {', '.join(sorted(wrong))}"


def run_without(module: str, statement: str) -> None:
    code = f"{statement}\nimport sys\nassert {module!r} not in sys.modules, 'imported {module}'"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "part",
    ["einthoven", "einthoven.cli", "einthoven.io", "einthoven.store.read", "einthoven.recipes", "einthoven.simulate", "einthoven.sources"],
)
def test_no_torch_where_none_is_needed(part):
    run_without("torch", f"import {part}")


def test_importing_the_command_line_is_light():
    for module in ("scipy.signal", "pyarrow", "matplotlib", "wfdb", "pandas"):
        run_without(module, "import einthoven.cli")
