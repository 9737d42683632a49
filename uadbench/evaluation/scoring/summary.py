"""From the table of cases to metrics: means over patients and pooled curves, each with its interval."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from uadbench.core.record import Metric
from uadbench.core.seeding import derive_seed
from uadbench.evaluation.protocol.protocol import Protocol
from uadbench.evaluation.scoring.pooled import Pool
from uadbench.evaluation.statistics import intervals
from uadbench.evaluation.statistics.calibration import (
    calibration_error,
    conformal_p_values,
    false_alarm_error,
    lesion_probability,
)

OVERLAPS = ("dice", "iou", "precision", "recall")


def summarise(
    protocol: Protocol,
    table: pd.DataFrame,
    pool: Pool | None,
    calib: pd.DataFrame | None,
    synthetic: pd.DataFrame | None,
    seed: int,
) -> dict[str, Metric]:
    """Returns the metrics in the order in which a table shows them.

    Args:
        protocol: The rules.
        table: One row per test case.
        pool: Pixel histograms of the test cases; None skips metrics that need them.
        calib: Patient and image score of each calibration case; None skips metrics that need them.
        synthetic: The same with synthetic lesions.
        seed: Seed of the bootstrap.
    """
    build = _Builder(protocol, table, seed)
    head = protocol.headline
    build.mean("case_ap", "ap", rule=head if protocol.ap_scores == "thresholded" else "")
    for rule in protocol.threshold_rules:
        build.mean(f"dice@{rule.key}", f"dice@{rule.key}", rule=rule.key, ceiling=f"ceiling@{rule.key}")
    build.mean("aupro", "aupro")
    build.mean("pixel_auroc", "auroc")
    if pool is not None:
        build.pooled(pool)
    build.image("image_auroc", "image_score")
    build.image("image_ap", "image_score", ap=True)
    build.image("image_auroc_own", "own_score")
    if calib is not None and synthetic is not None:
        build.controls(calib)
        build.calibration(calib, synthetic)
    build.mean("healthy_fp_fraction", f"fpr@{head}", rule=head, higher=False, lesion=False)
    for name, unit in (("fp_area_mm2", "mm2"), ("fp_volume_mm3", "mm3")):
        if f"{name}@{head}" in table:
            build.mean(f"healthy_{name}@{head}", f"{name}@{head}", rule=head, higher=False, lesion=False, unit=unit)
    for name in OVERLAPS[1:]:
        build.mean(f"{name}@{head}", f"{name}@{head}", rule=head)
    build.pooled_dice(head)
    for name in ("lesion_f1", "lesion_sensitivity"):
        build.mean(f"{name}@{head}", f"{name}@{head}", rule=head)
    if f"hd95_mm@{head}" in table:
        for name in ("hd95_mm", "assd_mm"):
            build.mean(f"{name}@{head}", f"{name}@{head}", rule=head, higher=False, unit="mm")
        build.mean(f"nsd@{head}", f"nsd@{head}", rule=head)
    if "ssim_outside" in table:
        build.mean("ssim_outside", "ssim_outside", lesion=None)
        build.mean("l1_outside", "l1_outside", lesion=None, higher=False)
        # A healthy case has no lesion to exclude: the whole body is compared.
        build.mean("ssim_healthy", "ssim_outside", lesion=False)
        build.mean("l1_healthy", "l1_outside", lesion=False, higher=False)
    for rule in (rule.key for rule in protocol.threshold_rules if rule.key != head):
        for name in OVERLAPS[1:]:
            build.mean(f"{name}@{rule}", f"{name}@{rule}", rule=rule)
        build.mean(f"healthy_fp_fraction@{rule}", f"fpr@{rule}", rule=rule, higher=False, lesion=False)
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

    def pooled(self, pool: Pool) -> None:
        """Adds the areas of the curves over all pixels."""
        n, dense = len(pool.patients), pool.dense()
        self.add("pixel_auroc_pooled", pool.auroc, intervals.pooled_auroc(*dense), n, pool.smaller_class)
        self.add("pixel_ap_pooled", pool.ap, intervals.pooled_ap(*dense), n, pool.smaller_class)

    def image(self, key: str, column: str, *, ap: bool = False) -> None:
        """Adds AUROC or AP of a score over cases."""
        table = self._table
        self._image(key, list(table["patient"]), table[column].to_numpy(), table["lesion"].to_numpy(np.bool_), ap=ap)

    def controls(self, calib: pd.DataFrame) -> None:
        """Adds metrics of healthy cases: cohort shift, and false alarms against the stated rate."""
        healthy = self._table[~self._table["lesion"]]
        both = pd.concat([calib, healthy[["patient", "image_score"]]])
        of_test = np.arange(len(both)) >= len(calib)
        scores = both["image_score"].to_numpy(np.float64)
        self._image("healthy_cohort_auroc", list(both["patient"]), scores, of_test, higher_is_better=False)
        names, patient = _rows_of(list(healthy["patient"]))
        n = len(names)
        p_values = conformal_p_values(scores[~of_test], scores[of_test])
        statistic = false_alarm_error(p_values, patient, n)
        value = float(statistic(np.ones((1, n)))[0]) if n and len(calib) else None
        self.add("image_false_alarm_error", value, statistic, n, higher_is_better=False)

    def calibration(self, calib: pd.DataFrame, synthetic: pd.DataFrame) -> None:
        """Adds the calibration error of the image score as a probability fitted on synthetic lesions."""
        names, patient = _rows_of(list(self._table["patient"]))
        lesion = self._table["lesion"].to_numpy(np.bool_)
        value, statistic = None, intervals.weighted_mean(np.zeros(0))
        if len(calib) and len(synthetic) and lesion.any() and not lesion.all():
            healthy, foreign = (part["image_score"].to_numpy(np.float64) for part in (calib, synthetic))
            probability = lesion_probability(healthy, foreign, self._table["image_score"].to_numpy(np.float64))
            statistic = calibration_error(probability, lesion, patient, len(names))
            value = float(statistic(np.ones((1, len(names))))[0])
        classes = min(len(set(patient[lesion])), len(set(patient[~lesion])))
        self.add("image_ece", value, statistic, len(names), classes, higher_is_better=False, rule="synthetic")

    def pooled_dice(self, rule: str) -> None:
        """Adds Dice over all pixels of all cases, healthy ones included."""
        columns = (f"true_pixels@{rule}", f"predicted_pixels@{rule}", "lesion_pixels")
        # Cases with only a label have no pixels to count.
        table = self._table.dropna(subset=[columns[0]]) if columns[0] in self._table else self._table
        names, patient = _rows_of(list(table["patient"]))
        value, statistic = None, intervals.weighted_mean(np.zeros(0))
        if columns[0] in table and table["lesion"].any():
            true, predicted, lesion = (
                np.bincount(patient, table[name].to_numpy(np.float64), len(names)) for name in columns
            )

            def pooled(counts: NDArray[np.float64]) -> NDArray[np.float64]:
                with np.errstate(invalid="ignore"):
                    return 2 * (counts @ true) / (counts @ (predicted + lesion))

            statistic = pooled
            value = float(statistic(np.ones((1, len(names))))[0])
        self.add(f"dice_pooled@{rule}", value, statistic, len(names), rule=rule)

    def _image(
        self,
        key: str,
        patients: list[str],
        scores: NDArray[np.float64],
        positive: NDArray[np.bool_],
        *,
        ap: bool = False,
        **fields: Any,
    ) -> None:
        names, patient = _rows_of(patients)
        classes = min(len(set(patient[positive])), len(set(patient[~positive])))
        if ap:
            statistic = intervals.image_ap(scores, positive, patient)
        else:
            statistic = intervals.image_auroc(scores, positive, patient, len(names))
        # An external system may have no image score.
        known = classes and bool(np.isfinite(scores).all())
        value = float(statistic(np.ones((1, len(names))))[0]) if known else None
        self.add(key, value, statistic, len(names), classes, **fields)

    def _average(
        self, table: pd.DataFrame, column: str
    ) -> tuple[int, float | None, Callable[[NDArray[np.float64]], NDArray[np.float64]]]:
        names, means, sizes = intervals.patient_means(list(table[column]), list(table["patient"]))
        statistic = intervals.weighted_mean(means, sizes if self._protocol.average == "slice" else None)
        value = float(statistic(np.ones((1, len(names))))[0]) if names else None
        return len(names), value, statistic


def _rows_of(patients: list[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Returns the sorted patients, and for each case the index of its patient."""
    names = sorted(set(patients))
    row = {name: i for i, name in enumerate(names)}
    return names, np.array([row[name] for name in patients], np.int64)
