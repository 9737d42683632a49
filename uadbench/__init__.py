"""uadbench: a benchmark for unsupervised anomaly detection in medical images."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

# Read once, when torch loads its threads: on shared cores, spinning threads take the time that working ones need
# (a training step three times as long beside one other job; docs/explanation/performance.md).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

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
