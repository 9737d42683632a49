"""A stored run with its data: for verification, and its cases for the viewer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from uadbench.core.catalog import METHODS
from uadbench.core.config import MethodConfig
from uadbench.core.dataset import Progress
from uadbench.core.errors import DataError
from uadbench.core.job import EXTERNAL, Job
from uadbench.core.record import DatasetPart, Record
from uadbench.core.roles import Role
from uadbench.data.storage.store import Store
from uadbench.evaluation.cases import Cases
from uadbench.runner.planning.datasets import open_source
from uadbench.runner.planning.plan import Plan
from uadbench.runner.planning.tuned_config import Tuned
from uadbench.runner.storage.run_folder import RunFolder
from uadbench.runner.storage.stored_cases import StoredCases


@dataclass(frozen=True)
class OpenRun:
    """A finished run.

    Attributes:
        folder: Its folder.
        record: Its record.
        plan: Its job with the data opened.
    """

    folder: RunFolder
    record: Record
    plan: Plan

    @property
    def external(self) -> bool:
        """Whether the maps are from an external system, without method and weights."""
        return self.plan.job.method.preset == EXTERNAL


@dataclass(frozen=True)
class StoredRun:
    """A finished run with its data, before its method is looked up, so that no plug-in code is imported.

    Attributes:
        folder: Its folder.
        record: Its record.
        job: The definition in config.yaml.
        train: Store for training and calibration.
        test: Store for testing.
    """

    folder: RunFolder
    record: Record
    job: Job
    train: Store
    test: Store

    @property
    def external(self) -> bool:
        """Whether the maps are from an external system."""
        return self.job.method.preset == EXTERNAL

    def with_method(self, tuned: Tuned | None = None) -> OpenRun:
        """Looks up the registered method, and validates the config with it.

        Raises:
            UserError: If there is no such method, or it does not know a setting.
        """
        config, method = MethodConfig(), self.job.method
        if not self.external:
            try:
                config = METHODS.load(method.name).config_type.model_validate(method.config)
            except ValueError as error:
                file = self.folder.path / "config.yaml"
                raise DataError(f"{file} holds settings that {method.name} does not know.") from error
        return OpenRun(self.folder, self.record, Plan(self.job, config, self.train, self.test, tuned))


def open_run(path: Path, source: str | None, test_source: str | None, progress: Progress) -> OpenRun:
    """Opens a run with its data.

    Raises:
        DataError: If it is not a finished run, or the data are not the same.
    """
    return open_stored(path, source, test_source, progress).with_method()


def open_stored(path: Path, source: str | None, test_source: str | None, progress: Progress) -> StoredRun:
    """Opens a run with its data, without its method.

    Raises:
        DataError: If it is not a finished run, or the data are not the same.
    """
    folder = RunFolder(path)
    record, job = folder.finished_record(), folder.job()
    train = open_part(job.dataset, source, progress)
    test = open_part(job.test_on, test_source, progress) if job.test_on else train
    return StoredRun(folder, record, job, train, test)


def _other_data(part: DatasetPart, store: Store) -> DataError:
    here = store.manifest
    told = f"The data differ: {part.name} has fingerprint {here.fingerprint[:16]}, the run's {part.fingerprint[:16]}"
    if here.version != part.version:
        return DataError(
            f"{told}, because this program has version {here.version} of them and the run version {part.version}.",
            "Verify it with the program that made it (env.commit in record.json), or run it again here.",
        )
    if part.source == "phantom":
        return DataError(
            f"{told}, though both say version {here.version}.",
            "A phantom of one version is the same everywhere: the run's was made by changed or faulty code. Run again.",
        )
    return DataError(
        f"{told}, both of version {here.version}.",
        "Give the folder that the run used with --source, or prepare the same raw files with the same recipe.",
    )


def open_part(part: DatasetPart, source: str | None, progress: Progress) -> Store:
    """Opens the data of a job.

    Raises:
        DataError: If they are missing or have another fingerprint.
    """
    if source is None and part.source != "phantom":
        remedy = f"Give their folder with --source (in a report: --source {part.name}=FOLDER)."
        raise DataError(f"The run used prepared data of {part.name}.", remedy)
    store = open_source(part.name, source or "phantom", progress)
    if store.manifest.fingerprint != part.fingerprint:
        raise _other_data(part, store)
    return store


class RunOpener:
    """Opens the calibration and test cases of runs; each store is opened once.

    Args:
        sources: Folder of prepared data by dataset name; the phantom of a dataset needs none.
        progress: Called while a phantom is simulated.
    """

    def __init__(self, sources: Mapping[str, Path], progress: Progress) -> None:
        self._sources = sources
        self._progress = progress
        self._stores: dict[str, Store] = {}

    def __call__(self, run: Path) -> tuple[Cases, Cases]:
        """Returns the calibration cases (maybe none) and the test cases of a run.

        Raises:
            DataError: If its maps or data are missing, or the data are not those of the run.
        """
        folder = RunFolder(run)
        job = folder.job()
        train = self._open(job.dataset)
        test = self._open(job.test_on) if job.test_on else train
        calib = train.role(Role.CALIB)
        known = calib and (folder.maps / Role.CALIB.value).is_dir()
        return (
            StoredCases(train, calib, folder.maps / Role.CALIB.value, masks=True) if known else [],
            StoredCases(test, test.role(Role.TEST), folder.maps / Role.TEST.value, masks=True),
        )

    def _open(self, part: DatasetPart) -> Store:
        if part.fingerprint not in self._stores:
            folder = self._sources.get(part.name)
            self._stores[part.fingerprint] = open_part(part, None if folder is None else str(folder), self._progress)
        return self._stores[part.fingerprint]
