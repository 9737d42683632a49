"""One line for each method, dataset, protocol and suite, read from files without imports."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from uadbench.core.cache import cache_folder
from uadbench.core.catalog import DATASETS, METHODS
from uadbench.core.config import PRESET_NAMES
from uadbench.core.experiments import FOLDER, experiment_file
from uadbench.core.phantom_fingerprint import committed_phantom

PREPARED = Path("prepared")
"""Folder for prepared data according to the documentation."""


def described(kind: str, names: Sequence[str]) -> list[tuple[str, str]]:
    """Returns each name with a line on its description and state.

    Args:
        kind: methods, datasets, protocols or suites.
        names: Names of that kind.
    """
    about = {"methods": _method, "datasets": _dataset, "protocols": _protocol, "suites": _suite}[kind]
    closing = [("", f"Presets of every method: {', '.join(PRESET_NAMES)}")] if kind == "methods" else []
    return [*((name, about(name)) for name in names), *closing]


def _method(name: str) -> str:
    tuned = sorted(file.stem for file in (FOLDER / "tuned" / name).glob("*.yaml"))
    return METHODS.about(name) + (f" (tuned for {', '.join(tuned)})" if tuned else "")


def _dataset(name: str) -> str:
    known = committed_phantom(name)
    states = [f"phantom version {known.version}, fingerprint {known.fingerprint[:16]}"] if known else []
    states += ["phantom cached"] if any(cache_folder().glob(f"{name}-*/manifest.json")) else []
    states += [f"prepared in {file.parent}" for file in _stores(name)]
    return DATASETS.about(name) + (f" ({'; '.join(states)})" if states else "")


def _stores(name: str) -> Iterator[Path]:
    for file in sorted(PREPARED.glob("*/manifest.json")):
        try:
            manifest = json.loads(file.read_bytes())
        except (OSError, ValueError):
            continue  # `run --source` reports what is wrong with it
        if isinstance(manifest, dict) and manifest.get("dataset") == name:
            yield file


def _protocol(name: str) -> str:
    return str(_content("protocols", name).get("title", ""))


def _suite(name: str) -> str:
    content = _content("suites", name)
    parts = [f"{len(content.get(key) or [])} {key}" for key in ("methods", "datasets", "seeds") if content.get(key)]
    parts += [f"with {', '.join(content['include'])}"] if content.get("include") else []
    parts.insert(0, f"preset {content.get('preset', 'quick')}")
    return f"{_comment(experiment_file('suites', name))} ({', '.join(parts)})"


def _content(kind: str, name: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(experiment_file(kind, name).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def _comment(file: Path) -> str:
    """Returns the first sentence of the comment at the top of a file."""
    words: list[str] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        words.append(line.lstrip("# "))
    text = " ".join(words)
    end = re.search(r"(?<!al)[.?](?=\s)", text)
    return text.rstrip(".") if end is None else text[: end.end()].rstrip(".")
