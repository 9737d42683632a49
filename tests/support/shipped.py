"""Names of the folders of the checkout: the registry of this process also holds what tests registered."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
METHOD_NAMES = sorted(file.parent.name for file in (ROOT / "methods").glob("[a-z]*/__init__.py"))
DATASET_NAMES = sorted(file.parent.name for file in (ROOT / "datasets").glob("[a-z]*/__init__.py"))
