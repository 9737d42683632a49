"""A suite on two workers against one, each with one thread, and what a job costs beyond its work."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.conftest import write_store
from uadbench.core.dataset import no_progress
from uadbench.core.record import Record
from uadbench.runner.executors import Work
from uadbench.runner.executors.local import LocalExecutor
from uadbench.runner.folder import RunFolder
from uadbench.runner.job_table import Entry, JobTable
from uadbench.runner.plan import plan_run
from uadbench.runner.run import execute
from uadbench.runner.suite import Suite, open_row
from uadbench.runner.suite_run import SuiteRun
from uadbench.runner.worker import work

# Jobs of a few seconds of training each, so that there is something to share.
METHOD: dict[str, Any] = {"preset": "smoke", "overrides": {"steps": 200}}
JOBS = 6


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("scaling") / "store", frames=1)


def make_run(folder: Path, store: Path, jobs: int) -> SuiteRun:
    suite = Suite(
        name="scaling",
        preset="smoke",
        seeds=list(range(jobs)),
        methods=["autoencoder"],
        datasets=["carotid_us"],
        sources={"carotid_us": str(store)},
        variants={"autoencoder": [METHOD["overrides"]]},
        plain=False,
    )
    return SuiteRun(suite, folder / "runs", folder / "records", no_progress)


def throughput(run: SuiteRun, workers: int) -> float:
    """Returns jobs a second from the first job's start to the last one's end: workers are warm by then."""
    executor = LocalExecutor(workers, gpus=0)
    rows = list(run.run(executor, "cpu"))[-1]
    assert [row.state for row in rows] == ["done"] * len(rows)
    starts = [row.changed - (row.seconds or 0) for row in rows]
    return len(rows) / (max(row.changed for row in rows) - min(starts))


def test_two_workers_against_one(benchmark: BenchmarkFixture, store: Path, tmp_path: Path) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    one = throughput(make_run(tmp_path / "one", store, JOBS), 1)
    two = benchmark.pedantic(lambda: throughput(make_run(tmp_path / "two", store, JOBS), 2), rounds=1)
    benchmark.extra_info["jobs_per_second"] = {"one worker": one, "two workers": two}
    benchmark.extra_info["ratio"] = two / one
    print(f"\n{one:.3f} jobs a second with one worker, {two:.3f} with two: {two / one:.2f} times")


def test_overhead_of_a_job_beyond_its_work(benchmark: BenchmarkFixture, store: Path, tmp_path: Path) -> None:
    """The same jobs called in a row, and by a warm worker through the job table; the difference is a job's overhead."""
    run = make_run(tmp_path, store, 4)
    opened: dict[Any, Any] = {}
    plans = [open_row(planned.row, no_progress, run.base, opened) for planned in run.planned]
    execute(plan_run(method="autoencoder", train=plans[0].train, preset="smoke"), root=tmp_path / "warm", device="cpu")
    began = time.perf_counter()
    for plan in plans:
        execute(plan, root=tmp_path / "direct", device="cpu")
    direct = time.perf_counter() - began

    table = JobTable(tmp_path / "jobs.sqlite")
    jobs = [(planned.id, planned.row.model_dump_json()) for planned in run.planned]
    table.fill([Entry(id=job, definition=row, fit=job, stored=False) for job, row in jobs])
    task = Work(table.path, run.root, run.records, run.base, "cpu")
    began = time.perf_counter()
    assert benchmark.pedantic(lambda: work(task), rounds=1) == len(plans)
    through = time.perf_counter() - began
    records = [RunFolder(run.root / planned.id).record() for planned in run.planned]
    assert all(isinstance(record, Record) for record in records)
    overhead = (through - direct) / len(plans)
    benchmark.extra_info["overhead_s"] = overhead
    print(
        f"\n{direct / len(plans):.2f} s a job directly, {through / len(plans):.2f} s through a worker: {overhead:.2f} s"
    )


def test_a_claim_among_ten_thousand_jobs(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """What the job table itself costs a job: claim, start and finish, three transactions on this disk."""
    table = JobTable(tmp_path / "jobs.sqlite")
    table.fill([Entry(id=f"{i:016x}", definition="{}", fit=f"{i:x}", stored=False) for i in range(10_000)])
    with table.worker_lock() as owner:

        def one_job() -> None:
            job = table.claim(owner)
            assert job is not None
            table.start(job.id, owner)
            table.finish(job.id, owner, "done", "", 1.0)

        benchmark.pedantic(one_job, rounds=200)
