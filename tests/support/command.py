"""The command line as its users run it: in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def uadbench(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "uadbench", *arguments], capture_output=True, text=True, cwd=cwd)
