"""Shell completion: names of methods, datasets, presets, suites, protocols and runs. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path


def methods(incomplete: str) -> list[str]:
    """Returns the methods that start with the given text."""
    from uadbench.core.catalog import METHODS

    return _starting(METHODS.names(), incomplete)


def datasets(incomplete: str) -> list[str]:
    """Returns the datasets that start with the given text."""
    from uadbench.core.catalog import DATASETS

    return _starting(DATASETS.names(), incomplete)


def presets(incomplete: str) -> list[str]:
    """Returns the presets that start with the given text."""
    from uadbench.core.config import PRESET_NAMES

    return _starting(list(PRESET_NAMES), incomplete)


def protocols(incomplete: str) -> list[str]:
    """Returns the protocols that start with the given text."""
    from uadbench.core.experiments import experiment_names

    return _starting(experiment_names("protocols"), incomplete)


def suites(incomplete: str) -> list[str]:
    """Returns the suites that start with the given text, by name or file path."""
    from uadbench.core.experiments import experiment_names

    return [*_starting(experiment_names("suites"), incomplete), *_files(incomplete, ".yaml")]


def runs(incomplete: str) -> list[str]:
    """Returns the finished runs below ``runs/`` that start with the given text, by folder or id."""
    folders = sorted(file.parent for file in Path("runs").glob("*/record.json"))
    return _starting([f.as_posix() for f in folders], incomplete) or _starting([f.name for f in folders], incomplete)


def _starting(names: list[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _files(incomplete: str, suffix: str) -> list[str]:
    parent = Path(incomplete).parent
    if not incomplete or not parent.is_dir():
        return []
    found = (file for file in sorted(parent.iterdir()) if file.is_dir() or file.suffix == suffix)
    return _starting([file.as_posix() for file in found], incomplete)
