"""Ratios in one run: baseline and product alternate, and all ratios end in one table with a line on the machine."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.support.ratios import ROWS, machine
from uadbench.runner.execution.allocator import keep_memory

RESULTS = Path(".benchmarks/ratios.json")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS] = []


@pytest.fixture(autouse=True, scope="session")
def memory() -> None:
    """The process keeps freed memory, as in runs."""
    keep_memory()


@pytest.fixture(autouse=True)
def threads() -> Generator[None]:
    """Gives each benchmark the threads of the first: a worker in this process takes one and keeps it."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def versus(benchmark: Any, request: pytest.FixtureRequest) -> Callable[..., float]:
    """Times ``baseline`` and ``product`` in turns and notes the ratio of their medians."""

    def measure(
        work: str, baseline: Callable[[], object], product: Callable[[], object], *, rounds: int = 5, **notes: Any
    ) -> float:
        theirs, busy, their_busy = list[float](), list[float](), list[float]()

        def before() -> None:
            start, used = time.perf_counter(), time.process_time()
            baseline()
            theirs.append(time.perf_counter() - start)
            their_busy.append(time.process_time() - used)

        def timed() -> None:
            used = time.process_time()
            product()
            busy.append(time.process_time() - used)

        product()  # warm-up of both: allocator, kernels, caches
        baseline()
        benchmark.pedantic(timed, setup=before, rounds=rounds, iterations=1)
        ours, published = float(benchmark.stats.stats.median), statistics.median(theirs)
        row = {"work": work, "baseline_s": published, "product_s": ours, "ratio": published / ours, **notes}
        # Where other work shares the cores, the ratio of processor times says more than that of the clock.
        row["cpu_ratio"] = f"{statistics.median(their_busy) / max(statistics.median(busy), 1e-9):.2f}"
        benchmark.extra_info.update(row)
        request.config.stash[ROWS].append(row)
        return published / ours

    return measure


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    rows = config.stash[ROWS]
    if not rows:
        return
    line = machine()
    terminalreporter.section(f"ratios on {line}")
    for row in rows:
        notes = ", ".join(f"{key} {value}" for key, value in list(row.items())[4:])
        terminalreporter.write_line(
            f"{row['work']:<58} {1000 * row['baseline_s']:>10.2f} ms {1000 * row['product_s']:>10.2f} ms "
            f"{row['ratio']:>6.2f} x  {notes}"
        )
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"machine": line, "rows": rows}, indent=1))
