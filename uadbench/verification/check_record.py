"""Checks a record against its own tables, without maps, data or method.

Metrics and intervals over cases are recomputed from ``cases.csv``. Those over pixels, or over calibration images,
need the maps: of these only the bounds in ``curves.json`` are compared.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from uadbench.core.errors import UserError
from uadbench.core.job import EXTERNAL, Job
from uadbench.core.record import IMPORTED, Metric, Record
from uadbench.core.roles import Supervision
from uadbench.evaluation.protocol import headline
from uadbench.evaluation.protocol.protocol import Protocol, load_protocol
from uadbench.evaluation.protocol.thresholds import CHOSEN
from uadbench.evaluation.scoring.folds import fold_metrics
from uadbench.evaluation.scoring.gaps import oracle_gap
from uadbench.evaluation.scoring.summary import summarise
from uadbench.records.cases import NAMES, parse_cases
from uadbench.runner.scoring.score_run import GAP_BETWEEN
from uadbench.verification.claims import earlier_rules

FROM_MAPS = {
    "pixel_auroc_pooled",
    "pixel_ap_pooled",
    "healthy_cohort_auroc",
    "image_false_alarm_error",
    "image_ece",
}
"""Metrics that cannot be computed from the case table."""
NEEDED = {*NAMES, "lesion", "pixels", "lesion_pixels", "ap", "auroc", "image_score", "own_score", "aupro"}
# Names that could be a formula in a spreadsheet, markup on a page or a path are not allowed.
# Slices of a volume have their number after a slash.
_NAME = re.compile(r"\w[\w .,:()+-]{0,199}(/\d{1,6})?")


def compare_metrics(ours: Mapping[str, Metric], theirs: Mapping[str, Metric], source: str) -> list[str]:
    """Returns one line for each differing field of a metric; metrics on only one side are skipped.

    Args:
        ours: As computed here.
        theirs: As in the record.
        source: Source of ours, for the message.
    """
    problems: list[str] = []
    for key in sorted(ours.keys() & theirs.keys()):
        mine, other = ours[key].model_dump(), theirs[key].model_dump()
        wrong = [name for name, value in mine.items() if not _close(value, other[name])]
        problems += [f"record.json: metric {key} has {name} {other[name]}, the {source} {mine[name]}" for name in wrong]
    return problems


def recompute_from_tables(record: Record, beside: Callable[[str], Path]) -> list[str]:
    """Compares a record of a finished run with the job hashed into its id, its protocol, and its tables.

    Args:
        record: The record.
        beside: Path of each table by name; the tables have the hashes in the record.

    Returns:
        One line per problem.
    """
    problems = _compare_id(record)
    try:
        rules = load_protocol(record.protocol.name)
    except UserError as error:
        return [*problems, f"record.json: {error.message}"]
    if earlier_rules(record.protocol):
        return problems  # metrics under rules that no longer exist cannot be recomputed
    if (rules.hash, rules.version) != (record.protocol.hash, record.protocol.version):
        return [*problems, f"record.json: protocol {rules.name} has other rules than the file of that name"]
    try:
        table = read_cases(beside("cases.csv"))
        if record.folds:
            ours = fold_metrics(rules, table, record.seed)
        else:
            ours = summarise(rules, table, None, None, None, record.seed)
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, pd.errors.ParserError) as error:
        return [*problems, f"cases.csv: it is not a table of cases ({_short(error)})"]
    problems += compare_metrics(ours, record.metrics, "cases give")
    if missing := sorted(ours.keys() - record.metrics.keys()):
        problems.append(f"record.json: missing metrics: {', '.join(missing)}")
    from_maps = set[str]() if record.folds else FROM_MAPS
    if made_up := sorted(record.metrics.keys() - ours.keys() - from_maps):
        problems.append(f"record.json: metrics that {rules.name} does not have: {', '.join(made_up)[:200]}")
    problems += _compare_pooled(record, beside("curves.json"))
    if "gaps.json" in record.hashes:
        problems += _compare_gap(record, table, beside("gaps.json"))
    if "thresholds.json" in record.hashes:
        problems += _compare_thresholds(rules, table, beside("thresholds.json"))
    return problems + _compare_ledger(record, rules, table)


def read_cases(file: Path) -> pd.DataFrame:
    """Reads an untrusted case table.

    Raises:
        ValueError: If columns are missing or too many, or a name is not allowed.
        OSError: If it cannot be read.
    """
    table = parse_cases(file.read_bytes(), NEEDED)
    for column in NAMES:
        for name in table[column].unique():
            if not _NAME.fullmatch(name) and (name or column in ("case", "patient")):
                raise ValueError(f"{column} {name[:60]!r} is not a name")
    return table


def _compare_id(record: Record) -> list[str]:
    """Recomputes the id from the record, which contains the whole job except the requested precision."""
    parts = {name: getattr(record, name) for name in ("method", "dataset", "test_on", "protocol", "seed")}
    if record.id not in {Job(**parts, precision=asked).id for asked in ("auto", "fp32", "bf16")}:
        return ["record.json: its id is not that of its method, data, protocol and seed"]
    return []


def _compare_pooled(record: Record, curves: Path) -> list[str]:
    try:
        content = json.loads(curves.read_bytes())
        bounds = {key: (float(low), float(high)) for key, (low, high) in content.get("bounds", {}).items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return ["curves.json: it contains no curves"]
    problems: list[str] = []
    for key in ("pixel_auroc_pooled", "pixel_ap_pooled"):
        value = record.metrics[key].value if key in record.metrics else None
        low, high = bounds.get(key, (np.nan, np.nan))
        if value is not None and not low - 1e-9 <= value <= high + 1e-9:
            problems.append(f"record.json: metric {key} is {value}, the curves give {low} to {high}")
    return problems


def _compare_gap(record: Record, table: pd.DataFrame, gaps: Path) -> list[str]:
    ours = oracle_gap(table, headline.RULE, load_protocol(GAP_BETWEEN[0]), record.seed)
    try:
        theirs = json.loads(gaps.read_bytes())["oracle_gap"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return ["gaps.json: it contains no gaps"]
    if ours is None or not isinstance(theirs, dict):
        same = ours is None and theirs is None
    else:
        same = ours.keys() == theirs.keys() and all(_close(value, theirs[key]) for key, value in ours.items())
    if same:
        return []
    return ["gaps.json: its oracle gap differs from that of the cases"]


def _compare_thresholds(rules: Protocol, table: pd.DataFrame, thresholds: Path) -> list[str]:
    """Compares only the rules: their thresholds can be recomputed only from the maps."""
    try:
        content = json.loads(thresholds.read_bytes())
        values = {str(rule): float(value) for rule, value in content["values"].items()}
        headline = content["headline"]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return ["thresholds.json: it contains no thresholds"]
    if headline != rules.headline or values.keys() != _applied(rules, table).keys():
        return ["thresholds.json: its rules are not those in cases.csv"]
    return [] if np.isfinite(list(values.values())).all() else ["thresholds.json: a threshold is not finite"]


def _applied(rules: Protocol, table: pd.DataFrame) -> dict[str, str]:
    """Returns the rules that have columns in a table, each with the labels that it uses."""
    return {rule.key: rule.labels_consumed for rule in rules.threshold_rules if f"dice@{rule.key}" in table}


def _compare_ledger(record: Record, rules: Protocol, table: pd.DataFrame) -> list[str]:
    ledger, supervision = record.ledger, record.method.supervision
    problems: list[str] = []
    wanted, told = _applied(rules, table), ledger.threshold_labels
    # Lesion-free slices of patients with lesions calibrate some of somebody's own images; a phantom has none of these.
    chosen = {rule for rule in told.keys() & wanted.keys() if wanted[rule] == "none" and CHOSEN.fullmatch(told[rule])}
    if record.dataset.source == "phantom":
        chosen = set[str]()
    if told != wanted | {rule: told[rule] for rule in chosen}:
        problems.append("record.json: ledger.threshold_labels differs from the labels used by the rules in cases.csv")
    if supervision not in {kind.value for kind in Supervision}:
        problems.append(f"record.json: there is no supervision {supervision[:40]!r}")
    elif record.method.preset != EXTERNAL:
        # Masks that selected the healthy slices of a user's images count as well; phantoms have none.
        used, supervised = ledger.train_pixel_labels > 0, supervision == Supervision.MASKS
        if used < supervised or (used > supervised and record.dataset.source == "phantom"):
            problems.append(f"record.json: ledger.train_pixel_labels contradicts supervision {supervision}")
        # The training data of imported weights are unknown, so no labels are claimed.
        learns = supervision != Supervision.NONE and ledger.checkpoint_rule != IMPORTED
        if (ledger.train_image_labels > 0) != learns:
            problems.append(f"record.json: ledger.train_image_labels contradicts supervision {supervision}")
    return problems


def _close(ours: object, theirs: object) -> bool:
    if isinstance(ours, float) and isinstance(theirs, float):
        return bool(np.isclose(ours, theirs, rtol=1e-6, atol=1e-9))
    return ours == theirs


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
