"""The command line as its users run it: in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def uadbench(
    *arguments: str, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a command; variables of the environment are added to those there are."""
    variables = {**os.environ, **(environment or {})}
    command = [sys.executable, "-m", "uadbench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=variables)
