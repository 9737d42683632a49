"""Work in threads: results in order, errors raised, bounded, with the caller's context."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from uadbench.core.rounding import above, watched
from uadbench.data.storage import workers
from uadbench.data.storage.workers import in_threads


@pytest.fixture(params=[1, 2, 4], ids=lambda cores: f"{cores} cores")
def cores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    count: int = request.param

    def affinity(process: int) -> set[int]:
        del process
        return set(range(count))

    monkeypatch.setattr(workers.os, "sched_getaffinity", affinity, raising=False)
    return count


def test_results_keep_their_order_whatever_takes_longer(cores: int) -> None:
    del cores

    def slow_first(job: int) -> int:
        time.sleep(0.02 if job % 2 == 0 else 0)
        return job * job

    assert list(in_threads(slow_first, range(7))) == [job * job for job in range(7)]


def test_jobs_run_together_and_few_wait(cores: int) -> None:
    taken: list[int] = []

    def jobs() -> Iterator[int]:
        for job in range(20):
            taken.append(job)
            yield job

    together = threading.Barrier(cores, timeout=10)
    results = in_threads(lambda job: (together.wait(), job)[1] if job < cores else job, jobs())
    assert next(results) == 0  # the barrier opens only if as many jobs as cores run at once
    assert len(taken) <= cores
    results.close()  # pyright: ignore[reportAttributeAccessIssue]


def test_an_error_is_raised_at_its_place(cores: int) -> None:
    del cores
    results = in_threads(lambda job: 1 / job, [1, 2, 0, 4])
    assert [next(results), next(results)] == [1, 0.5]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_a_watch_sees_the_decisions_of_all_threads(cores: int) -> None:
    del cores
    with watched() as watch:
        list(in_threads(lambda job: above("limit", np.linspace(job, job + 1, 11), 2.55), range(5)))
    assert watch.counts == {"limit": 55}
    assert watch.margins["limit"] == pytest.approx(0.05, abs=1e-4)
