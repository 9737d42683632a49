"""Removal of generated files that an earlier build left."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from uadbench.core.files import atomic_text

LISTING = ".generated"


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
    atomic_text(listing, "".join(f"{name}\n" for name in now))
