"""Experiment trackers: log a run to TensorBoard or MLflow while it happens, without changing it.

A tracker sees the job, each report of the training, and the finished record. Neither the job's id nor a number depends
on it, its time is not counted as training, and a failing tracker loses only its own log.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, TypeVar

from uadbench.core.job import Job
from uadbench.core.record import Record

Value = str | int | float | bool | None
Status = Literal["done", "failed", "interrupted"]
Say = Callable[[str], None]
T = TypeVar("T")


@dataclass(frozen=True)
class Tracked:
    """What is tracked: a run, or a trial of a study.

    Attributes:
        id: Permanent identifier; a second log with the same id continues the first if that was interrupted.
        group: Group for comparison: a dataset or a study.
        name: Readable name.
        params: Hyper-parameters and everything else that defines it.
    """

    id: str
    group: str
    name: str
    params: Mapping[str, Value] = field(default_factory=dict[str, Value])


class Log(Protocol):
    """The log of one tracked thing."""

    def step(self, step: int, scalars: Mapping[str, float]) -> None:
        """Logs scalars of a training step."""
        ...

    def finish(self, status: Status, scalars: Mapping[str, float], pictures: Mapping[str, Path]) -> None:
        """Logs the results and closes the log.

        Args:
            status: How it ended; an interrupted log can be resumed.
            scalars: Final metrics.
            pictures: PNG files by name.
        """
        ...


class Tracker(Protocol):
    """A store of logs."""

    def holds(self, tracked_id: str) -> bool:
        """Whether there is a finished log with this id."""
        ...

    def open(self, tracked: Tracked) -> Log:
        """Starts a log, or resumes an interrupted one."""
        ...


@dataclass
class Tracking:
    """A tracker with its permissions and state.

    Attributes:
        tracker: The tracker.
        say: Called with one line if the tracker fails; the run continues without it.
        include_images: Whether images of real patients may leave the run's folder.
        stopped: Whether the tracker has failed.
    """

    tracker: Tracker
    say: Say
    include_images: bool = False
    stopped: bool = False

    def tell(self, call: Callable[[Tracker], T]) -> T | None:
        """Calls something with the tracker; None once it has failed."""
        if self.stopped:
            return None
        try:
            return call(self.tracker)
        except (
            Exception
        ) as error:  # whatever a server, a disk or a package raises: a run is more important than its log
            self.stopped = True
            self.say(f"Tracking stopped ({type(error).__name__}): {hidden(error)}; the run continues.")
            return None

    @contextmanager
    def watching(self, job: Job) -> Generator[Watcher]:
        """Yields the log of a job; an exception leaves it marked as interrupted."""
        watcher = Watcher(self, job)
        try:
            yield watcher
        finally:
            watcher.close("interrupted")


class Watcher:
    """Logs one job to a tracker.

    Args:
        tracking: The tracker.
        job: The job.
    """

    def __init__(self, tracking: Tracking, job: Job) -> None:
        self._tracking = tracking
        self._job = job
        self._log: Log | None = None

    @property
    def told_before(self) -> bool:
        """Whether there is a finished log of the job."""
        return bool(self._tracking.tell(lambda tracker: tracker.holds(self._job.id)))

    def step(self, phase: str, step: int, scalars: Mapping[str, float]) -> None:
        """Logs the report of a step."""
        named = {plain_name(f"{phase}/{name}"): value for name, value in scalars.items()}
        self._tracking.tell(lambda tracker: self._opened(tracker).step(step, named))

    def finish(self, record: Record, folder: Path) -> None:
        """Logs the results."""
        picture = folder / "overview.png"
        shown = picture.is_file() and (self._tracking.include_images or _of_phantoms(record))
        self._tracking.tell(self._opened)
        status: Status = "done" if record.status == "done" else "failed"
        self.close(status, final_scalars(record), {"overview": picture} if shown else {})

    def close(
        self, status: Status, scalars: Mapping[str, float] | None = None, pictures: Mapping[str, Path] | None = None
    ) -> None:
        """Closes the log if there is one."""
        log, self._log = self._log, None
        if log is not None:
            self._tracking.tell(lambda _: log.finish(status, scalars or {}, pictures or {}))

    def _opened(self, tracker: Tracker) -> Log:
        if self._log is None:
            self._log = tracker.open(tracked_job(self._job))
        return self._log


def tracked_job(job: Job) -> Tracked:
    """Returns the parameters of a job for trackers, with the method's settings as ``config.KEY``."""
    tested = job.test_on or job.dataset
    params: dict[str, Value] = {
        "id": job.id,
        "method": job.method.name,
        "label": job.method.label,
        "method_version": job.method.version,
        "supervision": job.method.supervision,
        "preset": job.method.preset,
        "dataset": job.dataset.name,
        "dataset_source": job.dataset.source,
        "dataset_fingerprint": job.dataset.fingerprint,
        "test_on": tested.name,
        "protocol": job.protocol.name,
        "seed": job.seed,
        "precision": job.precision,
    }
    params |= {f"config.{key}": _plain(value) for key, value in job.method.config.items()}
    return Tracked(job.id, tested.name, f"{job.method.label} seed {job.seed}", params)


def final_scalars(record: Record) -> dict[str, float]:
    """Returns the metrics of a record with their intervals, and its cost, under names that trackers accept.

    ``dice@healthy-fpr@0.01`` becomes ``test/dice/healthy-fpr/0.01``, its interval limits end in ``_low`` and ``_high``.
    """
    scalars: dict[str, float] = {}
    for key, metric in record.metrics.items():
        ends = {"": metric.value, "_low": metric.low, "_high": metric.high}
        scalars |= {f"test/{plain_name(key)}{end}": value for end, value in ends.items() if value is not None}
    cost = record.cost.model_dump() if record.cost is not None else {}
    return scalars | {f"cost/{name}": float(value) for name, value in cost.items()}


def plain_name(key: str) -> str:
    """Returns a name that both trackers accept: letters, digits, ``_``, ``-``, ``.`` and ``/``."""
    return re.sub(r"[^\w./-]", "_", key.replace("@", "/"), flags=re.ASCII)


def hidden(text: object) -> str:
    """Returns a message or an address as one line without credentials."""
    return re.sub(r"(?<=://)[^/\s@]+@", "...@", " ".join(str(text).split()))[:200].rstrip(".")


def _of_phantoms(record: Record) -> bool:
    return all(part.source == "phantom" for part in (record.dataset, record.test_on or record.dataset))


def _plain(value: object) -> Value:
    return value if isinstance(value, str | int | float | bool | None) else str(value)
