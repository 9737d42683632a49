"""Atomic writes of generated files."""

from __future__ import annotations

import os
from pathlib import Path


def write_text(file: Path, text: str) -> Path:
    """Writes a text file under a temporary name, renames it and returns its path."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    part.write_text(text, encoding="utf-8", newline="\n")
    part.replace(file)
    return file
