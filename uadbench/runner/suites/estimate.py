"""Estimates the remaining time of a suite from measured costs of its methods."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from uadbench.core.record import Record
from uadbench.runner.scoring.score_run import scored_parts
from uadbench.runner.suites.job_table import JobRow
from uadbench.runner.suites.planned_rows import PlannedRow


@dataclass(frozen=True)
class Estimate:
    """Time for some jobs.

    Attributes:
        seconds: Time of the jobs that could be estimated, one after another.
        unknown: Number of jobs without a measurement of their method and preset.
    """

    seconds: float
    unknown: int


class Costs:
    """Measured seconds per job by method, preset and data.

    The time of a whole job on this machine (from the job table) is preferred to the cost in a record, which
    includes only training and prediction. An unmeasured variant uses its method's time, and an unmeasured dataset
    that of another.
    """

    def __init__(self) -> None:
        self._whole: dict[tuple[str, ...], list[float]] = defaultdict(list)
        self._train: dict[tuple[str, ...], list[float]] = defaultdict(list)
        self._image: dict[tuple[str, ...], list[float]] = defaultdict(list)
        self._known: dict[str, float | None] = {}  # per job, until other costs are known
        self._training: dict[str, float] = {}  # how much of that is training, where a record tells it

    def add_records(self, records: Iterable[Record]) -> None:
        """Adds the costs in records."""
        self._forget()
        for record in records:
            if record.cost is None:
                continue
            data = (record.test_on or record.dataset).name
            for key in _keys(record.method.label, record.method.name, record.method.preset, data):
                self._train[key].append(record.cost.train_s)
                self._image[key].append(record.cost.predict_ms_per_image / 1000)

    def add_table(self, rows: Iterable[JobRow], planned: dict[str, PlannedRow]) -> None:
        """Adds the measured times of jobs of this suite."""
        self._forget()
        for row in rows:
            if row.state != "done" or row.seconds is None or row.id not in planned:
                continue
            for key in _row_keys(planned[row.id]):
                self._whole[key].append(row.seconds)

    def _forget(self) -> None:
        self._known.clear()
        self._training.clear()

    def of(self, planned: PlannedRow) -> float | None:
        """Returns the estimated seconds of a job, or None if no similar job has been measured."""
        if planned.id not in self._known:
            self._known[planned.id] = self._of(planned)
        return self._known[planned.id]

    def _of(self, planned: PlannedRow) -> float | None:
        for key in _row_keys(planned):
            if key in self._whole:
                return fmean(self._whole[key])
            if key in self._train and planned.plan is not None:
                parts = scored_parts(planned.plan.train, planned.plan.test)
                images = sum(len(items) for _, items in parts.values())
                self._training[planned.id] = fmean(self._train[key])
                return self._training[planned.id] + images * fmean(self._image[key])
        return None

    def estimate(self, jobs: Sequence[PlannedRow]) -> Estimate:
        """Adds up the jobs; training that several of them share counts once."""
        times = [self.of(job) for job in jobs]
        known = [time for time in times if time is not None]
        fits: set[str] = set()
        shared = 0.0
        for job in jobs:
            fit = job.plan.fit_key if job.plan else job.id
            shared += self._training.get(job.id, 0.0) if fit in fits else 0.0
            fits.add(fit)
        return Estimate(sum(known) - shared, len(times) - len(known))


def _row_keys(planned: PlannedRow) -> list[tuple[str, ...]]:
    row = planned.row
    return _keys(row.label, row.method, row.preset, (row.test_on or row.dataset).partition("@")[0])


def _keys(label: str, method: str, preset: str, data: str) -> list[tuple[str, ...]]:
    """Keys from the closest match to the farthest."""
    return [(preset, label, data), (preset, method, data), (preset, label), (preset, method)]
