"""A worker of a suite: claims a job, runs it, exports its record, claims the next, until the suite has ended.

Executors only start workers, which can be on any machine as long as they
can access the same folders.
"""

from __future__ import annotations

import time
import traceback
from pathlib import Path
from threading import Event

import torch

from uadbench.core.config import is_result
from uadbench.core.dataset import no_progress
from uadbench.core.errors import JobFailed, UserError
from uadbench.data.storage.store import Store
from uadbench.records.export import export_record
from uadbench.runner.execution.run import execute
from uadbench.runner.planning.plan import Plan
from uadbench.runner.storage.run_folder import InProgress, RunFolder
from uadbench.runner.suites.job_table import JobRow, JobTable
from uadbench.runner.suites.planned_rows import open_row
from uadbench.runner.suites.suite import Row
from uadbench.runner.suites.work import Work

IDLE_SECONDS = 0.5


def work(task: Work, ending: Event | None = None) -> int:
    """Works until no job of the suite is open, and returns how many jobs this worker finished.

    It waits while others run the last jobs, to take over if one of them dies.

    Args:
        task: The suite's table and folders.
        ending: Set by the handler of a signal that ends this worker. The exit raised by the handler may come
            out of a library as another error, and the interrupted job has not failed: it stays claimed and is taken
            over.

    Raises:
        UserError: If the job table cannot be used.
    """
    ending = ending or Event()
    torch.set_num_threads(task.threads)
    opened: dict[tuple[str, str], Store | UserError] = {}
    ended = 0
    table = JobTable(task.table)
    with table.worker_lock() as owner:
        while True:
            _leave_if(ending)  # a library may also have swallowed the exit
            claimed = table.claim(owner)
            if claimed is not None:
                ended += _run(claimed, owner, table, task, opened, ending)
            elif table.is_over():
                break
            elif not table.requeue_dead():
                time.sleep(IDLE_SECONDS)
    table.close()
    return ended


def _run(
    claimed: JobRow,
    owner: str,
    table: JobTable,
    task: Work,
    opened: dict[tuple[str, str], Store | UserError],
    ending: Event,
) -> bool:
    """Runs a claimed job and records its outcome in the table; a job in progress elsewhere is returned."""
    began = time.monotonic()
    row = Row.model_validate_json(claimed.definition)
    try:
        plan = open_row(row, no_progress, task.base, opened)
    except UserError as error:
        table.finish(claimed.id, owner, "skipped", str(error), 0.0)
        return True
    try:
        if plan.job.id != claimed.id:
            raise JobFailed(f"{row.data} has a different fingerprint here than where the suite was started.")
        table.start(claimed.id, owner)
        _execute(plan, task, export=row.fold == 0)
    except InProgress as error:
        table.release(claimed.id, owner, str(error))
        time.sleep(IDLE_SECONDS)
        return False
    except (JobFailed, UserError) as error:
        _leave_if(ending)
        table.finish(claimed.id, owner, "failed", str(error), time.monotonic() - began)
    except Exception as error:
        _leave_if(ending)
        # A bug in one method, or a full disk, must not stop the rest of the suite.
        _keep_traceback(task.root / claimed.id)
        text = " ".join(f"{type(error).__name__}: {error}".split())
        table.finish(claimed.id, owner, "failed", text, time.monotonic() - began)
    else:
        table.finish(claimed.id, owner, "done", "", time.monotonic() - began)
    return True


def _execute(plan: Plan, task: Work, *, export: bool) -> None:
    """Runs a job and exports its record; that of one fold is a part of a record that the suite makes in the end."""
    record, folder, _ = execute(
        plan, root=task.root, device=task.device, isolated=task.isolated, compiling=task.compiling
    )
    if export and is_result(plan.job.method.preset):
        export_record(record, folder, task.records)


def _leave_if(ending: Event) -> None:
    if ending.is_set():
        raise SystemExit(1)


def _keep_traceback(folder: Path) -> None:
    try:
        RunFolder(folder).write_text("error.txt", traceback.format_exc())
    except OSError:
        return  # the folder cannot be written, as the reason states
