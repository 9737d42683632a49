"""uadbench: a benchmark for unsupervised anomaly detection in medical images."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any


def _nothing_else_runs() -> bool:
    try:
        return int(Path("/proc/loadavg").read_text(encoding="ascii").split()[3].partition("/")[0]) <= 1
    except (OSError, ValueError, IndexError):
        return False


# Read once, when torch loads its threads. Threads that spin while they wait make a training step a fifth faster on idle
# cores, but beside another job they take the time of working ones (docs/explanation/performance.md): they spin briefly
# if nothing else runs now, and not at all otherwise.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if _nothing_else_runs():
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")

if TYPE_CHECKING:
    from uadbench.api import (
        Detector,
        Maps,
        Record,
        Run,
        leaderboard,
        load_cases,
        load_dataset,
        load_images,
        load_maps,
        load_method,
        load_record,
        load_run,
        predict,
        run,
        runs,
        to_dataframe,
    )

__version__ = "0.1.0"
__all__ = [
    "Detector",
    "Maps",
    "Record",
    "Run",
    "leaderboard",
    "load_cases",
    "load_dataset",
    "load_images",
    "load_maps",
    "load_method",
    "load_record",
    "load_run",
    "predict",
    "run",
    "runs",
    "to_dataframe",
]


def __getattr__(name: str) -> Any:
    """Imports the Python interface, and torch with it, only on first use, so that ``--help`` responds immediately."""
    if name in __all__:
        from uadbench import api

        return getattr(api, name)
    raise AttributeError(f"module 'uadbench' has no attribute '{name}'")


def __dir__() -> list[str]:
    """Lists only the public interface."""
    return sorted([*__all__, "__version__"])
