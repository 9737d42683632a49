"""Workers as tasks of a Ray cluster, which restarts them, possibly elsewhere, if a process or node dies."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from uadbench.core.errors import JobFailed, UserError
from uadbench.runner.suites.work import Work, check_options

STOP_SECONDS = 20.0
CONNECT_SECONDS = 10.0

# A job that kills its worker three times is given up, so more deaths have another cause.
MAX_RETRIES = 50


class RayExecutor:
    """N tasks, each of which works until the suite has ended.

    Args:
        workers: Number of workers; None for the number that the cluster's CPUs or GPUs allow.
        device: auto, cpu or cuda.
        address: Address of the cluster; "auto" for the one that this machine belongs to.
        cpus: CPUs per worker.
        gpus: GPUs per worker; None for one if the cluster has any. Fractions let workers share a GPU.
    """

    def __init__(
        self,
        workers: int | None,
        device: str = "auto",
        address: str = "auto",
        cpus: int = 1,
        gpus: float | None = None,
    ) -> None:
        self._ray = _import_ray()
        self._cpus = cpus
        self._tasks: list[Any] = []
        try:
            _reach(address)
            self._ray.init(address=address, log_to_driver=False, logging_level="error")
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(
                f"There is no Ray cluster at '{address}': {_first_line(error)}.",
                "Start one with ray start --head, or specify it: --option address=HOST:6379.",
            ) from error
        there = self._ray.cluster_resources()
        use_gpus = device != "cpu" and there.get("GPU", 0) > 0
        self._gpus = (1 if use_gpus else 0) if gpus is None else gpus
        room = there.get("GPU", 0) / self._gpus if self._gpus else there.get("CPU", 0) / cpus
        self.workers = workers or max(1, int(room))

    @classmethod
    def make(cls, workers: int | None, device: str, options: Mapping[str, Any]) -> RayExecutor:
        """Connects to a cluster; options are address, cpus and gpus.

        Raises:
            UnknownName: If there is no such option.
            UserError: If Ray is not installed or there is no cluster.
        """
        check_options(options, ("address", "cpus", "gpus"))
        return cls(workers, device, **options)

    def start(self, task: Work, jobs: int) -> None:
        """Submits the tasks; tasks that do not fit wait for free resources."""
        self.workers = min(self.workers, jobs)
        remote = self._ray.remote(_ray_worker).options(
            num_cpus=self._cpus, num_gpus=self._gpus, max_retries=MAX_RETRIES, name="uadbench"
        )
        self._tasks = [remote.remote(replace(task, threads=self._cpus)) for _ in range(self.workers)]

    def tend(self) -> None:
        """Checks whether tasks have ended.

        Raises:
            JobFailed: If all have ended although jobs are open.
        """
        if not self._tasks:
            return
        ended, self._tasks = self._ray.wait(self._tasks, num_returns=len(self._tasks), timeout=0)
        for each in ended:
            try:
                self._ray.get(each)
            except self._ray.exceptions.RayError as error:
                if not self._tasks:
                    raise JobFailed(f"The last worker on the Ray cluster failed: {_first_line(error)}") from error

    def stop(self) -> None:
        """Interrupts the tasks, kills those that do not end, and leaves the cluster running."""
        for force in (False, True):
            if self._tasks:
                for each in self._tasks:
                    self._ray.cancel(each, force=force)
                _, self._tasks = self._ray.wait(self._tasks, num_returns=len(self._tasks), timeout=STOP_SECONDS)
        self._ray.shutdown()


def _ray_worker(task: Work) -> int:
    from uadbench.runner.suites.worker import work

    return work(task)


def _reach(address: str) -> None:
    """Tries the address once: Ray itself retries for minutes.

    Raises:
        OSError: If there is no response.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise UserError("Ray is not installed.", "pip install 'uadbench[cluster]'") from error
    return ray


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
