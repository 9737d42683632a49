"""What a worker is told, and what an executor is: importing this imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from uadbench.core.errors import UnknownName
from uadbench.core.job import Compile


@dataclass(frozen=True)
class Work:
    """What a worker is told: all paths are on folders that every worker sees.

    Attributes:
        table: The job table.
        root: Root of the runs.
        records: Where records are exported to.
        base: Folder that relative sources start from.
        device: auto, cpu or cuda.
        threads: Threads of a worker on the CPU.
        compiling: auto, on or off: whether networks are called through torch.compile.
    """

    table: Path
    root: Path
    records: Path
    base: Path
    device: str = "auto"
    threads: int = 1
    compiling: Compile = "auto"


class Executor(Protocol):
    """Starts workers somewhere."""

    @property
    def workers(self) -> int:
        """How many workers there are to be."""
        ...

    def start(self, task: Work, jobs: int) -> None:
        """Starts the workers, no more than there are jobs.

        Raises:
            UserError: If what they need is not there.
        """
        ...

    def tend(self) -> None:
        """Called about twice a second: replaces workers that died.

        Raises:
            JobFailed: If they die faster than they can be replaced.
        """
        ...

    def stop(self) -> None:
        """Ends the workers; their jobs can be claimed by others afterwards. Called exactly once."""
        ...


def check_options(options: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Refuses options that an executor does not know.

    Raises:
        UnknownName: If there is one.
    """
    for name in options:
        if name not in known:
            raise UnknownName("executor option", name, known)
