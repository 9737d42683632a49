"""Ctrl-C in a run: what is kept, and which command resumes it."""

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
    """On Ctrl-C, prints what the run's folder contains and which command resumes it, and exits with 130.

    Args:
        folder: Folder of the run, which need not exist yet.
    """
    try:
        yield
    except KeyboardInterrupt:
        # Caught here because the command-line library silently swallows it.
        command = shlex.join(["uadbench", *(word for word in sys.argv[1:] if word != "--fresh")])
        to_stderr().out(f"\nuadbench: interrupted. {kept(folder)}\nTo resume: {command}", highlight=False)
        raise typer.Exit(130) from None


def kept(folder: Path) -> str:
    """Returns a sentence on the contents of an interrupted run's folder."""
    if (folder / "record.json").exists():
        return f"{folder} is finished; only the trivial baselines are not."
    if (folder / "weights.safetensors").exists():
        parts = sorted(file.parent.name for file in folder.glob("maps/*/maps.npy"))
        maps = f" and the maps of {', '.join(parts)}" if parts else ""
        return f"Kept in {folder}: the trained weights{maps}."
    if any(folder.glob("checkpoint-*.pt")):
        return f"Kept in {folder}: the training up to its last checkpoint."
    return "Nothing is stored yet: training will start again."
