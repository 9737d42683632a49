"""The task of a worker and the interface of an executor; importing this does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from uadbench.core.errors import UnknownName
from uadbench.core.job import Compile


@dataclass(frozen=True)
class Work:
    """The task of a worker; all paths are accessible to every worker.

    Attributes:
        table: The job table.
        root: Root of the runs.
        records: Folder for exported records.
        base: Folder that relative sources start from.
        device: auto, cpu or cuda.
        threads: Threads of a worker on the CPU.
        compiling: auto, on or off: whether networks are called through torch.compile.
        isolated: Whether methods run in a child process that gets images and body masks alone.
    """

    table: Path
    root: Path
    records: Path
    base: Path
    device: str = "auto"
    threads: int = 1
    compiling: Compile = "auto"
    isolated: bool = False


class Executor(Protocol):
    """Starts workers somewhere."""

    @property
    def workers(self) -> int:
        """The number of workers."""
        ...

    def start(self, task: Work, jobs: int) -> None:
        """Starts the workers, at most one per job.

        Raises:
            UserError: If requirements are missing.
        """
        ...

    def tend(self) -> None:
        """Called about twice per second; replaces dead workers.

        Raises:
            JobFailed: If they die faster than they can be replaced.
        """
        ...

    def stop(self) -> None:
        """Ends the workers; others can then claim their jobs. Called exactly once."""
        ...


def check_options(options: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Refuses unknown options of an executor.

    Raises:
        UnknownName: If there is one.
    """
    for name in options:
        if name not in known:
            raise UnknownName("executor option", name, known)
