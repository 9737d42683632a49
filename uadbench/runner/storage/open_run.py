"""A stored run with the data it was made on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from uadbench.core.catalog import METHODS
from uadbench.core.config import MethodConfig
from uadbench.core.dataset import Progress
from uadbench.core.errors import DataError
from uadbench.core.job import EXTERNAL, Job
from uadbench.core.record import DatasetPart, Record
from uadbench.data.storage.store import Store
from uadbench.runner.planning.datasets import open_source
from uadbench.runner.planning.plan import Plan
from uadbench.runner.storage.run_folder import RunFolder


@dataclass(frozen=True)
class OpenRun:
    """A finished run.

    Attributes:
        folder: Where it is.
        record: What it says.
        plan: Its job with open data.
    """

    folder: RunFolder
    record: Record
    plan: Plan

    @property
    def external(self) -> bool:
        """Whether the maps are those of an outside system, so that there is neither method nor weights."""
        return self.plan.job.method.preset == EXTERNAL


def open_run(path: Path, source: str | None, test_source: str | None, progress: Progress) -> OpenRun:
    """Opens a run with the data it was made on.

    Raises:
        DataError: If it is no finished run, or the data are not the same.
    """
    folder = RunFolder(path)
    record = folder.record()
    if record is None or record.status != "done":
        raise DataError(f"{path} holds no finished run.", "Give the folder runs/ID of a run that ended.")
    try:
        job = Job.model_validate(yaml.safe_load((path / "config.yaml").read_text()))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DataError(f"{path}/config.yaml is missing or damaged.", "Run again with --fresh.") from error
    train = _open(job.dataset, source, progress)
    test = _open(job.test_on, test_source, progress) if job.test_on else train
    config = MethodConfig()
    if job.method.preset != EXTERNAL:
        try:
            config = METHODS.load(job.method.name).config_type.model_validate(job.method.config)
        except ValueError as error:
            raise DataError(f"{path}/config.yaml holds settings that {job.method.name} does not know.") from error
    return OpenRun(folder, record, Plan(job, config, train, test))


def _open(part: DatasetPart, source: str | None, progress: Progress) -> Store:
    if source is None and part.source != "phantom":
        raise DataError(f"The run used prepared data of {part.name}.", "Name the folder with --source.")
    store = open_source(part.name, source or "phantom", progress)
    if store.manifest.fingerprint != part.fingerprint:
        raise DataError(
            f"{part.name} has fingerprint {store.manifest.fingerprint[:16]}, the run was made on "
            f"{part.fingerprint[:16]}.",
            "Use the same version of the data.",
        )
    return store
