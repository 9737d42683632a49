"""Checks the layout: no folder with too many Python files, no file that is too long.

Usage: python tools/layout.py [ROOT]
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

MOST_FILES, MOST_LINES = 20, 350
CHECKED = ("uadbench", "methods", "datasets", "tools", "benchmarks")


def problems(root: Path) -> list[str]:
    """Returns a line for each folder and file that breaks the rule.

    Args:
        root: Folder that holds ``uadbench/``, ``methods/`` and ``datasets/``.
    """
    files = sorted(file for name in CHECKED for file in (root / name).rglob("*.py") if not _linked(file, root))
    counts = Counter(file.parent for file in files if file.name != "__init__.py")
    found = [
        f"{folder.relative_to(root)} holds {count} Python files, more than {MOST_FILES}: split it."
        for folder, count in sorted(counts.items())
        if count > MOST_FILES
    ]
    for file in files:
        lines = len(file.read_text().splitlines())
        if lines > MOST_LINES:
            found.append(f"{file.relative_to(root)} has {lines} lines, more than {MOST_LINES}.")
    return found


def _linked(file: Path, root: Path) -> bool:
    """Whether a file is reached through a link, like ``uadbench/methods``: it is counted at its real path."""
    return not file.resolve().is_relative_to(root.resolve() / file.relative_to(root).parts[0])


if __name__ == "__main__":
    broken = problems(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent)
    sys.exit("\n".join(f"tools/layout.py: {line}" for line in broken) or 0)
