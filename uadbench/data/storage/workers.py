"""Parallel work with results in order and bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from uadbench.core.errors import JobFailed

Job = TypeVar("Job")
Result = TypeVar("Result")


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
        waiting: deque[Future[Result]] = deque()
        try:
            for job in jobs:
                waiting.append(pool.submit(function, job))
                if len(waiting) >= workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise JobFailed(
                f"One of {workers} workers was killed, most often for lack of memory. Repeat the command "
                "with fewer --workers; finished work is kept."
            ) from error
        finally:
            for future in waiting:
                future.cancel()
