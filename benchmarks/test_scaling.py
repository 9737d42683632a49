"""A suite on two workers against one, each with one thread, and what a job costs beyond its work."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.support.small_suite import make_run, task_of
from tests.support.stores import write_store
from uadbench.runner.execution.run import execute
from uadbench.runner.suites import worker
from uadbench.runner.suites.executors.local import LocalExecutor
from uadbench.runner.suites.job_table import Entry, JobTable
from uadbench.runner.suites.suite_run import SuiteRun

# Jobs of a few seconds of training each, so that there is something to share.
STEPS, JOBS = 200, 6


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("scaling") / "store", frames=1)


def throughput(run: SuiteRun, workers: int) -> float:
    """Returns jobs per second from the first job's start to the last one's end: workers are warm by then."""
    executor = LocalExecutor(workers, gpus=0)
    rows = list(run.run(executor, "cpu"))[-1]
    assert [row.state for row in rows] == ["done"] * len(rows)
    starts = [row.changed - (row.seconds or 0) for row in rows]
    return len(rows) / (max(row.changed for row in rows) - min(starts))


def test_two_workers_against_one(benchmark: BenchmarkFixture, store: Path, tmp_path: Path) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    one = throughput(make_run(tmp_path / "one", store, JOBS, STEPS), 1)
    two = benchmark.pedantic(lambda: throughput(make_run(tmp_path / "two", store, JOBS, STEPS), 2), rounds=1)
    benchmark.extra_info["jobs_per_second"] = {"one worker": one, "two workers": two}
    benchmark.extra_info["ratio"] = two / one
    print(f"\n{one:.3f} jobs per second with one worker, {two:.3f} with two: {two / one:.2f} times")


def test_overhead_of_a_job_beyond_its_work(
    benchmark: BenchmarkFixture, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a warm worker does besides running jobs: claims, opening data, planning, the table, the last look."""
    inside: list[float] = []

    def timed(*values: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return execute(*values, **named)
        finally:
            inside.append(time.perf_counter() - began)

    monkeypatch.setattr(worker, "execute", timed)
    run = make_run(tmp_path, store, JOBS, STEPS)
    task = task_of(run, tmp_path)
    began = time.perf_counter()
    assert benchmark.pedantic(lambda: worker.work(task), rounds=1) == len(inside) == JOBS
    overhead = (time.perf_counter() - began - sum(inside)) / JOBS
    benchmark.extra_info["overhead_s"] = overhead
    print(f"\n{sum(inside) / JOBS:.2f} s of work and {overhead:.3f} s of overhead per job")


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
