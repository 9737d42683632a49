"""From raw maps to metrics: per case first, then over patients, each number with its interval and rule."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from uadbench.core.errors import DataError
from uadbench.core.record import Metric
from uadbench.core.seeding import derive_seed
from uadbench.evaluation import intervals
from uadbench.evaluation.cases import CaseMaps, Cases, Slices, checked
from uadbench.evaluation.curves import PixelHistogram, auroc, average_precision
from uadbench.evaluation.distances import surface_scores
from uadbench.evaluation.lesions import lesion_scores
from uadbench.evaluation.pixels import Overlap, dice_ceiling, outside, ssim_map, top_mean
from uadbench.evaluation.pooled import Pool
from uadbench.evaluation.protocol import Protocol
from uadbench.evaluation.thresholds import (
    HealthyFPR,
    Oracle,
    Rule,
    Synthetic,
    Val,
    best_dice_threshold,
    healthy_fpr_thresholds,
)

INTENSITY_RANGE = 2.0  # images lie in [-1, 1]
SSIM_REACH = 5  # half width of the SSIM window
OVERLAPS = ("dice", "iou", "precision", "recall")


@dataclass(frozen=True)
class Evaluation:
    """All numbers of a row.

    Attributes:
        metrics: By the keys of the contract.
        cases: One row a test case.
        thresholds: By rule key; rules that could not be applied are absent.
        curves: JSON-able points of the pooled ROC and PR curves and of mean Dice against the threshold.
        threshold_labels: Labels that each applied rule consumed.
    """

    metrics: dict[str, Metric]
    cases: pd.DataFrame
    thresholds: dict[str, float]
    curves: dict[str, Any]
    threshold_labels: dict[str, str]


def score(
    protocol: Protocol,
    calib: Cases,
    test: Cases,
    *,
    seed: int = 0,
    synthetic: Cases | None = None,
    val: Cases | None = None,
) -> Evaluation:
    """Scores the test cases.

    Args:
        protocol: The rules.
        calib: Healthy calibration cases; may be empty, then ``healthy-fpr`` metrics are None.
        test: Test cases with masks. They are read twice, one at a time.
        seed: Seed of the bootstrap.
        synthetic: Calibration cases with synthetic lesions, for the rule of that name.
        val: Validation cases with masks, for the rule of that name.

    Raises:
        DataError: If there are no test cases, cases do not fit, or maps are not finite.
    """
    if not len(test):
        raise DataError("There are no test cases to score.", "Check the dataset's test role.")
    if protocol.average == "slice":
        test = Slices(test)
    pool = Pool()
    rows = [_first_row(protocol, case, pool) for case in checked(test, truth=True)]
    if len({row["case"] for row in rows}) < len(rows):
        raise DataError("Two test cases have the same name.", "Case identifiers must be unique.")
    profile = pool.dice_profile(by_patient=protocol.average == "patient")
    thresholds: dict[str, float] = {}
    rates = [rule for rule in protocol.threshold_rules if isinstance(rule, HealthyFPR)]
    if len(calib) and rates:
        values = healthy_fpr_thresholds(calib, [rule.rate for rule in rates])
        thresholds |= {rule.key: value for rule, value in zip(rates, values, strict=True)}
    for rule in protocol.threshold_rules:
        found = None
        if isinstance(rule, Oracle) and profile is not None:
            found = profile.best
        elif isinstance(rule, Synthetic) and synthetic is not None:
            found = best_dice_threshold(synthetic)
        elif isinstance(rule, Val) and val is not None:
            found = best_dice_threshold(val)
        if found is not None:
            thresholds[rule.key] = found
    applied = [rule for rule in protocol.threshold_rules if rule.key in thresholds]
    for row, case in zip(rows, checked(test, truth=True), strict=True):
        row.update(_second_row(protocol, case, applied, thresholds))
    table = pd.DataFrame(rows)
    metrics = _metrics(protocol, table, pool, seed)
    return Evaluation(
        metrics=metrics,
        cases=table,
        thresholds=thresholds,
        curves=pool.curves(profile),
        threshold_labels={rule.key: rule.labels_consumed for rule in applied},
    )


def _first_row(protocol: Protocol, case: CaseMaps, pool: Pool) -> dict[str, Any]:
    """Threshold-free numbers of a case; its histogram goes into the pool."""
    scored, lesion = case.scored, case.lesion
    values, truth = case.maps[scored], lesion[scored]
    histogram = PixelHistogram.of(values, truth)
    pool.add(case.patient, histogram)
    ap, area = average_precision(histogram), auroc(histogram)
    lost = 0 if case.mask is None else int(np.count_nonzero((case.mask == 1) & ~case.body))
    return {
        "case": case.case,
        "patient": case.patient,
        "kind": case.kind,
        "cohort": case.cohort,
        "lesion": bool(truth.any()),
        "pixels": int(values.size),
        "lesion_pixels": int(np.count_nonzero(truth)),
        "lesion_pixels_outside_body": lost,
        "ap": math.nan if ap is None else ap.value,
        "auroc": math.nan if ap is None or area is None else area.value,
        "image_score": top_mean(values, protocol.image_top_fraction),
        "own_score": float(case.own_score),
    }


def _second_row(
    protocol: Protocol, case: CaseMaps, rules: list[Rule], thresholds: dict[str, float]
) -> dict[str, float]:
    """Numbers of a case at each threshold, and distances and lesions at the headline rule."""
    scored, lesion = case.scored, case.lesion
    truth = lesion[scored]
    row: dict[str, float] = {}
    for rule in rules:
        overlap = Overlap.of(case.maps[scored] > thresholds[rule.key], truth)
        names = OVERLAPS if rule.key == protocol.headline else ("dice",)
        row |= {f"{name}@{rule.key}": getattr(overlap, name) for name in names}
        row[f"fpr@{rule.key}"] = overlap.fpr
        if isinstance(rule, HealthyFPR):
            row[f"ceiling@{rule.key}"] = dice_ceiling(int(truth.sum()), truth.size, rule.rate)
    head = protocol.headline
    if head in thresholds:
        prediction = scored & (case.maps > thresholds[head])
        if protocol.ap_scores == "thresholded" and truth.any():
            kept = np.where(prediction, case.maps, min(0.0, thresholds[head]))[scored].astype(np.float32)
            bounds = average_precision(PixelHistogram.of(kept, truth))
            row["ap"] = math.nan if bounds is None else bounds.value
        if truth.any():
            lesions = lesion_scores(prediction, lesion, overlap=protocol.lesion_overlap, full=_full(protocol))
            row[f"lesion_f1@{head}"] = lesions.f1
            row["lesions"] = lesions.lesions
            row[f"lesions_found@{head}"] = lesions.found
            if case.spacing is not None:
                surface = surface_scores(prediction, lesion, case.spacing, protocol.distance_tolerance_mm)
                row |= {f"hd95_mm@{head}": surface.hd95, f"nsd@{head}": surface.nsd}
    if case.image is not None and case.reconstruction is not None:
        area = outside(lesion, scored, SSIM_REACH)
        if area.any():
            similarity = ssim_map(case.image, case.reconstruction, INTENSITY_RANGE)
            row["ssim_outside"] = float(similarity[area].mean())
            row["l1_outside"] = float(np.abs(case.image - case.reconstruction)[area].mean(dtype=np.float64))
    return row


def _full(protocol: Protocol) -> bool:
    return protocol.connectivity == "full"


def _metrics(protocol: Protocol, table: pd.DataFrame, pool: Pool, seed: int) -> dict[str, Metric]:
    """Means over patients and pooled curves, with intervals, in the order in which a table shows them."""
    build = _Builder(protocol, table, seed)
    head = protocol.headline
    build.mean("case_ap", "ap", rule=head if protocol.ap_scores == "thresholded" else "")
    for rule in protocol.threshold_rules:
        build.mean(f"dice@{rule.key}", f"dice@{rule.key}", rule=rule.key, ceiling=f"ceiling@{rule.key}")
    build.mean("pixel_auroc", "auroc")
    pool_n = len(pool.patients)
    dense = pool.dense()
    build.add("pixel_auroc_pooled", pool.auroc, intervals.pooled_auroc(*dense), pool_n, pool.smaller_class)
    build.add("pixel_ap_pooled", pool.ap, intervals.pooled_ap(*dense), pool_n, pool.smaller_class)
    build.image("image_auroc", "image_score")
    build.image("image_ap", "image_score", ap=True)
    build.image("image_auroc_own", "own_score")
    build.mean("healthy_fp_fraction", f"fpr@{head}", rule=head, higher=False, lesion=False)
    for name in OVERLAPS[1:]:
        build.mean(f"{name}@{head}", f"{name}@{head}", rule=head)
    build.mean(f"lesion_f1@{head}", f"lesion_f1@{head}", rule=head)
    if f"hd95_mm@{head}" in table:
        build.mean(f"hd95_mm@{head}", f"hd95_mm@{head}", rule=head, higher=False, unit="mm")
        build.mean(f"nsd@{head}", f"nsd@{head}", rule=head)
    if "ssim_outside" in table:
        build.mean("ssim_outside", "ssim_outside", lesion=None)
        build.mean("l1_outside", "l1_outside", lesion=None, higher=False)
    return build.metrics


class _Builder:
    """Collects metrics of one table under one protocol."""

    def __init__(self, protocol: Protocol, table: pd.DataFrame, seed: int) -> None:
        self.metrics: dict[str, Metric] = {}
        self._protocol = protocol
        self._table = table
        self._seed = seed

    def add(
        self,
        key: str,
        value: float | None,
        statistic: intervals.Statistic,
        n: int,
        smaller_class: int | None = None,
        **fields: Any,
    ) -> None:
        """Adds a metric with the bootstrap interval of its statistic."""
        enough = smaller_class is None or smaller_class >= self._protocol.min_class_patients
        interval = intervals.Interval(None, None)
        if value is not None and enough:
            interval = intervals.patient_interval(
                statistic,
                n,
                resamples=self._protocol.bootstrap_resamples,
                confidence=self._protocol.confidence,
                seed=derive_seed("bootstrap", self._seed, key),
                minimum=self._protocol.min_patients,
            )
        self.metrics[key] = Metric(value=value, low=interval.low, high=interval.high, n_patients=n, **fields)

    def mean(
        self,
        key: str,
        column: str,
        *,
        rule: str = "",
        higher: bool = True,
        lesion: bool | None = True,
        unit: str = "1",
        ceiling: str = "",
    ) -> None:
        """Adds the mean of a column over lesion cases (True), healthy cases (False) or all (None)."""
        table = self._table if lesion is None else self._table[self._table["lesion"] == lesion]
        value, top, n = None, None, 0
        statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]] = intervals.weighted_mean(np.zeros(0))
        if column in table:
            n, value, statistic = self._average(table, column)
        if ceiling in table:
            top = self._average(table, ceiling)[1]
        self.add(key, value, statistic, n, unit=unit, higher_is_better=higher, rule=rule, ceiling=top)

    def image(self, key: str, column: str, *, ap: bool = False) -> None:
        """Adds AUROC or AP of a score over cases."""
        table = self._table
        names = sorted(set(table["patient"]))
        row = {name: i for i, name in enumerate(names)}
        patient = np.array([row[name] for name in table["patient"]], np.int64)
        positive = table["lesion"].to_numpy(np.bool_)
        scores = table[column].to_numpy(np.float64)
        classes = min(len(set(patient[positive])), len(set(patient[~positive])))
        if ap:
            statistic = intervals.image_ap(scores, positive, patient)
        else:
            statistic = intervals.image_auroc(scores, positive, patient, len(names))
        value = float(statistic(np.ones((1, len(names))))[0]) if classes else None
        self.add(key, value, statistic, len(names), classes)

    def _average(
        self, table: pd.DataFrame, column: str
    ) -> tuple[int, float | None, Callable[[NDArray[np.float64]], NDArray[np.float64]]]:
        names, means, sizes = intervals.patient_means(list(table[column]), list(table["patient"]))
        statistic = intervals.weighted_mean(means, sizes if self._protocol.average == "slice" else None)
        value = float(statistic(np.ones((1, len(names))))[0]) if names else None
        return len(names), value, statistic
