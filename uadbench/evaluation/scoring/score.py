"""From raw maps to metrics: per case, then over patients, each with its interval and rule."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from uadbench.core.errors import DataError
from uadbench.core.record import Metric
from uadbench.evaluation.cases import CaseMaps, Cases, Slices, checked
from uadbench.evaluation.metrics.curves import PixelHistogram, auroc, average_precision
from uadbench.evaluation.metrics.distances import surface_scores
from uadbench.evaluation.metrics.lesions import (
    LesionScores,
    aupro,
    detection_by_size,
    equivalent_diameters,
    lesion_scores,
)
from uadbench.evaluation.metrics.pixels import Overlap, dice_ceiling, outside, ssim_map, top_mean
from uadbench.evaluation.protocol.protocol import Protocol
from uadbench.evaluation.protocol.thresholds import (
    HealthyFPR,
    Oracle,
    Rule,
    Synthetic,
    Val,
    best_dice_threshold,
    healthy_fpr_thresholds,
)
from uadbench.evaluation.scoring.components import final_maps
from uadbench.evaluation.scoring.gaps import thresholded_ap
from uadbench.evaluation.scoring.pooled import Pool
from uadbench.evaluation.scoring.summary import OVERLAPS, summarise

INTENSITY_RANGE = 2.0  # images are in [-1, 1]
SSIM_REACH = 5  # half width of the SSIM window


@dataclass(frozen=True)
class Evaluation:
    """All numbers of a row.

    Attributes:
        metrics: Metrics by key.
        cases: One row per test case.
        thresholds: By rule key; rules that could not be applied are absent.
        curves: JSON-able points of the pooled ROC and PR curves and of mean Dice against the threshold.
        threshold_labels: Labels used by each applied rule.
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
        test: Test cases with masks, or with only a label. They are read twice, one at a time.
        seed: Seed of the bootstrap.
        synthetic: Calibration cases with synthetic lesions, for the rule of that name.
        val: Validation cases with masks, for the rule of that name.

    Raises:
        DataError: If there are no test cases, shapes do not match, or maps are not finite.
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
    sizes = _Sizes()
    for row, case in zip(rows, checked(test, truth=True), strict=True):
        row.update(_second_row(protocol, case, applied, thresholds, sizes))
    table = pd.DataFrame(rows)
    healthy, foreign = _image_scores(protocol, calib), _image_scores(protocol, synthetic or [])
    metrics = summarise(protocol, table, pool if pool.patients else None, healthy, foreign, seed)
    curves = pool.curves(profile)
    if sizes.lesions[0]:
        curves["lesions_by_size"] = sizes.table(protocol)
    return Evaluation(
        metrics=metrics,
        cases=table,
        thresholds=thresholds,
        curves=curves,
        threshold_labels={rule.key: rule.labels_consumed for rule in applied},
    )


class _Sizes:
    """Equivalent diameters of lesions, and of predicted components in lesion cases, and whether each is matched."""

    def __init__(self) -> None:
        self.lesions: tuple[list[float], list[bool]] = ([], [])
        self.components: tuple[list[float], list[bool]] = ([], [])

    def add(self, scores: LesionScores, spacing: tuple[float, float, float], depth: int) -> None:
        """Adds a case."""
        for (diameters, matched), pixels, flags in (
            (self.lesions, scores.sizes, scores.hits),
            (self.components, scores.areas, scores.correct),
        ):
            diameters.extend(equivalent_diameters(pixels, spacing, depth).tolist())
            matched.extend(flags.tolist())

    def table(self, protocol: Protocol) -> dict[str, Any]:
        """Returns sensitivity, precision and F1 by size, with their settings."""
        bins = detection_by_size(self.lesions, self.components, protocol.lesion_bins_mm)
        return {"rule": protocol.headline, "connectivity": protocol.connectivity, "bins": bins}


def _image_scores(protocol: Protocol, cases: Cases) -> pd.DataFrame:
    """Patient and image score of each case."""
    rows = [
        {"patient": case.patient, "image_score": top_mean(case.maps[case.scored], protocol.image_top_fraction)}
        for case in checked(cases, truth=False)
    ]
    return pd.DataFrame(rows, columns=["patient", "image_score"])


def _first_row(protocol: Protocol, case: CaseMaps, pool: Pool) -> dict[str, Any]:
    """Threshold-free metrics of a case; its histogram is added to the pool."""
    scored, lesion = case.scored, case.lesion
    values, truth = case.maps[scored], lesion[scored]
    ap = area = None
    if not case.label_only:
        histogram = PixelHistogram.of(values, truth)
        pool.add(case.patient, histogram)
        ap, area = average_precision(histogram), auroc(histogram)
    lost = 0 if case.mask is None else int(np.count_nonzero((case.mask == 1) & ~case.body))
    return {
        "case": case.case,
        "patient": case.patient,
        "kind": case.kind,
        "cohort": case.cohort,
        "lesion": case.label_only or bool(truth.any()),
        "pixels": int(values.size),
        "lesion_pixels": int(np.count_nonzero(truth)),
        "lesion_pixels_outside_body": lost,
        "ap": math.nan if ap is None else ap.value,
        "auroc": math.nan if ap is None or area is None else area.value,
        "image_score": top_mean(values, protocol.image_top_fraction),
        "own_score": math.nan if case.own_score is None else float(case.own_score),
        "aupro": aupro(case.maps, lesion, scored, limit=protocol.aupro_limit, full=_full(protocol)),
    }


def _second_row(
    protocol: Protocol, case: CaseMaps, rules: list[Rule], thresholds: dict[str, float], sizes: _Sizes
) -> dict[str, float]:
    """Metrics of a case at each threshold, and distances and lesions at the headline rule; none without masks."""
    if case.label_only:
        return {}
    scored, lesion = case.scored, case.lesion
    truth = lesion[scored]
    row: dict[str, float] = {}
    for rule in rules:
        maps = final_maps(case, thresholds[rule.key], protocol.smallest_component)
        overlap = Overlap.of(maps[scored] > thresholds[rule.key], truth)
        row |= {f"{name}@{rule.key}": getattr(overlap, name) for name in OVERLAPS}
        row[f"fpr@{rule.key}"] = overlap.fpr
        if isinstance(rule, HealthyFPR):
            row[f"ceiling@{rule.key}"] = dice_ceiling(int(truth.sum()), truth.size, rule.rate)
    head = protocol.headline
    if head in thresholds:
        final = replace(case, maps=final_maps(case, thresholds[head], protocol.smallest_component))
        prediction = scored & (final.maps > thresholds[head])
        row[f"true_pixels@{head}"] = float(np.count_nonzero(prediction & lesion))
        row[f"predicted_pixels@{head}"] = float(np.count_nonzero(prediction))
        row |= _false_size(case, prediction & ~lesion, head)
        if protocol.ap_scores == "thresholded" and truth.any():
            row["ap"] = thresholded_ap(final, thresholds[head])
        if truth.any():
            lesions = lesion_scores(prediction, lesion, overlap=protocol.lesion_overlap, full=_full(protocol))
            row[f"lesion_f1@{head}"] = lesions.f1
            row[f"lesion_sensitivity@{head}"] = lesions.sensitivity
            row["lesions"] = lesions.lesions
            row[f"lesions_found@{head}"] = lesions.found
            if case.spacing is not None:
                sizes.add(lesions, case.spacing, len(case.maps))
                surface = surface_scores(prediction, lesion, case.spacing, protocol.distance_tolerance_mm)
                row |= {f"hd95_mm@{head}": surface.hd95, f"assd_mm@{head}": surface.assd, f"nsd@{head}": surface.nsd}
    if case.image is not None and case.reconstruction is not None:
        area = outside(lesion, scored, SSIM_REACH)
        if area.any():
            similarity = ssim_map(case.image, case.reconstruction, INTENSITY_RANGE)
            row["ssim_outside"] = float(similarity[area].mean())
            row["l1_outside"] = float(np.abs(case.image - case.reconstruction)[area].mean(dtype=np.float64))
    return row


def _false_size(case: CaseMaps, false: NDArray[np.bool_], rule: str) -> dict[str, float]:
    """Falsely predicted area of a frame in mm2, or volume in mm3; nothing if the spacing is unknown."""
    if case.spacing is None:
        return {}
    depth, *plane = case.spacing
    pixels = float(np.count_nonzero(false))
    if len(case.maps) == 1:
        return {f"fp_area_mm2@{rule}": pixels * math.prod(plane)}
    return {f"fp_volume_mm3@{rule}": pixels * depth * math.prod(plane)}


def _full(protocol: Protocol) -> bool:
    return protocol.connectivity == "full"
