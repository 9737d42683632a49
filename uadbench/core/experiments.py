"""Where the committed experiment files are: protocols, suites and tuned settings."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "experiments"


def experiment_file(kind: str, name: str) -> Path:
    """Returns the path of ``experiments/KIND/NAME.yaml``, whether or not it exists."""
    return FOLDER / kind / f"{name}.yaml"


def experiment_names(kind: str) -> list[str]:
    """Returns the sorted names of ``experiments/KIND/*.yaml``."""
    return sorted(path.stem for path in (FOLDER / kind).glob("*.yaml"))
