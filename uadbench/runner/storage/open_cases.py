"""The cases of a stored run, opened again with their images and masks: for the case viewer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from uadbench.core.dataset import Progress
from uadbench.core.errors import DataError
from uadbench.core.job import Job
from uadbench.core.reading import read_yaml
from uadbench.core.record import DatasetPart
from uadbench.core.roles import Role
from uadbench.data.storage.store import Store
from uadbench.evaluation.cases import Cases
from uadbench.runner.planning.datasets import open_source
from uadbench.runner.storage.stored_cases import StoredCases


class RunOpener:
    """Opens the calibration and test cases of runs; each store is opened once.

    Args:
        sources: Folder of prepared data by dataset name; the phantom of a dataset needs none.
        progress: Called while a phantom is made.
    """

    def __init__(self, sources: Mapping[str, Path], progress: Progress) -> None:
        self._sources = sources
        self._progress = progress
        self._stores: dict[str, Store] = {}

    def __call__(self, run: Path) -> tuple[Cases, Cases]:
        """Returns the calibration cases (maybe none) and the test cases of a run.

        Raises:
            DataError: If its maps or its data are not there, or the data are not those of the run.
        """
        try:
            job = Job.model_validate(read_yaml(run / "config.yaml"))
        except ValueError as error:
            raise DataError(f"The config of run {run.name} is missing or damaged.") from error
        train = self._open(job.dataset)
        test = self._open(job.test_on) if job.test_on else train
        calib = train.role(Role.CALIB)
        known = calib and (run / "maps" / Role.CALIB.value).is_dir()
        return (
            StoredCases(train, calib, run / "maps" / Role.CALIB.value, masks=True) if known else [],
            StoredCases(test, test.role(Role.TEST), run / "maps" / Role.TEST.value, masks=True),
        )

    def _open(self, part: DatasetPart) -> Store:
        if part.fingerprint in self._stores:
            return self._stores[part.fingerprint]
        folder = self._sources.get(part.name)
        if part.source != "phantom" and folder is None:
            raise DataError(f"The prepared data of {part.name} are needed.", f"Give --source {part.name}=FOLDER.")
        store = open_source(part.name, "phantom" if folder is None else str(folder), self._progress)
        if store.manifest.fingerprint != part.fingerprint:
            raise DataError(f"{part.name} has changed since the run was made.", "Run it again.")
        self._stores[part.fingerprint] = store
        return store
