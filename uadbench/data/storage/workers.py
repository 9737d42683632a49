"""Parallel work with results in order and bounded memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextvars import copy_context
from functools import partial
from multiprocessing import get_context
from typing import TypeVar

from uadbench.core.errors import JobFailed

Job = TypeVar("Job")
Result = TypeVar("Result")

MOST_THREADS = 4
"""A simulated volume takes about half a gigabyte while it is made."""


def in_order(function: Callable[[Job], Result], jobs: Iterable[Job], workers: int) -> Iterator[Result]:
    """Yields ``function(job)`` in the order of the jobs, with at most one waiting result per worker.

    Args:
        function: A module-level function.
        jobs: Its arguments.
        workers: Processes; 1 runs in this process.

    Raises:
        JobFailed: If the system ends a worker, as it does when memory runs out; and whatever the function raises.
    """
    if workers <= 1:
        yield from map(function, jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        try:
            yield from _results(partial(pool.submit, function), jobs, workers)
        except BrokenProcessPool as error:
            raise JobFailed(
                f"One of {workers} workers was killed, most often for lack of memory. Repeat the command "
                "with fewer --workers; finished work is kept."
            ) from error


def in_threads(function: Callable[[Job], Result], jobs: Iterable[Job]) -> Iterator[Result]:
    """Yields ``function(job)`` in the order of the jobs, computed in threads of this process.

    Pays where NumPy and SciPy work on large arrays, during which other threads run; needs no import in a child process,
    which would run a caller's script again. Calls see the caller's context variables.

    Args:
        function: A function of its argument alone.
        jobs: Its arguments.

    Raises:
        Exception: Whatever the function raises.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(cores, MOST_THREADS)
    if workers == 1:
        yield from map(function, jobs)
        return
    with ThreadPoolExecutor(workers) as pool:
        yield from _results(lambda job: pool.submit(copy_context().run, function, job), jobs, workers)


def _results(submit: Callable[[Job], Future[Result]], jobs: Iterable[Job], workers: int) -> Iterator[Result]:
    waiting: deque[Future[Result]] = deque()
    try:
        for job in jobs:
            waiting.append(submit(job))
            if len(waiting) >= workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
