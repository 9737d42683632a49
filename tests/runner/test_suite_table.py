"""The job table: claims that hold among processes, and jobs of dead workers that come back."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest

from uadbench.core.errors import UserError
from uadbench.runner.suites.job_table import MAX_ATTEMPTS, Entry, JobTable

DRAIN = """
import sys
from pathlib import Path
from uadbench.runner.suites.job_table import JobTable
table = JobTable(Path(sys.argv[1]))
with table.worker_lock() as owner:
    while (job := table.claim(owner)) is not None:
        table.start(job.id, owner)
        print(job.id)
        table.finish(job.id, owner, "done", "", 0.0)
"""
HANG = """
import sys, time
from pathlib import Path
from uadbench.runner.suites.job_table import JobTable
table = JobTable(Path(sys.argv[1]))
with table.worker_lock() as owner:
    job = table.claim(owner)
    table.start(job.id, owner)
    print(job.id, flush=True)
    time.sleep(120)
"""


def entries(count: int, *, stored: bool = False) -> list[Entry]:
    return [Entry(id=f"job{i}", definition="{}", fit=f"fit{i}", stored=stored) for i in range(count)]


@pytest.fixture
def table(tmp_path: Path) -> Generator[JobTable]:
    made = JobTable(tmp_path / "jobs.sqlite")
    yield made
    made.close()


def states(table: JobTable) -> dict[str, str]:
    return {row.id: row.state for row in table.rows()}


def test_several_processes_take_every_job_once(table: JobTable) -> None:
    table.fill(entries(120))
    command = [sys.executable, "-c", DRAIN, str(table.path)]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    taken = Counter(line for worker in workers for line in worker.communicate()[0].split())
    assert taken == Counter({f"job{i}": 1 for i in range(120)})
    assert set(states(table).values()) == {"done"}


def test_the_job_of_a_killed_worker_comes_back_and_that_of_a_living_one_does_not(table: JobTable) -> None:
    table.fill(entries(2))
    worker = subprocess.Popen([sys.executable, "-c", HANG, str(table.path)], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    job = worker.stdout.readline().strip()
    assert table.requeue_dead() == []
    assert states(table)[job] == "running"
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    worker.stdout.close()
    assert table.requeue_dead() == [job]
    assert table.requeue_dead() == []
    with table.worker_lock() as owner:
        again = table.claim(owner)
    assert again is not None
    assert again.id == job, "it is the first again"
    assert again.reason == "its worker died"


def test_a_job_that_kills_its_workers_is_given_up(table: JobTable) -> None:
    table.fill(entries(1))
    for attempt in range(1, MAX_ATTEMPTS + 1):
        with table.worker_lock() as owner:
            assert table.claim(owner) is not None
        table.requeue_dead()  # its lock was freed while the job was its own
        assert table.rows()[0].attempts == attempt
    assert states(table) == {"job0": "failed"}
    assert "died 3 times" in table.rows()[0].reason
    table.fill(entries(1))
    assert states(table) == {"job0": "queued"}, "a suite that is started again tries it again"


def test_starting_again_keeps_what_is_done_and_what_lives(table: JobTable) -> None:
    table.fill(entries(4))
    with table.worker_lock() as owner:
        for outcome in ("done", "failed"):
            job = table.claim(owner)
            assert job is not None
            table.finish(job.id, owner, outcome, "why", 1.0)
        assert table.claim(owner) is not None
        stored = [Entry(id=f"job{i}", definition="{}", fit=f"fit{i}", stored=i == 0) for i in range(4)]
        table.fill(stored)
        assert states(table) == {"job0": "done", "job1": "queued", "job2": "claimed", "job3": "queued"}


def test_a_record_that_was_deleted_is_a_job_again(table: JobTable) -> None:
    table.fill(entries(1, stored=True))
    assert table.is_over()
    table.fill(entries(1))
    assert not table.is_over()


def test_a_skipped_job_has_its_reason_and_is_never_claimed(table: JobTable) -> None:
    table.fill([Entry(id="a", definition="{}", fit="a", stored=False, skipped="no data")])
    assert table.is_over()
    assert table.rows()[0].reason == "no data"
    with table.worker_lock() as owner:
        assert table.claim(owner) is None


def test_jobs_of_one_fit_wait_for_each_other(table: JobTable) -> None:
    table.fill([Entry(id=name, definition="{}", fit=fit, stored=False) for name, fit in ("ax", "bx", "cy")])
    with table.worker_lock() as owner:
        first, second = table.claim(owner), table.claim(owner)
        assert first is not None
        assert second is not None
        assert (first.id, second.id) == ("a", "c")
        assert table.claim(owner) is None
        table.finish("a", owner, "done", "", 1.0)
        third = table.claim(owner)
        assert third is not None
        assert third.id == "b"


def test_a_job_that_is_given_back_goes_behind_the_others_and_is_no_attempt(table: JobTable) -> None:
    table.fill(entries(3))
    with table.worker_lock() as owner:
        assert table.claim(owner) is not None
        table.release("job0", owner, "in progress elsewhere")
        order = [job.id for _ in range(3) if (job := table.claim(owner))]
    assert order == ["job1", "job2", "job0"]
    assert {row.attempts for row in table.rows()} == {1}


def test_a_worker_that_was_given_up_cannot_say_how_the_job_ended(table: JobTable) -> None:
    table.fill(entries(1))
    with table.worker_lock() as late:
        assert table.claim(late) is not None
    table.requeue_dead()
    with table.worker_lock() as owner:
        assert table.claim(owner) is not None
        table.finish("job0", late, "failed", "from the past", 1.0)
        assert states(table) == {"job0": "claimed"}


def test_a_damaged_or_unreachable_table_is_one_clear_line(tmp_path: Path) -> None:
    damaged = tmp_path / "bad.sqlite"
    damaged.write_bytes(b"this is not a database, and long enough to be looked at" * 20)
    (tmp_path / "file").write_text("")
    for path in (damaged, tmp_path / "file" / "jobs.sqlite"):
        with pytest.raises(UserError, match="cannot be used") as error:
            JobTable(path)
        assert "\n" not in str(error.value)


def test_a_locked_table_is_waited_for(table: JobTable) -> None:
    """Another writer only delays: nothing is raised within the time that SQLite is told to wait."""
    table.fill(entries(1))
    code = (
        "import sqlite3, sys, time; base = sqlite3.connect(sys.argv[1], isolation_level=None); "
        "base.execute('BEGIN IMMEDIATE'); print('held', flush=True); time.sleep(1); base.execute('COMMIT')"
    )
    command = [sys.executable, "-c", code, str(table.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other, table.worker_lock() as owner:
        assert other.stdout is not None
        other.stdout.readline()
        began = time.monotonic()
        assert table.claim(owner) is not None
        assert time.monotonic() - began > 0.3


def test_a_table_of_another_version_is_refused_with_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "jobs.sqlite"
    JobTable(file).close()
    JobTable(file).close()  # the same version opens again
    with sqlite3.connect(file) as base:
        base.execute("PRAGMA user_version = 0")  # as tables were before they carried a version
    base.close()
    with pytest.raises(UserError, match="version 0, this is version 1") as caught:
        JobTable(file)
    assert "Delete it" in str(caught.value)
