"""Ctrl-C in a run: what is kept, and which command goes on."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import typer

from uadbench.cli.terminal.console import to_stderr


@contextmanager
def says_what_is_kept(folder: Path) -> Generator[None]:
    """On Ctrl-C inside, says what the run's folder keeps and which command goes on, and exits with 130.

    Args:
        folder: Folder of the run, which need not exist yet.
    """
    try:
        yield
    except KeyboardInterrupt:
        # Caught here because the command line's library swallows it without a word.
        command = shlex.join(["uadbench", *(word for word in sys.argv[1:] if word != "--fresh")])
        to_stderr().out(f"\nuadbench: interrupted. {kept(folder)}\nTo go on: {command}", highlight=False)
        raise typer.Exit(130) from None


def kept(folder: Path) -> str:
    """Returns in a sentence what an interrupted run's folder holds."""
    if (folder / "record.json").exists():
        return f"{folder} is finished; only the trivial baselines beside it are not."
    if (folder / "weights.safetensors").exists():
        parts = sorted(file.parent.name for file in folder.glob("maps/*/maps.npy"))
        maps = f" and the maps of {', '.join(parts)}" if parts else ""
        return f"Kept in {folder}: the trained weights{maps}."
    if any(folder.glob("checkpoint-*.pt")):
        return f"Kept in {folder}: training up to its last checkpoint."
    return "Nothing is kept yet: training begins again."
