"""How a run compares with stored results: the best trivial baseline, and its rank."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from uadbench.core.record import Record
from uadbench.records.read import Entry, read_entries
from uadbench.records.stored import stored_records
from uadbench.report.tables.patients import patient_bootstrap, patient_values
from uadbench.report.tables.tables import RANKING_KEY, TRIVIAL, is_ablation, tier_of


@dataclass(frozen=True)
class Standing:
    """A run's rank by case AP among the stored rows of the same question and tier, its own row included."""

    rank: int
    rows: int


def beside(record: Record, roots: Sequence[Path]) -> list[Record]:
    """Returns the stored records of the same question as a record: same data, protocol and preset.

    Args:
        record: The record.
        roots: Roots of runs and of exported records.
    """
    tested = record.test_on or record.dataset
    return [
        other
        for other in stored_records(roots, protocol=record.protocol.name, dataset=tested.name)
        if other.status == "done" and other.id != record.id and _question(other) == _question(record)
    ]


def standing(record: Record, others: Iterable[Record]) -> Standing | None:
    """Returns the rank of a run's row; None if its case AP is undefined or no other row is stored."""
    rows: dict[str, list[float]] = defaultdict(list)
    for other in (record, *others):
        metric = other.metrics.get(RANKING_KEY)
        counts = other.method.label == record.method.label or not is_ablation(other)
        if metric is not None and metric.value is not None and counts and tier_of(other) == tier_of(record):
            rows[other.method.label].append(metric.value)
    own = rows.get(record.method.label)
    if own is None or len(rows) < 2:
        return None
    means = {label: float(np.mean(values)) for label, values in rows.items()}
    return Standing(1 + sum(mean > means[record.method.label] for mean in means.values()), len(rows))


def best_trivial(baselines: Iterable[Record]) -> Record | None:
    """Returns the trivial baseline with the largest case AP."""
    known = [
        (metric.value, row.method.label, row)
        for row in baselines
        if row.method.name in TRIVIAL and (metric := row.metrics.get(RANKING_KEY)) and metric.value is not None
    ]
    return min(known, key=lambda item: (-item[0], item[1]))[2] if known else None


def against(folder: Path, record: Record, baseline: Record) -> str:
    """Returns in words how a run compares with the best trivial baseline, by case AP over the same patients.

    Args:
        folder: The run's folder.
        record: Its record.
        baseline: The stored baseline.
    """
    name = f"the best trivial, {baseline.method.label}"
    ours, theirs = _entry(folder), _entry(folder.parent / baseline.id)
    values = [None if entry is None else patient_values("ap", [entry]) for entry in (ours, theirs)]
    if values[0] is not None and values[1] is not None and values[0].index.equals(values[1].index):
        gap = values[0] - values[1]
        interval, mean = patient_bootstrap(gap), float(gap.mean())
        if interval.low is not None and interval.high is not None:
            told = f"AP {mean:+.3f} ({interval.low:+.3f} to {interval.high:+.3f})"
            verdict = "Better than" if interval.low > 0 else "Worse than" if interval.high < 0 else "Not above"
            return f"{verdict} {name}: {told}."
    ap, bar = record.metrics[RANKING_KEY].value, baseline.metrics[RANKING_KEY].value
    if ap is None or bar is None:
        return f"Not compared with {name}."
    return f"Case AP {ap - bar:+.3f} against {name}; not tested."


def _entry(folder: Path) -> Entry | None:
    entries = read_entries([folder])[0] if folder.is_dir() else []
    return entries[0] if entries else None


def _question(record: Record) -> tuple[str, ...]:
    parts = (record.protocol, record.dataset, record.test_on or record.dataset)
    return (record.method.preset, *(part.model_dump_json(exclude={"notes", "ranked"}) for part in parts))
