"""Converts records to ranked tables. Rows of different questions never share a table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

import numpy as np
import pandas as pd

from uadbench.core.config import is_result
from uadbench.core.errors import UserError
from uadbench.core.record import Metric, ProtocolPart, Record, stable_hash
from uadbench.evaluation.protocol.protocol import load_protocol
from uadbench.evaluation.statistics.intervals import Interval
from uadbench.records.layout import LEVELS
from uadbench.records.one_phantom import one_phantom_per_version
from uadbench.records.read import Entry, Refusal, plain
from uadbench.records.seeds import repeated_training
from uadbench.report.tables.model import Arena, Leaderboard, Number, Refused, Row, Table, Versus
from uadbench.report.tables.patients import MIN_PATIENTS, patient_bootstrap, patient_values

RANKING_KEY = "case_ap"
TRIVIAL = ("intensity", "equalized", "position", "mean_residual", "random")
MIN_SEEDS = 3
FLAG_PATIENTS = 20
ABLATION = "settings were changed by hand (an ablation)"
# Settings that define separate methods; any other changed setting is an ablation, which is not ranked: otherwise
# twenty settings tried on the test set could take the first twenty ranks.
OWN_ROWS = {"ddpm": {"noise"}}
ALLOWED = {"pretrained", "tuned"}
TIERS = ("unsupervised", "lesion labels for tuning", "lesion masks for training")

# Metrics whose interval is over the patients' means over seeds, with their columns; "dice@..." is one as well.
COLUMNS = {RANKING_KEY: "ap", "pixel_auroc": "auroc", "aupro": "aupro"}

Item = TypeVar("Item")
_Pair = tuple["pd.Series[float] | None", "pd.Series[float] | None"]


def make_leaderboard(entries: Sequence[Entry], refusals: Sequence[Refusal]) -> Leaderboard:
    """Groups, aggregates and ranks records; the result does not depend on their order."""
    entries, others = one_phantom_per_version(entries)
    arenas = [_arena(group) for _, group in _grouped(entries, _arena_key)]
    arenas.sort(
        key=lambda arena: (arena.tested.name, arena.tested.source, arena.protocol.name, arena.preset, arena.key)
    )
    refused = [Refused(file=item.file, reason=item.reason) for item in (*refusals, *others)]
    return Leaderboard(arenas=arenas, refused=sorted(refused, key=lambda item: (item.file, item.reason)))


def tier_of(record: Record) -> str:
    """Returns the tier of supervision according to the ledger."""
    ledger = record.ledger
    # A failed job has no ledger, but its method declares its supervision.
    if ledger.train_pixel_labels > 0 or record.method.supervision == "masks":
        return TIERS[2]
    label_free = ledger.tuning_labels in ("", "none", "synthetic") and not ledger.checkpoint_rule.startswith("val")
    return TIERS[0] if label_free else TIERS[1]


def _arena_key(entry: Entry) -> str:
    record = entry.record
    data = [part.model_dump(exclude={"notes", "ranked"}) for part in (entry.tested, record.dataset)]
    return stable_hash([record.protocol.model_dump(), data, record.method.preset], 12)


def _arena(entries: list[Entry]) -> Arena:
    first = entries[0]
    groups = [group for _, group in _grouped(entries, _row_key)]
    bar = _best_trivial(groups)
    tables: dict[str, list[Row]] = defaultdict(list)
    for group in groups:
        tables[tier_of(group[0].record)].append(_row(group, bar))
    return Arena(
        key=_arena_key(first),
        protocol=first.record.protocol,
        tested=first.tested,
        trained=first.record.dataset,
        preset=plain(first.record.method.preset, 40),
        tables=[Table(tier=tier, rows=_ranked(tables[tier])) for tier in TIERS if tier in tables],
    )


def _row_key(entry: Entry) -> str:
    method = entry.record.method
    return stable_hash([method.model_dump(), tier_of(entry.record)])


def _row(group: list[Entry], bar: list[Entry]) -> Row:
    record = group[0].record
    done = [entry for entry in group if entry.record.status == "done"]
    keys = [key for key in done[0].record.metrics if all(key in e.record.metrics for e in done)] if done else []
    metrics = {plain(key, 80): _number(key, done) for key in keys}
    trivial = record.method.name in TRIVIAL
    levels = {entry.verification for entry in group}
    pair = patient_values("ap", done), patient_values("ap", bar)
    costs = [entry.record.cost for entry in done if entry.record.cost is not None]
    return Row(
        rank=None,
        unranked_because=_obstacle(group, metrics.get(RANKING_KEY), other_patients=_differ(pair)),
        method=record.method.name,
        label=plain(record.method.label),
        version=plain(record.method.version, 40),
        supervision=plain(record.method.supervision, 40),
        trivial=trivial,
        seeds=sorted(entry.record.seed for entry in done),
        records=sorted(entry.record.id for entry in group),
        verification=min(levels, key=LEVELS.index),
        metrics=metrics,
        versus_trivial=None if trivial or not done or not bar else _versus(done, bar, pair),
        remarks=_remarks(group, metrics.get(RANKING_KEY)),
        train_s=_mean([cost.train_s for cost in costs]),
        predict_ms_per_image=_mean([cost.predict_ms_per_image for cost in costs]),
        peak_gb=max((cost.peak_gb for cost in costs), default=None),
        parameters=max((cost.parameters for cost in costs), default=None),
    )


def without_ablations(arena: Arena) -> Arena:
    """Returns a question without ablations, which are on the pages of their methods."""
    tables = (
        table.model_copy(update={"rows": [row for row in table.rows if row.unranked_because != ABLATION]})
        for table in arena.tables
    )
    return arena.model_copy(update={"tables": [table for table in tables if table.rows]})


def _obstacle(group: list[Entry], key: Number | None, *, other_patients: bool) -> str:
    """Returns why a row may not be ranked, "" if it may."""
    record = group[0].record
    seeds = [entry.record.seed for entry in group]
    bad = sorted((e.record.seed, e.record.status, e.record.reason) for e in group if e.record.status != "done")
    patients = 0 if key is None or key.value is None else key.n_patients
    superseded = next((entry.superseded for entry in group if entry.superseded), "")
    repeated = repeated_training([entry.record for entry in group if entry.record.status == "done"])
    obstacles = {
        "".join(f"seed {seed} {status}: {plain(why, 120)}" for seed, status, why in bad[:1]): bool(bad),
        plain(superseded): bool(superseded),
        "its test patients are not those of the best trivial baseline": other_patients,
        "a seed occurs twice": len(set(seeds)) < len(seeds),
        repeated: bool(repeated),
        "these data are never ranked": not all(entry.tested.ranked for entry in group),
        "preset smoke is never ranked": not is_result(record.method.preset),
        "this protocol is for comparison with published numbers": _flagged(record.protocol),
        "its published values were chosen on lesions of this cohort": record.ledger.published_seen,
        ABLATION: bool(_changed(record)),
        f"{len(seeds)} of {MIN_SEEDS} seeds": len(seeds) < MIN_SEEDS,
        f"{RANKING_KEY} is undefined": key is None or key.value is None,
        f"too few patients ({patients})": patients < MIN_PATIENTS,
    }
    return next((reason for reason, applies in obstacles.items() if applies), "")


def is_ablation(record: Record) -> bool:
    """Whether settings were changed by hand, so that the row is not ranked."""
    return bool(_changed(record))


def _changed(record: Record) -> set[str]:
    """Returns the settings in a row's label that make it an ablation."""
    _, _, settings = record.method.label.partition("[")
    keys = {part.partition("=")[0].strip() for part in settings.rstrip("]").split(",")} if settings else set[str]()
    return keys - ALLOWED - OWN_ROWS.get(record.method.name, set[str]())


def _flagged(part: ProtocolPart) -> bool:
    try:
        rules = load_protocol(part.name)
    except UserError:
        return False
    return rules.flagged


def _remarks(group: list[Entry], key: Number | None) -> list[str]:
    record = group[0].record
    remarks: list[str] = []
    if kept := next((entry.kept for entry in group if entry.kept), ""):
        remarks.append(plain(kept, 160))
    if record.ledger.polarity_prior:
        remarks.append(f"polarity prior: {'bright' if record.ledger.polarity_prior > 0 else 'dark'} lesions")
    if record.ledger.published:
        remarks.append(plain(f"values {record.ledger.published}", 160))
    if record.ledger.organ_masks_at_test:
        remarks.append("needs organ masks at test")
    if key is not None and MIN_PATIENTS <= key.n_patients < FLAG_PATIENTS:
        remarks.append(f"{key.n_patients} patients: intervals may be too narrow")
    if all(entry.isolated == "namespace" for entry in group):
        remarks.append("rerun in isolation")
    if any(entry.record.env.dirty for entry in group):
        remarks.append("run from uncommitted code")
    return remarks


def _number(key: str, entries: list[Entry]) -> Number:
    metrics: list[Metric] = [entry.record.metrics[key] for entry in entries]
    values = [metric.value for metric in metrics if metric.value is not None]
    complete = len(values) == len(metrics)
    interval = _patient_interval(key, entries) if complete else Interval(None, None)
    if complete and interval.low is None:  # no case tables, or another metric: the mean limits of the seeds' intervals
        interval = Interval(_mean([m.low for m in metrics]), _mean([m.high for m in metrics]))
    first = metrics[0]
    return Number(
        value=_mean(values) if complete else None,
        low=interval.low,
        high=interval.high,
        seed_spread=round(max(values) - min(values), 6) if complete and len(values) > 1 else None,
        ceiling=_mean([metric.ceiling for metric in metrics]),
        n_patients=min(metric.n_patients for metric in metrics),
        unit=plain(first.unit, 20),
        higher_is_better=first.higher_is_better,
        rule=plain(first.rule, 60),
    )


def _patient_interval(key: str, entries: list[Entry]) -> Interval:
    """Returns the interval of the patients' means over seeds, for the metrics that the tables show."""
    column = COLUMNS.get(key, key if key.startswith("dice@") else None)
    values = None if column is None else patient_values(column, entries)
    return Interval(None, None) if values is None else patient_bootstrap(values)


def _best_trivial(groups: list[list[Entry]]) -> list[Entry]:
    """Returns the records of the trivial baseline with the largest case AP; even with fewer than three seeds.

    Baselines with settings changed by hand do not count: they are ablations, and would move the marks of other rows.
    """
    best: tuple[float, str, list[Entry]] | None = None
    for group in groups:
        done = [entry for entry in group if entry.record.status == "done"]
        if group[0].record.method.name not in TRIVIAL or is_ablation(group[0].record) or not done:
            continue
        value = _mean([e.record.metrics[RANKING_KEY].value for e in done if RANKING_KEY in e.record.metrics])
        label = group[0].record.method.label
        if value is not None and (best is None or (-value, label) < (-best[0], best[1])):
            best = (value, label, done)
    return best[2] if best else []


def _differ(pair: _Pair) -> bool:
    """Whether two rows are known to have been tested on different patients."""
    return pair[0] is not None and pair[1] is not None and not pair[0].index.equals(pair[1].index)


def _versus(row: list[Entry], bar: list[Entry], pair: _Pair) -> Versus | None:
    label = plain(bar[0].record.method.label)
    if _differ(pair):
        return None
    ours, theirs = pair
    if ours is not None and theirs is not None:
        gap = ours - theirs
        interval = patient_bootstrap(gap)
        beats = float(gap.mean()) > 0 if interval.low is None else interval.low > 0
        return Versus(
            baseline=label,
            difference=round(float(gap.mean()), 6),
            low=interval.low,
            high=interval.high,
            beats=None if beats and interval.low is None else beats,
        )
    means = [
        _mean([e.record.metrics[RANKING_KEY].value for e in side if RANKING_KEY in e.record.metrics])
        for side in (row, bar)
    ]
    if means[0] is None or means[1] is None:
        return None
    difference = round(means[0] - means[1], 6)
    return Versus(baseline=label, difference=difference, beats=None if difference > 0 else False)


def _ranked(rows: list[Row]) -> list[Row]:
    """Ranks rows by the ranking key; equal values share a rank. Unranked rows follow."""

    def value(row: Row) -> float:
        number = row.metrics.get(RANKING_KEY)
        return -np.inf if number is None or number.value is None else number.value

    rows = sorted(rows, key=lambda row: (bool(row.unranked_because), -value(row), row.label, row.records))
    better = [sum(value(other) > value(row) for other in rows if not other.unranked_because) for row in rows]
    return [
        row if row.unranked_because else row.model_copy(update={"rank": 1 + count})
        for row, count in zip(rows, better, strict=True)
    ]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(float(np.mean(known)), 6) if known and len(known) == len(values) else None


def _grouped(items: Iterable[Item], key: Callable[[Item], Hashable]) -> list[tuple[Hashable, list[Item]]]:
    groups: dict[Hashable, list[Item]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return list(groups.items())
