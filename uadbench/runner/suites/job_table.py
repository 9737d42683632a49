"""The job table of a suite: claims, outcomes and reasons for failures. SQLite, shared by all workers.

The table is only an index. A record shows that a job is done, and a lock that a worker is alive; the
operating system releases it at death. So the table may be lost or outdated without losing or repeating a result
(docs/explanation/scaling.md).
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from uuid import uuid4

from filelock import FileLock, Timeout

from uadbench.core.errors import UserError

State = Literal["queued", "claimed", "running", "done", "failed", "skipped"]
OPEN = ("queued", "claimed", "running")

# A job that kills its worker this many times (e.g. out of memory) is given up.
MAX_ATTEMPTS = 3
BUSY_SECONDS = 60.0

VERSION = 1
"""Version of the table's columns, stored in SQLite's ``user_version``."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY,
    position INTEGER NOT NULL,
    definition TEXT NOT NULL,
    fit TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'claimed', 'running', 'done', 'failed', 'skipped')),
    reason TEXT NOT NULL DEFAULT '',
    attempts INTEGER NOT NULL DEFAULT 0,
    owner TEXT,
    changed REAL NOT NULL,
    seconds REAL
)"""
COLUMNS = "id, position, definition, state, reason, attempts, owner, changed, seconds"


@dataclass(frozen=True)
class Entry:
    """A new job for the table.

    Attributes:
        id: Hash of the job.
        definition: What a worker needs to plan it (JSON).
        fit: Jobs with the same fit never run at once, so that the second finds the weights of the first.
        stored: Whether its record exists.
        skipped: Why it cannot run here; "" if it can.
    """

    id: str
    definition: str
    fit: str
    stored: bool
    skipped: str = ""


@dataclass(frozen=True)
class JobRow:
    """The current state of a job.

    Attributes:
        id: Hash of the job.
        position: Place in the suite.
        definition: What a worker needs to plan it (JSON).
        state: Its state.
        reason: Why it failed or was skipped.
        attempts: How often a worker started it since the suite was started; 0 for an already stored job.
        owner: Token of its current or last worker.
        changed: When the state changed (seconds since 1970).
        seconds: How long it took, once it is done.
    """

    id: str
    position: int
    definition: str
    state: State
    reason: str
    attempts: int
    owner: str | None
    changed: float
    seconds: float | None


class JobTable:
    """Claims and outcomes of the jobs of one suite.

    Args:
        path: The SQLite file; its folder is created.

    Raises:
        UserError: From every method, if the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._clear_errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            # Rollback journal: write-ahead logging needs memory shared by all workers, so a single machine.
            self._base = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        with self._transaction():  # workers open it at the same time
            (found,) = self._base.execute("PRAGMA user_version").fetchone()
            (columns,) = self._base.execute("SELECT count(*) FROM pragma_table_info('jobs')").fetchone()
            if columns and found != VERSION:
                raise UserError(
                    f"{path} is a job table of version {found}, this is version {VERSION}.",
                    "Delete it and start the suite again: finished jobs are found by their records.",
                )
            self._base.execute(SCHEMA)
            self._base.execute(f"PRAGMA user_version = {VERSION}")

    def close(self) -> None:
        """Closes the file."""
        self._base.close()

    def fill(self, entries: Sequence[Entry]) -> None:
        """Adds the jobs of a suite that is started or restarted.

        Stored jobs are done, failed or skipped jobs are retried, and jobs of living workers are left
        alone.
        """
        now = time.time()
        with self._transaction():
            for position, entry in enumerate(entries):
                state = "skipped" if entry.skipped else "done" if entry.stored else "queued"
                self._base.execute(
                    "INSERT INTO jobs (id, position, definition, fit, state, reason, changed) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
                    "state = excluded.state, reason = excluded.reason, attempts = 0, owner = NULL, "
                    "changed = excluded.changed WHERE state NOT IN ('claimed', 'running')",
                    (entry.id, position, entry.definition, entry.fit, state, entry.skipped, now),
                )

    def claim(self, owner: str) -> JobRow | None:
        """Assigns the next job to a worker, or returns None if there is currently none.

        Args:
            owner: Token of a worker that holds its lock (``worker_lock``).
        """
        with self._transaction():
            found = self._base.execute(
                f"SELECT {COLUMNS} FROM jobs WHERE state = 'queued' "  # noqa: S608 (fixed names)
                "AND fit NOT IN (SELECT fit FROM jobs WHERE state IN ('claimed', 'running')) "
                # A job returned because another process runs it is moved to the end.
                "ORDER BY owner IS NOT NULL, changed * (owner IS NOT NULL), position LIMIT 1"
            ).fetchone()
            if found is None:
                return None
            self._base.execute(
                "UPDATE jobs SET state = 'claimed', owner = ?, attempts = attempts + 1, changed = ? WHERE id = ?",
                (owner, time.time(), found[0]),
            )
        return JobRow(*found)

    def start(self, job: str, owner: str) -> None:
        """Marks a claimed job as started."""
        self._move(job, owner, "running", "", None)

    def finish(
        self, job: str, owner: str, state: Literal["done", "failed", "skipped"], reason: str, seconds: float
    ) -> None:
        """Records how a job ended."""
        self._move(job, owner, state, reason, seconds)

    def release(self, job: str, owner: str, reason: str) -> None:
        """Returns a job that another process is running; this does not count as an attempt."""
        with self._transaction():
            self._base.execute(
                "UPDATE jobs SET state = 'queued', reason = ?, attempts = attempts - 1, changed = ? "
                "WHERE id = ? AND owner = ? AND state IN ('claimed', 'running')",
                (reason, time.time(), job, owner),
            )

    def requeue_dead(self) -> list[str]:
        """Requeues the jobs of dead workers, at most ``MAX_ATTEMPTS`` times; returns their ids."""
        with self._clear_errors():
            owned = self._base.execute("SELECT DISTINCT owner FROM jobs WHERE state IN ('claimed', 'running')")
            dead = [owner for (owner,) in owned.fetchall() if not self._lives(owner)]
        jobs: list[str] = []
        for owner in dead:
            with self._transaction():
                # Checked again inside the transaction: another worker may have done the same.
                found = self._base.execute(
                    "SELECT id, attempts FROM jobs WHERE owner = ? AND state IN ('claimed', 'running')", (owner,)
                ).fetchall()
                for job, attempts in found:
                    state = "failed" if attempts >= MAX_ATTEMPTS else "queued"
                    reason = f"Its worker died {attempts} times, the last time without a message (out of memory?)."
                    self._base.execute(
                        "UPDATE jobs SET state = ?, reason = ?, owner = NULL, changed = ? WHERE id = ?",
                        (state, reason if state == "failed" else "its worker died", time.time(), job),
                    )
                    jobs.append(job)
            self._lock_file(owner).unlink(missing_ok=True)
        return jobs

    def rows(self) -> list[JobRow]:
        """Returns all jobs in the order of the suite."""
        with self._clear_errors():
            found = self._base.execute(f"SELECT {COLUMNS} FROM jobs ORDER BY position").fetchall()  # noqa: S608
        return [JobRow(*row) for row in found]

    def is_over(self) -> bool:
        """Whether every job is done, failed or skipped."""
        with self._clear_errors():
            query = "SELECT COUNT(*) FROM jobs WHERE state IN ('queued', 'claimed', 'running')"
            return self._base.execute(query).fetchone()[0] == 0

    @contextmanager
    def worker_lock(self) -> Generator[str]:
        """Yields a new token for a worker and holds its lock, which protects its jobs."""
        owner = uuid4().hex[:12]
        file = self._lock_file(owner)
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file):
            yield owner
        file.unlink(missing_ok=True)

    def _lives(self, owner: str) -> bool:
        try:
            with FileLock(self._lock_file(owner), timeout=0):
                return False
        except Timeout:
            return True

    def _lock_file(self, owner: str) -> Path:
        return self.path.with_suffix(".workers") / f"{owner}.lock"

    def _move(self, job: str, owner: str, state: State, reason: str, seconds: float | None) -> None:
        with self._transaction():
            self._base.execute(
                "UPDATE jobs SET state = ?, reason = ?, changed = ?, seconds = ? WHERE id = ? AND owner = ? "
                "AND state IN ('claimed', 'running')",
                (state, reason, time.time(), seconds, job, owner),
            )

    @contextmanager
    def _transaction(self) -> Generator[None]:
        with self._clear_errors():
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._base.execute("COMMIT")
            except BaseException:
                if self._base.in_transaction:
                    self._base.execute("ROLLBACK")
                raise

    @contextmanager
    def _clear_errors(self) -> Generator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise UserError(
                f"The job table {self.path.name} cannot be used: {error}.",
                "Free space or choose another --out; if the file is damaged, delete it: no result is lost.",
            ) from error
