"""MLflow: one run of an experiment per job, in a database file or on a server."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException

from uadbench.core.errors import UserError
from uadbench.runner.tracking.tracker import Status, Tracked, hidden

TAG = "uadbench.id"
STATUS = {"done": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
BATCH, WAIT = 500, 5.0  # metrics, and seconds, after which a batch is sent
LONGEST = 6000  # characters of a parameter
SQLITE = "sqlite:///"


class MLflow:
    """Runs in an MLflow store; the experiment has the name of the dataset.

    Args:
        address: Address of the store; None for ``MLFLOW_TRACKING_URI``, or else ``mlflow.db`` below ``root``.
        root: Folder of the runs.

    Raises:
        UserError: If it is not an address of a store.
    """

    def __init__(self, address: str | None, root: Path) -> None:
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        self._address = address or os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{root / 'mlflow.db'}"
        if "://" not in self._address:
            raise UserError(
                f"--track-to {self._address} is not an address of MLflow.",
                f"Give {SQLITE}runs/mlflow.db or http://HOST:PORT.",
            )
        self._files: str | None = (
            None  # a server manages its own files; for a database file they are in a folder next to it
        )
        if self._address.startswith(SQLITE):
            file = Path(self._address.removeprefix(SQLITE)).resolve()
            self._files = file.with_name(f"{file.stem}-files").as_uri()
            file.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._client = MlflowClient(tracking_uri=self._address)
            self._client.search_experiments(max_results=1)
        except Exception as error:  # drivers, databases and servers each raise their own errors
            raise UserError(
                f"MLflow cannot use {hidden(self._address)}: {hidden(error)}.", "Check --track-to."
            ) from error

    def holds(self, tracked_id: str) -> bool:
        """Whether there is a finished run with this id."""
        return any(status == "FINISHED" for _, status in self._runs(tracked_id))

    def open(self, tracked: Tracked) -> MLflowLog:
        """Starts a run, or resumes an interrupted one."""
        left = [run for run, status in self._runs(tracked.id) if status in ("RUNNING", "KILLED")]
        if left:
            run_id = left[0]
            self._client.update_run(run_id, status="RUNNING")
        else:
            experiment = self._experiment(f"uadbench {tracked.group}")
            run_id = self._client.create_run(experiment, tags={TAG: tracked.id}, run_name=tracked.name).info.run_id
            params = [Param(key, str(value)[:LONGEST]) for key, value in tracked.params.items()]
            self._client.log_batch(run_id, params=params)
        return MLflowLog(self._client, run_id)

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return found.experiment_id
        try:
            return self._client.create_experiment(name, artifact_location=self._files)
        except MlflowException:  # another process has just created it
            found = self._client.get_experiment_by_name(name)
            if found is None:
                raise
            return found.experiment_id

    def _runs(self, tracked_id: str) -> list[tuple[str, str]]:
        """Returns id and status of the runs of a tracked thing, the newest first."""
        experiments = [found.experiment_id for found in self._client.search_experiments()]
        runs = self._client.search_runs(experiments, f"tags.`{TAG}` = '{tracked_id}'") if experiments else []
        return [(run.info.run_id, run.info.status) for run in runs]


class MLflowLog:
    """One run of MLflow.

    Args:
        client: The store.
        run_id: The run.
    """

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self._client = client
        self._run_id = run_id
        self._waiting: list[Metric] = []
        self._sent = time.monotonic()

    def step(self, step: int, scalars: Mapping[str, float]) -> None:
        """Logs scalars of a training step, sent in batches."""
        now = int(time.time() * 1000)
        self._waiting += [Metric(name, value, now, step) for name, value in scalars.items()]
        if len(self._waiting) >= BATCH or time.monotonic() - self._sent > WAIT:
            self._send()

    def finish(self, status: Status, scalars: Mapping[str, float], pictures: Mapping[str, Path]) -> None:
        """Logs the final metrics and images."""
        self.step(0, scalars)
        self._send()
        for file in pictures.values():
            self._client.log_artifact(self._run_id, str(file))
        self._client.set_terminated(self._run_id, STATUS[status])

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        for start in range(0, len(waiting), BATCH):
            self._client.log_batch(self._run_id, metrics=waiting[start : start + BATCH])
        self._sent = time.monotonic()
