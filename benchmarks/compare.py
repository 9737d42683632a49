"""Compares ratios to other libraries or to as published, never times: ratios carry over between machines and loads.

``python -m benchmarks.compare BEFORE.json AFTER.json`` compares two stored results of ``make bench`` and exits with 1
if a ratio fell by more than 10 %. ``python -m benchmarks.compare --committed`` measures the works of
benchmarks/committed_ratios.json (pooled metrics, distances, noise; half a minute) and compares: on idle cores a ratio
that fell by more than half exits with 1; on shared cores it is shown, said to be so, and never a failure. ``--store``
measures and writes that file, with whether the cores were shared.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

COMMITTED = Path("benchmarks/committed_ratios.json")
TOLERANCE = 0.10
ACROSS_MACHINES = 0.5
"""A committed ratio comes from another machine: only a fall by half says something about the code."""
ROUNDS = 3

Works = dict[str, Callable[[], tuple[Callable[[], object], Callable[[], object]]]]
"""By name, what makes the baseline and the product."""


def regressions(before: dict[str, float], after: dict[str, float], tolerance: float = TOLERANCE) -> list[str]:
    """Returns the works whose ratio fell by more than the tolerance."""
    return [work for work, ratio in after.items() if work in before and ratio < before[work] * (1 - tolerance)]


def works() -> Works:
    """Returns what is measured: works with a large measured lead, that take seconds."""
    return {
        "AUROC, AP, best Dice of 2e6 pixels (scikit-learn)": _curves,
        "HD95, ASSD, NSD of a 160 x 192 x 160 pair (surface-distance)": _distances,
        "synomaly noise, batch 16, 128 px (as published)": _noise,
    }


def _curves() -> tuple[Callable[[], object], Callable[[], object]]:
    import numpy as np

    from benchmarks.test_curves import scikit_learn
    from uadbench.evaluation.metrics.streaming import pixel_curves

    rng = np.random.default_rng(0)
    truth = rng.random(2_000_000) < 0.01
    values = np.abs(rng.normal(np.where(truth, 0.3, 0.0), 0.1)).astype(np.float32)
    parts = [(part, kind) for part, kind in zip(np.split(values, 4), np.split(truth, 4), strict=True)]
    return lambda: scikit_learn(values, truth), lambda: pixel_curves(lambda: parts)


def _distances() -> tuple[Callable[[], object], Callable[[], object]]:
    from benchmarks.test_curves import blobs
    from uadbench.evaluation.metrics.distances import surface_scores

    module: Any = importlib.import_module("surface_distance")
    first, second = blobs()
    return (
        lambda: module.compute_surface_distances(first, second, (1.0, 1.0, 1.0)),
        lambda: surface_scores(first, second, (1.0, 1.0, 1.0), 1.0),
    )


def _noise() -> tuple[Callable[[], object], Callable[[], object]]:
    from benchmarks.pairs import synomaly_noise

    pair = synomaly_noise(128)
    return pair.published, pair.product


def measure(chosen: Works, rounds: int = ROUNDS) -> dict[str, float]:
    """Returns the ratio of processor times of each work: baseline and product take turns, and the medians count.

    Other work on the same cores lengthens processor time less than time by the clock.
    """
    found: dict[str, float] = {}
    for work, make in chosen.items():
        baseline, product = make()
        times = [(_busy(baseline), _busy(product)) for _ in range(rounds + 1)][1:]  # the first warms up
        theirs, ours = (statistics.median(column) for column in zip(*times, strict=True))
        found[work] = theirs / max(ours, 1e-9)
    return found


def _busy(call: Callable[[], object]) -> float:
    before = time.process_time()
    call()
    return time.process_time() - before


def is_busy() -> bool:
    """Whether other work shares the cores."""
    return os.getloadavg()[0] > 0.5 * (os.cpu_count() or 1)


def show(before: dict[str, float], after: dict[str, float], slower: list[str]) -> None:
    """Prints every work with both ratios."""
    for work, ratio in after.items():
        mark = "  SLOWER" if work in slower else ""
        print(f"{work:<62} {before.get(work, float('nan')):>7.2f} x -> {ratio:>7.2f} x{mark}")


def against_committed(file: Path, chosen: Works) -> int:
    """Measures, compares and returns the exit status."""
    busy = is_busy()
    content: dict[str, Any] = json.loads(file.read_text())
    before: dict[str, float] = content["ratios"]
    after = measure(chosen)
    slower = regressions(before, after, ACROSS_MACHINES)
    show(before, after, slower)
    if content["shared_cores"]:
        print("The committed ratios were measured on shared cores: run --store on idle ones.")
    if busy or is_busy():
        print("The cores are shared with other work: ratios are shown and fail nothing.")
        return 0
    return 1 if slower else 0


def store(file: Path, chosen: Works) -> int:
    """Measures and writes the committed file; it says whether the cores were shared."""
    from benchmarks.support.ratios import machine

    busy = is_busy()
    ratios = measure(chosen)
    shared = busy or is_busy()
    content: dict[str, Any] = {"machine": machine(), "shared_cores": shared, "ratios": ratios}
    file.write_text(json.dumps(content, indent=1) + "\n")
    show({}, ratios, [])
    if shared:
        print("The cores are shared with other work: measure again on idle ones.")
    return 0


def main() -> int:
    """Compares as asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="JSON", help="two results of make bench")
    parser.add_argument("--committed", action="store_true", help="measure, and compare with the committed ratios")
    parser.add_argument("--store", action="store_true", help="measure, and write the committed ratios")
    options = parser.parse_args()
    if options.committed or options.store:
        from uadbench.runner.execution.allocator import keep_memory

        keep_memory()
        return (store if options.store else against_committed)(COMMITTED, works())
    if len(options.files) != 2:
        parser.error("name two files, or --committed, or --store")
    stored = [json.loads(file.read_text()) for file in options.files]
    before, after = ({row["work"]: float(row["ratio"]) for row in part["rows"]} for part in stored)
    slower = regressions(before, after)
    show(before, after, slower)
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
