"""A disk of a few megabytes, to fill it, enlarge it, or take the right to write away."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, megabytes: float) -> Generator[Path]:
    """Mounts a memory file system of a given size; skips the test where that is not allowed."""
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    size = f"size={int(1024 * megabytes)}k"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        folder.rmdir()
        pytest.skip(f"no small disk can be mounted: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()


def remount(disk: Path, option: str) -> None:
    """Changes a small disk: ``size=64m``, ``ro`` or ``rw``."""
    subprocess.run(["mount", "-o", f"remount,{option}", str(disk)], check=True)


def used(disk: Path) -> float:
    """Returns how much is written to a disk, in megabytes."""
    found = os.statvfs(disk)
    return (found.f_blocks - found.f_bfree) * found.f_bsize / 2**20


def fill(disk: Path) -> Path:
    """Writes a file that leaves no space."""
    file = disk / "filler"
    with file.open("wb") as stream:
        for size in (2**16, 2**10, 1):
            try:
                while True:
                    os.write(stream.fileno(), b"x" * size)
            except OSError:
                continue
    return file
