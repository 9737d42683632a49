"""Errors that a user can act on.

Every error names the cause and the remedy. The command line maps them to exit codes.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def cut(text: str, limit: int = 80) -> str:
    """Returns text of a message as one line of at most ``limit`` characters."""
    line = " ".join(text[: 4 * limit].split())
    return line if len(line) <= limit and len(text) <= 4 * limit else line[: limit - 3] + "..."


def harmless(text: str) -> str:
    """Returns text of a stranger without characters that move a cursor, colour a terminal or turn its direction."""
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in text)


REMAKE = "If the run is yours, run it again with --fresh; otherwise ask its author for a complete copy."
"""Remedy for a damaged file of a run that may be somebody else's."""


class UserError(Exception):
    """Bad input from the user (exit code 2).

    Args:
        message: What is wrong, naming the file or key.
        remedy: What to do about it.
    """

    exit_code = 2

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(f"{message} {remedy}".strip())
        self.message = message
        self.remedy = remedy


class UnknownName(UserError):
    """A name that no registry, preset or config knows."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        name = cut(name)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"Did you mean {', '.join(near)}?" if near else f"Known: {', '.join(names) or 'none'}."
        super().__init__(f"Unknown {kind} '{name}'.", hint)


class DataError(UserError):
    """A file, mask, split or prepared store that cannot be used."""


def imported_only(checkpoint: str) -> UserError:
    """Returns the error for fitting a method whose weights must be imported."""
    return UserError(
        f"The weights of checkpoint {cut(checkpoint)} are imported, not trained.",
        "Use uadbench import, or remove --set checkpoint.",
    )


class JobFailed(Exception):
    """A job that could not be finished (exit code 1). Its record contains the reason."""

    exit_code = 1


class Diverged(JobFailed):
    """Training whose loss is no longer finite: recorded as failed, never as a score."""

    def __init__(self, step: int, value: float) -> None:
        super().__init__(
            f"Training diverged at step {step} (loss {value}). Lower the learning rate (--set lr=...) "
            "or use --precision fp32."
        )
