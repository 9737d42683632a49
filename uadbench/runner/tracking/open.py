"""Opens an experiment tracker by name and only then imports packages of the extra ``tracking``."""

from __future__ import annotations

import os
from pathlib import Path

from uadbench.core.errors import UnknownName, UserError
from uadbench.runner.tracking.tracker import Tracker

TRACKERS = ("tensorboard", "mlflow")
INSTALL = "pip install 'uadbench[tracking]'"

# Read when MLflow is imported: no telemetry is sent, and a server that is down
# costs seconds, not minutes.
MLFLOW_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}


def open_tracker(name: str, place: str | None, root: Path) -> Tracker:
    """Opens a tracker.

    Args:
        name: tensorboard or mlflow.
        place: Folder of event files, or address of an MLflow store; None for the default below ``root``.
        root: Folder of the runs.

    Raises:
        UserError: If the packages are missing or the place cannot be used.
    """
    if name not in TRACKERS:
        raise UnknownName("tracker", name, TRACKERS)
    try:
        if name == "tensorboard":
            from uadbench.runner.tracking.tensorboard_tracker import TensorBoard

            return TensorBoard(Path(place) if place else root / "tensorboard")
        for variable, value in MLFLOW_DEFAULTS.items():
            os.environ.setdefault(variable, value)
        from uadbench.runner.tracking.mlflow_tracker import MLflow

        return MLflow(place, root)
    except ImportError as error:
        raise UserError(f"--track {name} needs the extra [tracking] ({error.name or error}).", INSTALL) from error
