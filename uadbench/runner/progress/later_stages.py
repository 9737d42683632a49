"""How long prediction takes beside training, from stored runs of the same method."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from uadbench.core.record import Record
from uadbench.runner.planning.plan import Plan
from uadbench.runner.scoring.score_run import scored_parts

EXPORTED = Path("leaderboard/records")


def prediction_share(plan: Plan, roots: Iterable[Path]) -> float | None:
    """Returns the seconds of prediction for each second of training, as in a stored run.

    The ratio is used because it carries over to faster and slower machines.

    Args:
        plan: The run to come.
        roots: Roots of runs and of exported records.

    Returns:
        The ratio in a run of the same method and preset, preferably with the same settings; None without one.
    """
    images = sum(len(items) for _, items in scored_parts(plan.train, plan.test).values())
    found: float | None = None
    for record in _records(plan, roots):
        cost = record.cost
        if cost is None or not cost.train_s or record.method.preset != plan.job.method.preset:
            continue
        found = images * cost.predict_ms_per_image / 1000 / cost.train_s
        if record.method.label == plan.job.method.label:
            break
    return found


def _records(plan: Plan, roots: Iterable[Path]) -> Iterator[Record]:
    """Yields the readable records of the method."""
    name = plan.job.method.name
    for root in roots:
        for file in sorted([*root.glob("*/record.json"), *root.glob(f"*/*/{name}/*.json")]):
            if "." in file.stem:
                continue  # a table of a record
            try:
                record = Record.model_validate_json(file.read_bytes())
            except (OSError, ValueError):
                continue  # the report lists unreadable files; here they are only skipped
            if record.method.name == name:
                yield record
