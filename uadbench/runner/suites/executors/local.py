"""Workers as processes on this machine: one per GPU if there are GPUs, otherwise the requested number on the CPU."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import replace
from multiprocessing import connection, get_context, parent_process
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

from uadbench.core.errors import JobFailed
from uadbench.runner.suites.work import Work, check_options

STOP_SECONDS = 20.0

# After this many deaths in a row without a living worker, workers cannot run here at all.
MAX_DEATHS = 12


class LocalExecutor:
    """N processes.

    Args:
        workers: Number of workers.
        gpus: GPUs to distribute them over; 0 for the CPU.
    """

    def __init__(self, workers: int, gpus: int) -> None:
        self.workers = workers
        self._gpus = gpus
        self._context = get_context("spawn")
        self._processes: dict[int, BaseProcess] = {}
        self._task: Work | None = None
        self._deaths = 0

    @classmethod
    def make(cls, workers: int | None, device: str, options: Mapping[str, Any]) -> LocalExecutor:
        """Returns an executor with one worker per GPU, or one on the CPU, unless specified otherwise.

        Raises:
            UnknownName: If an option is given: there are none.
        """
        check_options(options, ())
        gpus = 0
        if device != "cpu":
            import torch

            gpus = torch.cuda.device_count()
        return cls(workers or max(1, gpus), gpus)

    def start(self, task: Work, jobs: int) -> None:
        """Starts the processes; the cores are divided among them."""
        self.workers = min(self.workers, jobs)
        self._task = replace(task, threads=threads_each(self.workers))
        for number in range(self.workers):
            self._spawn(number, self._task)

    def tend(self) -> None:
        """Replaces processes that were killed.

        Raises:
            JobFailed: If they die again and again.
        """
        for number, process in list(self._processes.items()):
            if process.exitcode is None:
                continue
            del self._processes[number]
            if process.exitcode == 0 or self._task is None:
                continue
            self._deaths += 1
            if self._deaths >= MAX_DEATHS * self.workers:
                raise JobFailed(
                    f"{self._deaths} workers died (the last with exit code {process.exitcode}). Run one job alone with "
                    "uadbench run to see why; if memory is short, use fewer --workers."
                )
            self._spawn(number, self._task)

    def stop(self) -> None:
        """Asks the processes to end, and kills those that do not."""
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            process.join(STOP_SECONDS)
            if process.exitcode is None:
                process.kill()
                process.join()
        self._processes.clear()

    def _spawn(self, number: int, task: Work) -> None:
        gpu = str(number % self._gpus) if self._gpus else None
        process = self._context.Process(target=_worker_process, args=(task, gpu), name=f"uadbench-{number}")
        process.start()
        self._processes[number] = process


def threads_each(workers: int) -> int:
    """Returns the threads of each of several workers on this machine, no more than OMP_NUM_THREADS allows."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    limit = int(allowed) if allowed.isdigit() and int(allowed) > 0 else cores
    return max(1, min(limit, cores // workers))


def _worker_process(task: Work, gpu: str | None) -> None:
    """The main function of a worker process. It sets the environment before torch is imported, which reads it once."""
    os.environ["OMP_NUM_THREADS"] = str(task.threads)
    if gpu is not None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[int(gpu)] if visible else gpu
    # Ctrl-C reaches the whole process group: only the parent handles it and then ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ending = threading.Event()

    def leave(number: int, _frame: FrameType | None) -> None:
        """Ends the process like an exception: temporary files are removed and locks released."""
        ending.set()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # asked twice (by the group and by the parent), it ends once
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from uadbench.core.errors import UserError
    from uadbench.runner.suites.worker import work

    try:
        work(task, ending)
    except UserError as error:
        # The job table is not accessible: the parent gets the same error and reports it.
        sys.exit(f"uadbench: {error}")
    # It is already ending: another signal would only interrupt its cleanup.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _end_with_parent() -> None:
    """Ends this process if its parent dies for any reason, so that no worker is orphaned."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
