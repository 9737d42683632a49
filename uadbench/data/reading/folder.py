"""Listing the files of a source folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from uadbench.core.errors import DataError

JUNK = ("thumbs.db", "desktop.ini", "dicomdir")
"""Files that operating systems add to folders, in lower case."""

MASKS = ("masks", "mask", "labels", "label", "annotations", "segmentations", "ground_truth", "gt")
"""Folders of masks, in lower case."""


def files(source: Path, *patterns: str) -> list[Path]:
    """Returns the files below a folder that match a glob pattern, sorted, without duplicates and hidden files.

    Raises:
        DataError: If one is a link that leaves the folder or leads to nothing, or if a folder is a link.
    """
    found = {path for pattern in patterns for path in source.rglob(pattern)}
    linked = {path for path in source.rglob("*") if path.is_symlink() and path.is_dir()}
    return [inside(source, path) for path in _files_of(source, found | linked)]


def visible(root: Path) -> list[Path]:
    """Returns all files below a folder, sorted; hidden files and folders, such as .ipynb_checkpoints, are skipped.

    Raises:
        DataError: If one is a link to a folder, which is not followed, or to a missing file.
    """
    return _files_of(root, root.rglob("*"))


def _files_of(root: Path, paths: Iterable[Path]) -> list[Path]:
    found = sorted(path for path in paths if not is_hidden(root, path))
    for path in found:
        if path.is_symlink() and not path.is_file():
            what = "a folder" if path.is_dir() else "a missing file"
            raise DataError(
                f"{path} is a link to {what}.", "Copy what it leads to (DataLad: datalad get) or remove it."
            )
    return [path for path in found if path.is_file()]


def is_hidden(root: Path, path: Path) -> bool:
    """Whether a file, or a folder between it and the root, is hidden or created by the operating system."""
    parts = path.relative_to(root).parts
    return any(part.startswith(".") or part == "__MACOSX" for part in parts) or path.name.lower() in JUNK


def inside(source: Path, path: Path) -> Path:
    """Returns the path.

    Raises:
        DataError: If it leaves the folder, by ``..`` or by a link.
    """
    if not path.resolve().is_relative_to(source.resolve()):
        raise DataError(f"{path} leaves the folder {source}.", "Copy the file into the folder.")
    return path
