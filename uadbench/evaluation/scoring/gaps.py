"""Effects of protocol choices on the same maps: oracle gap and protocol gap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from uadbench.evaluation.cases import CaseMaps, Cases, Slices, checked
from uadbench.evaluation.metrics.curves import PixelHistogram, average_precision
from uadbench.evaluation.metrics.pixels import Overlap
from uadbench.evaluation.protocol.protocol import Protocol
from uadbench.evaluation.protocol.thresholds import case_histogram, dice_profile
from uadbench.evaluation.scoring.components import final_maps
from uadbench.evaluation.statistics import intervals

# The order in which the choices are changed, one at a time: the fields of a protocol, and their names in words.
CHOICES = (
    ("headline", "threshold on test"),
    ("average", "slice pool"),
    ("ap_scores", "AP after thresholding"),
    ("smallest_component", "small components dropped"),
)


@dataclass(frozen=True)
class _Choices:
    """The choices in which protocols differ."""

    headline: str
    average: str
    ap_scores: str
    smallest_component: int = 0

    @classmethod
    def of(cls, protocol: Protocol) -> _Choices:
        return cls(protocol.headline, protocol.average, protocol.ap_scores, protocol.smallest_component)


@dataclass(frozen=True)
class _Lesions:
    """Lesion cases, or lesion slices, at two thresholds.

    Attributes:
        patients: Patient of each.
        dice: Dice at each rule, with components below each size dropped.
        ap: Average precision of the map after thresholding, likewise.
        raw: Average precision of the unchanged map.
    """

    patients: list[str]
    dice: dict[tuple[str, int], list[float]]
    ap: dict[tuple[str, int], list[float]]
    raw: list[float]


def thresholded_ap(case: CaseMaps, threshold: float) -> float:
    """Returns the average precision of a map whose values at or below the threshold are set to 0 first."""
    inside = case.scored
    # If the threshold is negative, 0 would rank above retained values.
    floor = min(0.0, threshold)
    bounds = average_precision(PixelHistogram.above_floor(case.maps[inside], case.lesion[inside], threshold, floor))
    return np.nan if bounds is None else bounds.value


def oracle_gap(table: pd.DataFrame, honest: str, protocol: Protocol, seed: int) -> dict[str, Any] | None:
    """Returns oracle Dice minus the Dice at a label-free rule on the same maps, with its interval over patients.

    Args:
        table: One row per test case, from ``score``.
        honest: Key of the label-free rule.
        protocol: Rules of the bootstrap.
        seed: Seed of the bootstrap.

    Returns:
        The gap as a JSON value; None if one of the two Dice values is undefined.
    """
    if not {f"dice@{honest}", "dice@oracle"} <= set(table.columns):
        return None
    gap = (table["dice@oracle"] - table[f"dice@{honest}"]).to_numpy(np.float64)
    return {"honest_rule": honest, **mean_with_interval(gap.tolist(), list(table["patient"]), protocol, seed)}


def mean_with_interval(
    values: Sequence[float], patients: Sequence[str], protocol: Protocol, seed: int
) -> dict[str, Any]:
    """Returns the patient mean of one value per case with its interval; NaN values are skipped."""
    names, means, _ = intervals.patient_means(values, patients)
    interval = intervals.patient_interval(
        intervals.weighted_mean(means),
        len(names),
        resamples=protocol.bootstrap_resamples,
        confidence=protocol.confidence,
        seed=seed,
        minimum=protocol.min_patients,
    )
    value = float(means.mean()) if names else None
    return {"value": value, "low": interval.low, "high": interval.high, "n_patients": len(names)}


def protocol_gap(strict: Protocol, paper: Protocol, threshold: float, test: Cases) -> dict[str, Any] | None:
    """Returns headline Dice and AP from one protocol to the other, changing one choice at a time.

    Args:
        strict: Initial protocol.
        paper: Final protocol, which must use the rule ``oracle``.
        threshold: Threshold of the strict headline rule.
        test: Test cases with masks.

    Returns:
        A JSON value: the strict numbers; each step with the resulting numbers, its change, and the change it would have
        caused alone; the totals. None without lesion cases.
    """
    start, end = _Choices.of(strict), _Choices.of(paper)
    sizes = {start.smallest_component, end.smallest_component}
    lesions = {
        "patient": _lesions(test, start.headline, threshold, sizes, by_patient=True),
        "slice": _lesions(Slices(test), start.headline, threshold, sizes, by_patient=False),
    }
    if not lesions["patient"].patients:
        return None
    first = now = _numbers(lesions, start)
    fields = vars(start).copy()
    steps: list[dict[str, Any]] = []
    for field, words in CHOICES:
        if getattr(start, field) == getattr(end, field):
            continue
        fields[field] = getattr(end, field)
        reached = _numbers(lesions, _Choices(**fields))
        alone = _numbers(lesions, _Choices(**{**vars(start), field: fields[field]}))
        steps.append({"choice": words, **reached, "change": _minus(reached, now), "alone": _minus(alone, first)})
        now = reached
    return {
        "from": strict.name,
        "to": paper.name,
        "start": first,
        "steps": steps,
        "total": _minus(now, first),
        "averages": {
            "patients": first,
            "slices": _numbers(lesions, _Choices(start.headline, "slice", "raw")),
        },
    }


def _lesions(cases: Cases, headline: str, threshold: float, sizes: set[int], *, by_patient: bool) -> _Lesions:
    """Collects Dice and AP of the cases with lesions at the headline threshold and at the oracle's."""
    held: list[tuple[str, PixelHistogram]] = []
    for case in checked(cases, truth=True):
        truth = case.lesion[case.scored]
        if truth.any():
            held.append((case.patient, case_histogram(case.maps[case.scored], truth)))
    patients = [patient for patient, _ in held]
    keys = [(rule, size) for rule in (headline, "oracle") for size in sizes]
    found = _Lesions(patients, {key: [] for key in keys}, {key: [] for key in keys}, [])
    profile = dice_profile([histogram for _, histogram in held], patients, by_patient=by_patient)
    if profile is None:
        return found
    for case in checked(cases, truth=True):
        values, truth = case.maps[case.scored], case.lesion[case.scored]
        if not truth.any():
            continue
        raw = average_precision(PixelHistogram.of(values, truth))
        found.raw.append(np.nan if raw is None else raw.value)
        levels = {headline: threshold, "oracle": profile.best}
        for rule, size in keys:
            final = replace(case, maps=final_maps(case, levels[rule], size))
            found.dice[rule, size].append(Overlap.of(final.maps[case.scored] > levels[rule], truth).dice)
            found.ap[rule, size].append(thresholded_ap(final, levels[rule]))
    return found


def _numbers(lesions: dict[str, _Lesions], choices: _Choices) -> dict[str, float]:
    """Returns Dice and AP under some choices."""
    here, key = lesions[choices.average], (choices.headline, choices.smallest_component)
    ap = here.raw if choices.ap_scores == "raw" else here.ap[key]
    values: dict[str, float] = {}
    for name, numbers in (("dice", here.dice[key]), ("ap", ap)):
        by_patient = intervals.patient_means(numbers, here.patients)[1]
        values[name] = float(np.mean(numbers) if choices.average == "slice" else by_patient.mean())
    return values


def _minus(a: dict[str, float], b: dict[str, float]) -> dict[str, float]:
    return {key: a[key] - b[key] for key in a}
