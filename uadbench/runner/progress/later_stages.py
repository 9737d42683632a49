"""How long prediction takes beside training, from stored runs of the same method."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from uadbench.core.record import Record
from uadbench.records.stored import stored_records
from uadbench.runner.planning.plan import Plan
from uadbench.runner.scoring.score_run import scored_parts

EXPORTED = Path("leaderboard/records")


def prediction_share(plan: Plan, roots: Iterable[Path]) -> float | None:
    """Returns the seconds of prediction for each second of training, as in a stored run.

    The ratio is used because it carries over to faster and slower machines.

    Args:
        plan: The run to come.
        roots: Roots of runs and of exported records; nothing is read behind the first run with the same settings and
            test data.

    Returns:
        The ratio in a run of the same method and preset, if possible with the same test data and settings; None
        without one.
    """
    found: tuple[tuple[bool, bool], Record] | None = None
    job = plan.job
    data = (job.test_on or job.dataset).name
    for record in stored_records(roots, method=job.method.name):
        same = (record.method.name, record.method.preset) == (job.method.name, job.method.preset)
        if not same or record.cost is None or not record.cost.train_s:
            continue
        near = ((record.test_on or record.dataset).name == data, record.method.label == job.method.label)
        if found is None or near > found[0]:
            found = near, record
        if all(near):
            break
    if found is None or (cost := found[1].cost) is None:
        return None
    images = sum(len(items) for _, items in scored_parts(plan.train, plan.test).values())
    return images * cost.predict_ms_per_image / 1000 / cost.train_s
