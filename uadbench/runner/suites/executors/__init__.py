"""Executors start and monitor the workers of a suite; the job table does the rest.

Importing this does not import torch: a worker process sets its threads and GPU before torch reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from uadbench.core.errors import UnknownName
from uadbench.runner.suites.work import Executor

NAMES = ("local", "ray", "slurm")


def make_executor(name: str, workers: int | None, device: str, options: Mapping[str, Any]) -> Executor:
    """Returns an executor.

    Args:
        name: local, ray or slurm.
        workers: Number of workers; None for the executor's default.
        device: auto, cpu or cuda.
        options: Options of the executor (docs/how-to/cluster.md).

    Raises:
        UnknownName: If there is no such executor or option.
        UserError: If a package of the extra ``cluster`` is missing.
    """
    if name == "local":
        from uadbench.runner.suites.executors.local import LocalExecutor

        return LocalExecutor.make(workers, device, options)
    if name == "ray":
        from uadbench.runner.suites.executors.ray_cluster import RayExecutor

        return RayExecutor.make(workers, device, options)
    if name == "slurm":
        from uadbench.runner.suites.executors.slurm import SlurmExecutor

        return SlurmExecutor.make(workers, device, options)
    raise UnknownName("executor", name, NAMES)
