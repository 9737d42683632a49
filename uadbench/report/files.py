"""Atomic writes of generated files, and removal of those that an earlier build left."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

LISTING = ".generated"


def write_text(file: Path, text: str) -> Path:
    """Writes a text file under a temporary name, renames it and returns its path."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    part.write_text(text, encoding="utf-8", newline="\n")
    part.replace(file)
    return file


def sweep(folder: Path, written: Iterable[Path]) -> None:
    """Removes what an earlier build wrote below a folder and this one did not, and notes what this one wrote.

    Only files that the folder's own list names are touched, never one outside of it: other files may lie there too.
    """
    base = folder.resolve()
    now = sorted(file.resolve().relative_to(base).as_posix() for file in written)
    listing = folder / LISTING
    before = listing.read_text(encoding="utf-8").splitlines() if listing.is_file() else []
    for name in set(before) - set(now):
        file = (base / name).resolve()
        if file.is_relative_to(base) and file.is_file():
            file.unlink()
            if file.parent != base and not any(file.parent.iterdir()):
                file.parent.rmdir()
    write_text(listing, "".join(f"{name}\n" for name in now))
