"""Removal of generated files of earlier builds."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from uadbench.core.files import atomic_text

LISTING = ".generated"


def sweep(folder: Path, written: Iterable[Path]) -> None:
    """Removes files written by an earlier build but not by this one, and lists the files of this one.

    Only files in the folder's own list are removed; other files in the folder are not touched.
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
    atomic_text(listing, "".join(f"{name}\n" for name in now))
