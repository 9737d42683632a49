"""A suite of small jobs on a tiny store, for what jobs cost beyond their work."""

from __future__ import annotations

from pathlib import Path

from uadbench.core.dataset import no_progress
from uadbench.runner.suites.job_table import Entry, JobTable
from uadbench.runner.suites.suite import Suite
from uadbench.runner.suites.suite_run import SuiteRun
from uadbench.runner.suites.work import Work


def make_run(folder: Path, store: Path, jobs: int, steps: int) -> SuiteRun:
    """Plans trainings of the autoencoder that differ in their seed alone."""
    suite = Suite(
        name="scaling",
        preset="smoke",
        seeds=list(range(jobs)),
        methods=["autoencoder"],
        datasets=["carotid_us"],
        sources={"carotid_us": str(store)},
        variants={"autoencoder": [{"steps": steps}]},
        plain=False,
    )
    return SuiteRun(suite, folder / "runs", folder / "records", no_progress)


def task_of(run: SuiteRun, folder: Path, device: str = "cpu") -> Work:
    """Fills a job table and returns what a worker gets."""
    table = JobTable(folder / "jobs.sqlite")
    jobs = [(planned.id, planned.row.model_dump_json()) for planned in run.planned]
    table.fill([Entry(id=job, definition=row, fit=job, stored=False) for job, row in jobs])
    return Work(table.path, run.root, run.records, run.base, device)
