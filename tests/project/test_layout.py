"""Tests lie where the package that they test lies, and share helpers through tests.support alone."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.support.shipped import ROOT

OF_THE_WHOLE = {"browser", "project", "support"}  # pages in a browser, files of the checkout, helpers


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imported(file: Path) -> set[str]:
    """The modules that a file imports, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_no_test_module_is_imported() -> None:
    files = [*modules("tests"), *modules("benchmarks")]
    found = {
        f"{file.relative_to(ROOT)} imports {name}"
        for file in files
        for name in imported(file)
        if name.startswith("tests.") and ("test_" in name or "conftest" in name)
    }
    assert not found, f"move what they share to tests/support: {sorted(found)}"
    assert any(name.startswith("tests.support.") for file in files for name in imported(file))


def test_tests_mirror_the_packages() -> None:
    folders = {path.name for path in (ROOT / "tests").iterdir() if (path / "__init__.py").exists()}
    packages = {path.name for path in (ROOT / "uadbench").iterdir() if path.is_dir()}
    assert folders - OF_THE_WHOLE <= packages
    loose = [path.name for path in (ROOT / "tests").glob("test_*.py")]
    assert loose == []
