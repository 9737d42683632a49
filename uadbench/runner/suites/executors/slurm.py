"""Workers as SLURM jobs, by submitit. Cluster ``local`` runs the same scripts without SLURM, ``debug`` in-process."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from threading import Event
from typing import Any

from uadbench.core.errors import JobFailed, UnknownName, UserError
from uadbench.runner.suites.work import Work

CLUSTERS = ("slurm", "local", "debug")
STOP_SECONDS = 20.0
MAX_DEATHS = 12

# How often a worker may be requeued after reaching its time limit: a suite may take weeks.
REQUEUES = 1000

# Settings of submitit on every cluster; other names are passed to sbatch, e.g. partition or account.
GENERIC = ("timeout_min", "mem_gb", "nodes", "cpus_per_task", "gpus_per_node", "tasks_per_node", "stderr_to_stdout")
DAY = 24 * 60


class SlurmWorker:
    """The main function of a SLURM job; at its time limit it is requeued and resumes from the last checkpoint."""

    def __init__(self, task: Work) -> None:
        self.task = task
        # Created in the job, because an event cannot be pickled.
        self._ending: Event | None = None

    def __call__(self) -> int:
        """Works until the suite has ended."""
        from uadbench.runner.suites.worker import work

        self._ending = Event()
        return work(self.task, self._ending)

    def checkpoint(self) -> Any:
        """Called by submitit before the job is ended externally; returns the job to requeue."""
        from submitit.helpers import DelayedSubmission

        if self._ending is not None:
            self._ending.set()
        return DelayedSubmission(SlurmWorker(self.task))


class SlurmExecutor:
    """N jobs of a SLURM cluster.

    Args:
        workers: Number of workers.
        device: auto, cpu or cuda; a worker gets one GPU unless it is cpu.
        cluster: slurm, local or debug.
        settings: Settings of submitit and sbatch.
    """

    def __init__(self, workers: int, device: str, cluster: str, settings: Mapping[str, Any]) -> None:
        self.workers = workers
        self._cluster = cluster
        self._settings = {"timeout_min": DAY, "cpus_per_task": 1, "gpus_per_node": int(device == "cuda"), **settings}
        self._executor: Any = None
        self._worker: SlurmWorker | None = None
        self._jobs: list[Any] = []
        self._deaths = 0

    @classmethod
    def make(cls, workers: int | None, device: str, options: Mapping[str, Any]) -> SlurmExecutor:
        """Returns an executor; options are ``cluster`` and any setting of submitit or sbatch.

        Raises:
            UserError: If submitit is not installed, or there is no such cluster.
        """
        settings = dict(options)
        cluster = str(settings.pop("cluster", "slurm"))
        if cluster not in CLUSTERS:
            raise UnknownName("cluster", cluster, CLUSTERS)
        try:
            import submitit  # noqa: F401  # pyright: ignore[reportUnusedImport]
        except ImportError as error:
            raise UserError("submitit is not installed.", "pip install 'uadbench[cluster]'") from error
        return cls(workers or 1, device, cluster, settings)

    def start(self, task: Work, jobs: int) -> None:
        """Submits the jobs as one array.

        Raises:
            UserError: If SLURM is not available, or a setting is not allowed.
        """
        from submitit import AutoExecutor

        self.workers = min(self.workers, jobs)
        self._worker = SlurmWorker(replace(task, threads=int(self._settings["cpus_per_task"])))
        named = {key if key in GENERIC else f"slurm_{key}": value for key, value in self._settings.items()}
        try:
            self._executor = AutoExecutor(
                folder=task.table.parent / "slurm", cluster=self._cluster, slurm_max_num_timeout=REQUEUES
            )
            # No limit on the array size: SLURM's own limits determine how many run at once.
            self._executor.update_parameters(name="uadbench", slurm_array_parallelism=self.workers, **named)
            with self._executor.batch():
                self._jobs = [self._executor.submit(self._worker) for _ in range(self.workers)]
        except (RuntimeError, NameError, AssertionError, TypeError, ValueError) as error:
            text = " ".join(str(error).split())
            raise UserError(f"SLURM refuses the workers: {text}", "See docs/how-to/cluster.md.") from error

    def tend(self) -> None:
        """Resubmits a failed job.

        Raises:
            JobFailed: If they fail again and again.
        """
        for job in list(self._jobs):
            if not job.done():
                continue
            self._jobs.remove(job)
            error = job.exception()
            if error is None:
                continue
            self._deaths += 1
            if self._deaths >= MAX_DEATHS * self.workers:
                raise JobFailed(f"{self._deaths} workers failed; the last error was: {str(error).splitlines()[-1:]}")
            self._jobs.append(self._executor.submit(self._worker))

    def stop(self) -> None:
        """Cancels running jobs."""
        for job in self._jobs:
            job.cancel()
        deadline = time.monotonic() + STOP_SECONDS
        while self._cluster == "local" and self._jobs and time.monotonic() < deadline:
            self._jobs = [job for job in self._jobs if job.state == "RUNNING"]
            time.sleep(0.1)
