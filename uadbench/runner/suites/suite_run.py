"""Runs a suite: fills the job table, starts workers, and reports finished jobs until none is open."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Generator, Sequence
from pathlib import Path

from uadbench.core.config import is_result
from uadbench.core.dataset import Progress
from uadbench.core.errors import DataError, UserError
from uadbench.core.job import Compile
from uadbench.core.record import Record, stable_hash
from uadbench.records.export import export_record, exported_record
from uadbench.runner.planning.plan import Plan
from uadbench.runner.scoring.pool_folds import pool_folds
from uadbench.runner.storage.run_folder import RunFolder
from uadbench.runner.suites.job_table import OPEN, Entry, JobRow, JobTable
from uadbench.runner.suites.planned_rows import PlannedRow, plans
from uadbench.runner.suites.suite import Suite
from uadbench.runner.suites.work import Executor, Work

POLL_SECONDS = 0.5


class SuiteRun:
    """A suite with its plans and its job table.

    Args:
        suite: What to run.
        root: Parent folder of the runs, accessible to all workers.
        records: Folder to which each record is exported when its job ends (except for preset smoke).
        progress: Called while phantoms are simulated.

    Raises:
        UserError: If two rows turn out to be the same job, or the job table cannot be used.
    """

    def __init__(self, suite: Suite, root: Path, records: Path, progress: Progress) -> None:
        self.base = Path.cwd()
        self.root = root.absolute()
        self.records = records.absolute()
        self.planned = _distinct(plans(suite, progress))
        self.by_id = {planned.id: planned for planned in self.planned}
        if len(self.by_id) < len(self.planned):
            twice = next(each for each in self.planned if self.by_id[each.id] is not each)
            raise UserError(
                f"{twice.row.label} on {twice.row.data} is the same job as another row: the data are the same.",
                "Remove one of them.",
            )
        # A changed suite gets a new table: finished jobs are known from the records.
        digest = stable_hash(sorted(self.by_id), 8)
        self._table_file = self.root / ".suites" / f"{suite.name}-{digest}.sqlite"

    def stored(self, planned: PlannedRow) -> Record | None:
        """Returns the record of a finished job, from this machine or from the exported records of another."""
        if planned.plan is None:
            return None
        try:
            record = RunFolder(self.root / planned.id).record()
        except DataError:
            return None  # damaged: the worker that gets the job reports it
        if record is not None and record.status == "done":
            return record
        return exported_record(planned.plan.job, self.records)

    def table(self) -> JobTable | None:
        """Opens the job table if the suite was started before."""
        return JobTable(self._table_file) if self._table_file.exists() else None

    def run(
        self, executor: Executor, device: str, compiling: Compile = "auto", *, isolated: bool = False
    ) -> Generator[list[JobRow]]:
        """Runs every job that is not stored; yields the jobs as they stand, about twice a second.

        Args:
            executor: Starts the workers.
            device: auto, cpu or cuda.
            compiling: Whether networks are called through torch.compile.
            isolated: Whether methods run in a child process that gets images and body masks alone.

        Raises:
            JobFailed: If workers cannot be kept alive.
            UserError: If the job table cannot be used.
        """
        table = JobTable(self._table_file)
        table.requeue_dead()
        table.fill(self._entries())
        try:
            if not table.is_over():
                yield table.rows()
                places = (self._table_file, self.root, self.records, self.base)
                task = Work(*places, device, compiling=compiling, isolated=isolated)
                try:
                    executor.start(task, len(open_jobs(table.rows())))
                    while not table.is_over():
                        time.sleep(POLL_SECONDS)
                        executor.tend()
                        table.requeue_dead()
                        yield table.rows()
                finally:
                    executor.stop()
                    table.requeue_dead()
            self._pool()
            yield table.rows()
        finally:
            table.close()

    def _entries(self) -> list[Entry]:
        entries: list[Entry] = []
        for planned in self.planned:
            record = self.stored(planned)
            if record is not None and planned.plan is not None and not planned.row.fold:
                self._export(planned.plan, record)
            entries.append(
                Entry(
                    id=planned.id,
                    definition=planned.row.model_dump_json(),
                    fit=planned.plan.fit_key if planned.plan else planned.id,
                    stored=record is not None,
                    skipped=planned.reason,
                )
            )
        return entries

    def _pool(self) -> None:
        """Writes and exports one record of all folds of a job if all of them succeeded."""
        groups: defaultdict[str, list[PlannedRow]] = defaultdict(list)
        for planned in self.planned:
            if planned.row.fold:
                alike = planned.row.model_dump(mode="json", exclude={"fold", "source"})
                groups[stable_hash(alike)].append(planned)
        for group in groups.values():
            records = [self.stored(planned) for planned in group]
            if all(record is not None and record.status == "done" for record in records):
                record, folder = pool_folds([self.root / planned.id for planned in group], self.root)
                if is_result(record.method.preset):
                    export_record(record, folder, self.records)

    def _export(self, plan: Plan, record: Record) -> None:
        """Exports records not exported yet or rescored since; records of other runs are not changed."""
        folder = self.root / plan.job.id
        if not is_result(plan.job.method.preset) or not (folder / "record.json").exists():
            return
        known = exported_record(plan.job, self.records)
        if known is None or (known.created == record.created and known != record):
            export_record(record, folder, self.records)


def _distinct(planned: list[PlannedRow]) -> list[PlannedRow]:
    """Drops variants that are the same job as another row of the method on the same data.

    Published values differ by modality, so a variant's value may be the plain row's on one dataset and not on another.
    """
    kept: dict[tuple[str, str], PlannedRow] = {}
    for each in planned:
        row = each.row.model_dump(mode="json", exclude={"overrides"})
        kept.setdefault((each.id, stable_hash(row)), each)
    return list(kept.values())


def open_jobs(rows: Sequence[JobRow]) -> list[JobRow]:
    """Returns the jobs that have not ended."""
    return [row for row in rows if row.state in OPEN]
