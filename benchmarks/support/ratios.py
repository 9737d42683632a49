"""Where the ratios of a run are kept, and the line on the machine."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import pytest
import torch

ROWS = pytest.StashKey[list[dict[str, Any]]]()


def machine() -> str:
    """Names processor, threads and torch, never the host."""
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    kinds = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags]
    cores, threads = os.cpu_count(), torch.get_num_threads()
    return f"{platform.machine()}, {cores} cores, {threads} threads, {' '.join(kinds)}, torch {torch.__version__}"
