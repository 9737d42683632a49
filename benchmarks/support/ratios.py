"""Where the ratios of a run are kept, and the line on the machine."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import pytest
import torch

ROWS = pytest.StashKey[list[dict[str, Any]]]()


KINDS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
LIMITS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA")


def machine() -> str:
    """Names processor, threads and torch, never the host.

    With ATEN_CPU_CAPABILITY and ONEDNN_MAX_CPU_ISA both set to avx2, torch uses nothing beyond, and this says so.
    """
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    kinds = " ".join(name for name in KINDS if name in flags)
    if all(os.environ.get(limit, "").lower() == "avx2" for limit in LIMITS):
        kinds = f"avx2 ({kinds.replace(' ', '+')} held back)"
    cores, threads = os.cpu_count(), torch.get_num_threads()
    return f"{platform.machine()}, {cores} cores, {threads} threads, {kinds}, torch {torch.__version__}"
