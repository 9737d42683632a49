"""Listing the files of a source folder."""

from __future__ import annotations

from pathlib import Path

from uadbench.core.errors import DataError


def files(source: Path, *patterns: str) -> list[Path]:
    """Returns the files below a folder that match a glob pattern, sorted, without duplicates and hidden files.

    Raises:
        DataError: If one is a link that leaves the folder.
    """
    found = {path for pattern in patterns for path in source.rglob(pattern) if path.is_file()}
    return [inside(source, path) for path in sorted(found) if not path.name.startswith(".")]


def inside(source: Path, path: Path) -> Path:
    """Returns the path.

    Raises:
        DataError: If it leaves the folder, by ``..`` or by a link.
    """
    if not path.resolve().is_relative_to(source.resolve()):
        raise DataError(f"{path} leaves the folder {source}.", "Copy the file into the folder.")
    return path
