"""The commands that the harness kills, each on the smallest data that it does its whole work on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.support.folder_data import two_folders
from tests.support.stores import write_store

SMALL = ["--dataset", "carotid_us", "--preset", "smoke"]


@dataclass(frozen=True)
class Inputs:
    """What commands read: a store, raw images, finished runs with their records, and a suite."""

    store: Path
    raw: Path
    runs: Path
    records: Path
    suite: Path

    @property
    def run(self) -> Path:
        """The finished run."""
        return next(path.parent for path in self.runs.glob("*/record.json"))


def make_inputs(folder: Path) -> Inputs:
    """Makes them with the commands themselves."""
    inputs = Inputs(folder / "store", folder / "raw", folder / "runs", folder / "records", folder / "suite.yaml")
    write_store(inputs.store, frames=1)
    two_folders(inputs.raw)
    suite = {
        "name": "kills",
        "methods": ["intensity", "mean_residual"],
        "datasets": ["carotid_us"],
        "sources": {"carotid_us": str(inputs.store)},
        "seeds": [0],
    }
    inputs.suite.write_text(yaml.safe_dump(suite))
    command = [sys.executable, "-m", "uadbench", "bench", str(inputs.suite)]
    places = ["--out", str(inputs.runs), "--records", str(inputs.records)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    subprocess.run([*command, *places], check=True, capture_output=True, cwd=folder, env=environment)
    return inputs


COMMANDS: dict[str, Callable[[Inputs], list[str]]] = {
    "run": lambda at: ["run", "--method", "autoencoder", *SMALL, "--source", str(at.store)],
    "tune": lambda at: [
        *("tune", "--method", "autoencoder", *SMALL, "--source", str(at.store)),
        *("--trials", "4", "--settings", "2", "--images", "4", "--out", "tuned"),
    ],
    "bench": lambda at: ["bench", str(at.suite), "--records", "records"],
    "prepare": lambda at: ["prepare", "folder", "--source", str(at.raw), "--out", "prepared"],
    "predict": lambda at: ["predict", "--run", str(at.run), "--input", str(at.raw / "normal"), "--out", "maps"],
    "report": lambda at: [
        *("report", "--records", str(at.records), "--runs", str(at.runs)),
        *("--source", f"carotid_us={at.store}"),
    ],
}
PRELUDES = {
    # A worker that was killed counts as dead after a minute: shortened here, because nothing happens meanwhile.
    "tune": (
        "from uadbench.tuning.task import StudyTask as T; T.model_fields['beat'].default = 1; "
        "T.model_fields['grace'].default = 3; T.model_rebuild(force=True); "
    ),
}
