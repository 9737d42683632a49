"""The notebooks of the documentation run as they stand."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def test_there_are_two_notebooks_with_their_outputs() -> None:
    assert len(NOTEBOOKS) == 2
    for file in NOTEBOOKS:
        cells = nbformat.read(file, 4).cells  # pyright: ignore[reportAttributeAccessIssue]
        assert any(cell.get("outputs") for cell in cells)
        assert file.stat().st_size < 400_000


@pytest.mark.slow
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_runs(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What a cell starts with "!python" is this environment's python, and this checkout is what it imports.
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(file, 4)
    place = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=place).execute()  # an error in a cell raises
